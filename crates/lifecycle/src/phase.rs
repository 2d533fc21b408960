//! The phases that a connection goes through, as its operator would name them.

/// Where a connection stands; the same fault means different things in different phases.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Upstream only: the TCP handshake is under way.
    Connecting,
    /// A PROXY header or the TLS handshake is under way.
    Handshake,
    /// Accepted; nothing has been received yet.
    FirstByte,
    /// Between two exchanges, nothing owed by either side.
    Idle,
    /// Upstream only: idle, and in the pool.
    Parked,
    /// A message head is being received.
    Head,
    /// A request is being received or sent, and its response has not begun.
    Request,
    /// The request is whole and its response is owed.
    Waiting,
    /// A response is under way.
    Response,
    /// Our side is shut; what the peer still sends is read and thrown away.
    Lingering,
    /// Bytes of another protocol are relayed.
    Tunnel,
}

impl Phase {
    /// All phases, in the order of a connection's life.
    pub const ALL: [Self; 11] = [
        Self::Connecting,
        Self::Handshake,
        Self::FirstByte,
        Self::Idle,
        Self::Parked,
        Self::Head,
        Self::Request,
        Self::Waiting,
        Self::Response,
        Self::Lingering,
        Self::Tunnel,
    ];

    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::FirstByte => "first-byte",
            Self::Idle => "idle",
            Self::Parked => "parked",
            Self::Head => "head",
            Self::Request => "request",
            Self::Waiting => "waiting",
            Self::Response => "response",
            Self::Lingering => "lingering",
            Self::Tunnel => "tunnel",
        }
    }

    /// Whether a request or a response is in flight, so that an end now loses something.
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Request | Self::Waiting | Self::Response | Self::Tunnel)
    }
}

/// Which side of the proxy a connection is on, seen from the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// Accepted by us: the peer sends requests.
    Downstream,
    /// Opened by us: the peer answers requests.
    Upstream,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Downstream, Self::Upstream];

    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        }
    }
}
