//! Listeners out of the sockets that the standard library, tokio and socket activation give.

use std::io;

use sheave_lifecycle::errno::{IoFault, Op};

use crate::listen::Listener;
use crate::tcp_listen::TcpAcceptor;
use crate::tcp_options::TcpOptions;
use crate::unix_listen::UnixAcceptor;

/// What connections can be accepted from: every [`Listener`], and the listening sockets of the standard library and of
/// tokio, whose connections get the default [`TcpOptions`].
///
/// A socket of socket activation (`LISTEN_FDS`) or of a predecessor is one of the standard library, as the crate `listenfd`
/// gives it. Whoever wants other options makes a [`TcpAcceptor`].
pub trait IntoListener {
    /// The listener.
    type Listener: Listener;

    /// The listener. Within a runtime.
    ///
    /// # Errors
    /// What the kernel said: the socket does not listen, or the process has no descriptor left.
    fn into_listener(self) -> Result<Self::Listener, IoFault>;
}

impl<L: Listener> IntoListener for L {
    type Listener = L;

    fn into_listener(self) -> Result<L, IoFault> {
        Ok(self)
    }
}

impl IntoListener for std::net::TcpListener {
    type Listener = TcpAcceptor;

    fn into_listener(self) -> Result<TcpAcceptor, IoFault> {
        TcpAcceptor::from_std(self, &TcpOptions::default())
    }
}

impl IntoListener for tokio::net::TcpListener {
    type Listener = TcpAcceptor;

    fn into_listener(self) -> Result<TcpAcceptor, IoFault> {
        self.into_std().map_err(fault)?.into_listener()
    }
}

impl IntoListener for std::os::unix::net::UnixListener {
    type Listener = UnixAcceptor;

    fn into_listener(self) -> Result<UnixAcceptor, IoFault> {
        UnixAcceptor::from_std(self)
    }
}

impl IntoListener for tokio::net::UnixListener {
    type Listener = UnixAcceptor;

    fn into_listener(self) -> Result<UnixAcceptor, IoFault> {
        self.into_std().map_err(fault)?.into_listener()
    }
}

fn fault(error: io::Error) -> IoFault {
    IoFault::new(Op::Option, &error)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn every_kind_of_socket_becomes_a_listener() {
        let of_tokio = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let of_std = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for mut listener in [of_tokio.into_listener().unwrap(), of_std.into_listener().unwrap()] {
            let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let accepted = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            assert_eq!(accepted.peer, client.local_addr().ok());
            let descriptor = accepted.socket.descriptor().unwrap();
            assert!(socket2::SockRef::from(&descriptor).tcp_nodelay().unwrap());
            let _itself: TcpAcceptor = listener.into_listener().unwrap();
        }
    }
}
