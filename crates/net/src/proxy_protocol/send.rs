//! A socket that sends a PROXY header first, and a connector that makes such sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::errno::{Errno, IoFault, Op};

use super::header::Header;
use super::write::{announcing, write};
use crate::dial::Connect;
use crate::endpoint::{Endpoint, Manner};
use crate::handshake::HandshakeError;
use crate::pass_through::pass_bytes_through;
use crate::secured::Secured;
use crate::socket::{Liveness, Socket};

/// A socket that sends a PROXY header before everything else, where it has one to send.
///
/// [`Socket::poll_handshake`] gives the header to the kernel; what is written before it is ready would overtake the header. A
/// header is far shorter than any send buffer, so that this waits for nobody.
#[derive(Debug)]
pub struct Announcing<S> {
    socket: S,
    unsent: Vec<u8>,
}

impl<S> Announcing<S> {
    /// A socket that sends `header` first; nothing if that is empty.
    pub const fn new(socket: S, header: Vec<u8>) -> Self {
        Self { socket, unsent: header }
    }
}

impl<S: Socket> Announcing<S> {
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent)) {
                Ok(0) => {
                    let fault = IoFault { op: Op::Write, errno: Errno::EPIPE };
                    return Poll::Ready(Err(HandshakeError::Io(fault)));
                }
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) => return Poll::Ready(Err(HandshakeError::Io(IoFault::new(Op::Write, &error)))),
            }
        }
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }
}

/// Makes connections that begin with a PROXY header, where their endpoint's manner says so
/// ([`crate::endpoint::Manner::announces`]): one that names the endpoint's client, or nobody where it has none.
#[derive(Clone, Debug, Default)]
pub struct AnnouncingConnector<C> {
    connector: C,
}

impl<C> AnnouncingConnector<C> {
    /// Connects by `connector`.
    pub const fn new(connector: C) -> Self {
        Self { connector }
    }
}

impl<C: Connect> Connect for AnnouncingConnector<C> {
    type Socket = Announcing<C::Socket>;

    async fn connect(&self, endpoint: &Endpoint) -> Result<Self::Socket, IoFault> {
        let Some(version) = endpoint.manner().announces else {
            return Ok(Announcing::new(self.connector.connect(endpoint).await?, Vec::new()));
        };
        // This part of the manner is seen to here.
        let rest = endpoint.spoken_to(Manner { announces: None, ..endpoint.manner().clone() });
        let socket = self.connector.connect(&rest).await?;
        let header = endpoint.client().map_or(Header::Local, |client| announcing(client.source, client.destination));
        Ok(Announcing::new(socket, write(version, &header)))
    }
}

impl<S: Socket> Socket for Announcing<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        ready!(self.socket.poll_handshake(cx))?;
        self.poll_header(cx)
    }

    fn is_plain(&self) -> bool {
        self.unsent.is_empty() && self.socket.is_plain()
    }

    fn probe(&mut self) -> Liveness {
        self.socket.probe()
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read_now(buffer)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_write(bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    fn conclude(&mut self) {
        self.socket.conclude();
    }

    fn unsent_bytes(&self) -> usize {
        self.socket.unsent_bytes()
    }

    fn is_cut_off(&self) -> bool {
        self.socket.is_cut_off()
    }

    fn failure(&self) -> Option<&HandshakeError> {
        self.socket.failure()
    }

    fn secured(&self) -> Option<&Arc<Secured>> {
        self.socket.secured()
    }

    fn set_abortive_close(&self) {
        self.socket.set_abortive_close();
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer()
    }

    fn local(&self) -> Option<SocketAddr> {
        self.socket.local()
    }
}

pass_bytes_through!(<S> Announcing<S>, socket);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixStream};

    use super::*;
    use crate::endpoint::{Announced, ProxyHeader};
    use crate::tcp_connect::TcpConnector;

    #[tokio::test]
    async fn the_header_names_the_endpoints_client_and_leaves_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Announced { source: "192.0.2.1:5".parse().ok(), destination: "192.0.2.2:6".parse().ok() };
        let nameless = Announced { source: None, destination: client.destination };
        let announces = Manner { announces: Some(ProxyHeader::V1), ..Manner::default() };
        let endpoint = Endpoint::new(address, announces);
        for (endpoint, sent) in [
            (endpoint.clone().on_behalf_of(client), "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nGET"),
            (endpoint.clone().on_behalf_of(nameless), "PROXY UNKNOWN\r\nGET"),
            (endpoint, "PROXY UNKNOWN\r\nGET"),
            (Endpoint::from(address).on_behalf_of(client), "GET"),
        ] {
            let mut socket = AnnouncingConnector::new(TcpConnector::default()).connect(&endpoint).await.unwrap();
            assert_eq!(poll_fn(|cx| socket.poll_handshake(cx)).await, Ok(()));
            assert_eq!(socket.unsent.capacity(), 0, "an idle connection owns no buffer");
            socket.write_all(b"GET").await.unwrap();
            drop(socket);
            let mut received = String::new();
            listener.accept().await.unwrap().0.read_to_string(&mut received).await.unwrap();
            assert_eq!(received, sent);
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut socket = Announcing::new(ours, b"PROXY UNKNOWN\r\n".to_vec());
        let error = poll_fn(|cx| socket.poll_handshake(cx)).await.unwrap_err();
        assert_eq!(error, HandshakeError::Io(IoFault { op: Op::Write, errno: Errno::EPIPE }));
    }
}
