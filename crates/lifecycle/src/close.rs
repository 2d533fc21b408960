//! How a connection ended: exactly one reason each, and what the operator should do about it.

use std::fmt;

use crate::deadline::Timer;
use crate::errno::{Errno, IoFault};
use crate::phase::{Phase, Side};

/// What the operator should do about an end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Nothing: this is how connections end.
    Benign,
    /// Watch: the peer broke a rule or lost something.
    Peer,
    /// Act: this machine or its configuration is at fault.
    Local,
    /// Tell us: this cannot be.
    Bug,
}

impl Severity {
    /// All severities, the mildest first.
    pub const ALL: [Self; 4] = [Self::Benign, Self::Peer, Self::Local, Self::Bug];

    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Peer => "peer",
            Self::Local => "local",
            Self::Bug => "bug",
        }
    }
}

/// Why a connection ended. Every connection has exactly one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The last exchange was to be the last: a side said `Connection: close`, or the version or framing implied it.
    Agreed,
    /// The peer sent FIN.
    PeerClosed,
    /// The peer sent RST, or the kernel told us in another way that it is gone.
    PeerReset(IoFault),
    /// The network lost the peer: a time-out or an unreachable host, told by the kernel.
    PeerUnreachable(IoFault),
    /// A deadline of ours passed.
    TimedOut(Timer),
    /// It never became ready to carry HTTP: its PROXY header or TLS handshake failed. The label says how.
    Handshake(&'static str),
    /// TLS failed after its handshake: the peer gave up on it, as one that refuses our certificate in TLS 1.3 does, or what
    /// came was not the peer's. The label says how.
    Tls(&'static str),
    /// The peer sent more of something than anybody needs; the label says of what.
    Flooded(&'static str),
    /// The peer broke a rule of the protocol; the label is the rule's.
    Protocol(&'static str),
    /// The peer ended in the middle of a message.
    Truncated,
    /// The origin sent bytes that nobody had asked for.
    UnaskedBytes,
    /// The connection had carried as many requests as one may.
    MaxRequests,
    /// The connection had lived for as long as one may, and its last exchange said so.
    MaxAge,
    /// It was idle, and others needed its place: descriptors or connections had run out.
    Shed,
    /// A drain ended it when it had nothing left to do.
    Drained,
    /// A drain's grace was over while it was busy.
    DrainForced,
    /// The pool had no room to keep it.
    Evicted,
    /// The pool ended it while it was parked, before its origin would: it was as old as what was learned of the origin's
    /// keep-alive time allows, the origin had said that it takes no more requests on it, or its address is the origin's no
    /// longer.
    Retired,
    /// It was refused on arrival; the label names the limit.
    Refused(&'static str),
    /// It became a tunnel, and both sides ended it.
    Upgraded,
    /// An answer went out before the request had been read, so its rest was given up.
    EarlyResponse,
    /// The other connection of the same exchange ended.
    OtherSide,
    /// The handler gave up on the exchange.
    HandlerFailed,
    /// The handler panicked.
    HandlerPanicked,
    /// The task that owned the connection was dropped: the runtime is going down, or a caller cancelled.
    Cancelled,
    /// The machine refused an operation.
    Local(IoFault),
    /// Sheave contradicted itself; the label says where.
    Bug(&'static str),
}

impl CloseReason {
    /// The reason for what the kernel said.
    pub const fn from_fault(fault: IoFault) -> Self {
        if fault.errno.is_peer_gone() {
            Self::PeerReset(fault)
        } else if fault.errno.is_unreachable() {
            Self::PeerUnreachable(fault)
        } else if matches!(fault.errno, Errno::EBADMSG) {
            // What TLS calls a record that is not its peer's, in the kernel and above it.
            Self::Protocol("tls-record")
        } else {
            Self::Local(fault)
        }
    }

    /// A name that stays stable for ever: for metrics and logs. Bounded in number, whatever peers do.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::PeerClosed => "peer-closed",
            Self::PeerReset(_) => "peer-reset",
            Self::PeerUnreachable(_) => "peer-unreachable",
            Self::TimedOut(timer) => match timer {
                Timer::Handshake => "timeout-handshake",
                Timer::FirstByte => "timeout-first-byte",
                Timer::HeadRead => "timeout-head",
                Timer::BodyRead => "timeout-body",
                Timer::BodyRate => "timeout-body-rate",
                Timer::Write => "timeout-write",
                Timer::Idle => "timeout-idle",
                Timer::Ping => "timeout-ping",
                Timer::Connect => "timeout-connect",
                Timer::Response => "timeout-response",
                Timer::Exchange => "timeout-exchange",
                Timer::TunnelIdle => "timeout-tunnel-idle",
                Timer::TunnelAge => "timeout-tunnel-age",
                Timer::Linger => "timeout-linger",
                Timer::Drain => "timeout-drain",
            },
            Self::Handshake(_) => "handshake-failed",
            Self::Tls(_) => "tls-failed",
            Self::Flooded(_) => "flooded",
            Self::Upgraded => "upgraded",
            Self::Protocol(_) => "protocol-error",
            Self::Truncated => "truncated",
            Self::UnaskedBytes => "unasked-bytes",
            Self::MaxRequests => "max-requests",
            Self::MaxAge => "max-age",
            Self::Shed => "shed",
            Self::Drained => "drained",
            Self::DrainForced => "drain-forced",
            Self::Evicted => "evicted",
            Self::Retired => "retired",
            Self::Refused(_) => "refused",
            Self::EarlyResponse => "early-response",
            Self::OtherSide => "other-side",
            Self::HandlerFailed => "handler-failed",
            Self::HandlerPanicked => "handler-panicked",
            Self::Cancelled => "cancelled",
            Self::Local(_) => "local-error",
            Self::Bug(_) => "bug",
        }
    }

    /// What more is known: the errno and operation, the rule, the limit.
    pub fn detail(&self) -> Option<&dyn fmt::Display> {
        match self {
            Self::PeerReset(fault) | Self::PeerUnreachable(fault) | Self::Local(fault) => Some(fault),
            Self::Handshake(label)
            | Self::Tls(label)
            | Self::Flooded(label)
            | Self::Protocol(label)
            | Self::Refused(label)
            | Self::Bug(label) => Some(label),
            _ => None,
        }
    }

    /// What the operator should do, given the side and the phase in which the end came.
    ///
    /// A client may leave whenever it likes (somebody closed a tab, a load generator was stopped), whatever errno that
    /// gives; an origin may leave while nothing is in flight. Only an origin lost in flight is worth a look.
    pub const fn severity(self, side: Side, phase: Phase) -> Severity {
        match self {
            Self::Agreed
            | Self::MaxRequests
            | Self::MaxAge
            | Self::Shed
            | Self::Drained
            | Self::Evicted
            | Self::Retired
            | Self::Upgraded
            | Self::EarlyResponse
            | Self::OtherSide
            | Self::Cancelled => Severity::Benign,
            Self::PeerClosed | Self::PeerReset(_) | Self::PeerUnreachable(_) | Self::Truncated => match (side, phase) {
                (Side::Downstream, _)
                | (_, Phase::Idle | Phase::Parked | Phase::FirstByte | Phase::Lingering | Phase::Tunnel) => {
                    Severity::Benign
                }
                (
                    Side::Upstream,
                    Phase::Connecting
                    | Phase::Handshake
                    | Phase::Head
                    | Phase::Request
                    | Phase::Waiting
                    | Phase::Response,
                ) => Severity::Peer,
            },
            Self::TimedOut(timer) => match timer {
                Timer::FirstByte | Timer::Idle | Timer::TunnelIdle | Timer::TunnelAge | Timer::Linger => {
                    Severity::Benign
                }
                _ => Severity::Peer,
            },
            Self::Handshake(_) | Self::Tls(_) | Self::Flooded(_) | Self::Protocol(_) | Self::UnaskedBytes => {
                Severity::Peer
            }
            Self::DrainForced | Self::Refused(_) | Self::HandlerFailed | Self::HandlerPanicked | Self::Local(_) => {
                Severity::Local
            }
            Self::Bug(_) => Severity::Bug,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        match self.detail() {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Op;

    const fn fault(errno: Errno) -> IoFault {
        IoFault { op: Op::Write, errno }
    }

    #[test]
    fn sorts_what_the_kernel_says_by_blame() {
        for (errno, label) in [
            (Errno::ECONNRESET, "peer-reset"),
            (Errno::EPIPE, "peer-reset"),
            (Errno::ENOTCONN, "peer-reset"),
            (Errno::ECONNABORTED, "peer-reset"),
            (Errno::ETIMEDOUT, "peer-unreachable"),
            (Errno::EHOSTUNREACH, "peer-unreachable"),
            (Errno::EBADMSG, "protocol-error"),
            (Errno::EMFILE, "local-error"),
            (Errno::ENOBUFS, "local-error"),
            (Errno::EADDRNOTAVAIL, "local-error"),
            (Errno::NONE, "local-error"),
        ] {
            assert_eq!(CloseReason::from_fault(fault(errno)).label(), label, "{errno}");
        }
    }

    #[test]
    fn a_client_that_leaves_is_benign_and_an_origin_that_leaves_in_flight_is_not() {
        let reset = CloseReason::from_fault(fault(Errno::ECONNRESET));
        for phase in Phase::ALL {
            assert_eq!(reset.severity(Side::Downstream, phase), Severity::Benign);
            let origin = reset.severity(Side::Upstream, phase);
            assert_eq!(
                origin == Severity::Peer,
                matches!(phase, Phase::Connecting | Phase::Handshake | Phase::Head)
                    || phase.is_busy() && phase != Phase::Tunnel
            );
        }
    }

    #[test]
    fn prints_the_label_and_what_more_is_known() {
        assert_eq!(CloseReason::from_fault(fault(Errno::EPIPE)).to_string(), "peer-reset (EPIPE in write)");
        assert_eq!(CloseReason::TimedOut(Timer::Idle).to_string(), "timeout-idle");
        assert_eq!(CloseReason::Protocol("bare-lf").to_string(), "protocol-error (bare-lf)");
    }
}
