//! A connection on the simulated network: its kernel, the way of its bytes, and who waits at its ends.

use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use crate::fault::{Way, WireName};
use crate::tcp::{Buffers, End, Tcp};
use crate::trace::Whose;

/// What the reactor knows of an end, and who waits there.
#[derive(Default)]
pub(crate) struct Io {
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    pub(crate) is_queued: bool,
}

/// Whether bytes of a direction travel.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    Open,
    Until(Duration),
    Dripping(Duration),
    Forever,
}

/// One direction of a connection.
pub(crate) struct Path {
    pub(crate) delivered: usize,
    pub(crate) hold: Hold,
    pub(crate) drips: Option<Duration>,
}

pub(crate) struct Wire {
    pub(crate) tcp: Tcp,
    pub(crate) addresses: [SocketAddr; 2],
    /// Which end belongs to what is tested.
    pub(crate) ours: End,
    pub(crate) name: WireName,
    pub(crate) paths: [Path; 2],
    io: [Io; 2],
}

impl Wire {
    /// A connection between these addresses, whose handshake is over.
    pub(crate) fn new(name: WireName, addresses: [SocketAddr; 2], buffers: Buffers) -> Self {
        let path = || Path { delivered: 0, hold: Hold::Open, drips: None };
        Self {
            tcp: Tcp::new(buffers),
            addresses,
            ours: if name.is_upstream { End::Opener } else { End::Acceptor },
            name,
            paths: [path(), path()],
            io: [Io::default(), Io::default()],
        }
    }

    pub(crate) fn whose(&self, end: End) -> Whose {
        if end == self.ours { Whose::Ours } else { Whose::Peers }
    }

    /// The end whose bytes go that way.
    pub(crate) fn sender(&self, way: Way) -> End {
        match way {
            Way::In => self.ours.other(),
            Way::Out => self.ours,
        }
    }

    pub(crate) fn io(&mut self, end: End) -> &mut Io {
        &mut self.io[end as usize]
    }
}
