//! Where connections come from, and how a listener ends without losing one.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::IoFault;

use crate::socket::Socket;

/// A connection that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<S> {
    /// The connection.
    pub socket: S,
    /// The other end; absent for sockets that have no IP address. IPv4 over an IPv6 socket is IPv4.
    pub peer: Option<SocketAddr>,
    /// Our end; as for `peer`.
    pub local: Option<SocketAddr>,
}

/// Accepts connections.
///
/// # How it ends
/// Dropping a listener closes it, and the kernel resets whatever is in its backlog, unless somebody else listens on the
/// same socket. A listener that is to lose nobody, and after which nobody listens, ends in four steps:
///
/// 1. [`Self::refuse_new`], so that nobody new begins to connect.
/// 2. [`Self::poll_accept`] for as long as a handshake takes: a client that was told "connected" may not have been heard
///    yet.
/// 3. [`Self::accept_now`] until it gives `None`, which asks the kernel and not the runtime's memory of it.
/// 4. Drop. Where several workers share a socket, it closes with the last of them.
///
/// Where somebody else listens on, the backlog is theirs: [`Self::leave_backlog`] until it gives `None`, then drop.
pub trait Listener: Send {
    /// What is accepted.
    type Socket: Socket;

    /// The next connection, or the task is woken when there may be one.
    ///
    /// # Errors
    /// What the kernel said; [`crate::accept_backoff::AcceptBackoff`] says what follows. The listener stays as it is: an
    /// error that left connections in the backlog comes again at once.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<Self::Socket>, IoFault>>;

    /// The next connection of the backlog as it is now, without waiting; `None` when it is empty.
    ///
    /// # Errors
    /// As for [`Self::poll_accept`]. An error does not mean that the backlog is empty, nor that it is not: without a free
    /// descriptor the kernel does not look.
    fn accept_now(&mut self) -> Result<Option<Accepted<Self::Socket>>, IoFault>;

    /// Begins no new connection from now on; those that have begun are still accepted. Cannot be taken back.
    ///
    /// Only for a listener that ends with this process. The refusal belongs to the socket: one that was handed to a
    /// successor, or belongs to whoever activated us, would stay deaf.
    ///
    /// # Errors
    /// What the kernel said; new connections go on being accepted, and the listener may end without this step.
    fn refuse_new(&mut self) -> Result<(), IoFault>;

    /// Leaves the backlog to whoever else listens on the socket: from the first call on, nothing is taken from the kernel.
    ///
    /// Gives the next connection that had been taken before and waits here for its worker; `None` when there is none, as
    /// is always so for a listener that keeps nothing.
    ///
    /// # Errors
    /// As for [`Self::poll_accept`]; that connection is lost, and the next one may be asked for.
    fn leave_backlog(&mut self) -> Result<Option<Accepted<Self::Socket>>, IoFault> {
        Ok(None)
    }

    /// Where it listens; absent for sockets that have no IP address.
    fn local_addr(&self) -> Option<SocketAddr>;
}
