//! A listener whose connections are secured, or are not.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::IoFault;

use crate::listen::{Accepted, Listener};
use crate::tls::server::ServerTls;
use crate::tls::stream::Stream;

/// Accepts from another listener, and secures what it accepts if it was given certificates.
#[derive(Debug)]
pub struct TlsListener<L> {
    inner: L,
    tls: Option<ServerTls>,
}

impl<L: Listener> TlsListener<L> {
    /// Secures what `inner` accepts; passes it on as it is if `tls` is `None`.
    pub fn new(inner: L, tls: Option<ServerTls>) -> Self {
        Self { inner, tls }
    }

    /// The listener beneath.
    pub fn inner(&self) -> &L {
        &self.inner
    }

    fn secured(&self, accepted: Accepted<L::Socket>) -> Accepted<Stream<L::Socket>> {
        let Accepted { socket, peer, local } = accepted;
        let socket = match &self.tls {
            Some(tls) => Stream::Tls(Box::new(tls.accept(socket))),
            None => Stream::Plain(socket),
        };
        Accepted { socket, peer, local }
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Socket = Stream<L::Socket>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<Self::Socket>, IoFault>> {
        self.inner.poll_accept(cx).map_ok(|accepted| self.secured(accepted))
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<Self::Socket>>, IoFault> {
        Ok(self.inner.accept_now()?.map(|accepted| self.secured(accepted)))
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        self.inner.refuse_new()
    }

    fn leave_backlog(&mut self) -> Result<Option<Accepted<Self::Socket>>, IoFault> {
        Ok(self.inner.leave_backlog()?.map(|accepted| self.secured(accepted)))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local_addr()
    }
}
