//! A listener some of whose peers announce their clients.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::IoFault;

use super::receive::Announced;
use crate::listen::{Accepted, Listener};

/// Which peers announce their clients by a PROXY header. From those one is required; from others none is looked for.
pub type Announcers = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// A listener some of whose peers announce their clients.
pub struct AnnouncedListener<L> {
    listener: L,
    announcers: Option<Announcers>,
}

impl<L> AnnouncedListener<L> {
    /// What `listener` accepts, with a header before everything else from `announcers`. `None` is nobody.
    pub const fn new(listener: L, announcers: Option<Announcers>) -> Self {
        Self { listener, announcers }
    }

    fn told<S>(&self, accepted: Accepted<S>) -> Accepted<Announced<S>> {
        let Accepted { socket, peer, local } = accepted;
        let is_announcer = |announcers: &Announcers| peer.is_some_and(|peer| announcers(peer.ip()));
        let socket = match self.announcers.as_ref().is_some_and(is_announcer) {
            true => Announced::awaiting(socket),
            false => Announced::silent(socket),
        };
        Accepted { socket, peer, local }
    }
}

impl<L: Listener> Listener for AnnouncedListener<L> {
    type Socket = Announced<L::Socket>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<Self::Socket>, IoFault>> {
        self.listener.poll_accept(cx).map_ok(|accepted| self.told(accepted))
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<Self::Socket>>, IoFault> {
        Ok(self.listener.accept_now()?.map(|accepted| self.told(accepted)))
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        self.listener.refuse_new()
    }

    fn leave_backlog(&mut self) -> Result<Option<Accepted<Self::Socket>>, IoFault> {
        Ok(self.listener.leave_backlog()?.map(|accepted| self.told(accepted)))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }
}
