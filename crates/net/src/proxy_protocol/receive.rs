//! A socket on which a PROXY header comes first.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::errno::{IoFault, Op};
use tokio::io::ReadBuf;

use super::header::{Header, HeaderError};
use super::parse::{Parsed, parse};
use crate::handshake::HandshakeError;
use crate::pass_through::pass_bytes_through;
use crate::secured::Secured;
use crate::socket::{Liveness, Socket};

/// A socket on which a PROXY header comes first, where its peer is one that sends it.
///
/// [`Socket::poll_handshake`] reads the header and not a byte more, so that nothing behind it has to be kept: what the header
/// has already said bounds each read. A header of version 2 takes three reads, a line of version 1 about six. From then on
/// [`Socket::peer`] and [`Socket::local`] are the addresses that were announced; where none were, the socket's own.
///
/// Until then it owns a buffer of the header's size, [`super::header::MAX_HEADER_BYTES`] at most; afterwards none. How long
/// the header may take is for whoever waits for it to say ([`sheave_lifecycle::deadline::Timer::Handshake`]).
#[derive(Debug)]
pub struct Announced<S> {
    socket: S,
    /// `None` where nobody else is spoken for: most connections have nothing to remember here.
    state: Option<Box<State>>,
}

#[derive(Debug)]
enum State {
    /// What came of the header so far.
    Awaited(Vec<u8>),
    /// There was a header.
    Read(Header),
}

impl<S> Announced<S> {
    /// A socket on which a header must come.
    pub fn awaiting(socket: S) -> Self {
        Self { socket, state: Some(Box::new(State::Awaited(Vec::new()))) }
    }

    /// A socket on which no header is looked for: one that comes all the same is content, as anybody can send one.
    pub const fn silent(socket: S) -> Self {
        Self { socket, state: None }
    }

    /// What the header said, once it is there; [`Header::Local`] where none is looked for.
    pub fn header(&self) -> Option<Header> {
        match self.state.as_deref() {
            None => Some(Header::Local),
            Some(State::Awaited(_)) => None,
            Some(State::Read(header)) => Some(*header),
        }
    }

    fn announced(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.header()? {
            Header::Proxied { source, destination } => Some((source, destination)),
            Header::Local => None,
        }
    }
}

impl<S: Socket> Announced<S> {
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        while let Some(State::Awaited(begun)) = self.state.as_deref_mut() {
            let more = match parse(begun)? {
                Parsed::Whole { header, .. } => {
                    self.state = match header {
                        Header::Local => None,
                        Header::Proxied { .. } => Some(Box::new(State::Read(header))),
                    };
                    break;
                }
                Parsed::More(more) => more.get(),
            };
            let had = begun.len();
            begun.reserve_exact(more);
            begun.resize(had + more, 0);
            let mut buffer = ReadBuf::new(&mut begun[had..]);
            let read = Pin::new(&mut self.socket).poll_read(cx, &mut buffer);
            let got = buffer.filled().len();
            begun.truncate(had + got);
            match ready!(read) {
                Err(error) => return Poll::Ready(Err(HandshakeError::Io(IoFault::new(Op::Read, &error)))),
                // Whoever only looks whether somebody listens says nothing.
                Ok(()) if got == 0 && had == 0 => return Poll::Ready(Err(HandshakeError::Closed)),
                Ok(()) if got == 0 => return Poll::Ready(Err(HeaderError::CutOff.into())),
                Ok(()) => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> Socket for Announced<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        ready!(self.socket.poll_handshake(cx))?;
        self.poll_header(cx)
    }

    fn is_plain(&self) -> bool {
        self.state.is_none() && self.socket.is_plain()
    }

    fn awaits_peer(&self) -> bool {
        matches!(self.state.as_deref(), Some(State::Awaited(_)))
    }

    fn is_watched(&self) -> bool {
        self.socket.is_watched()
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
        self.announced().map_or_else(|| self.socket.peer(), |(source, _)| Some(source))
    }

    fn local(&self) -> Option<SocketAddr> {
        self.announced().map_or_else(|| self.socket.local(), |(_, destination)| Some(destination))
    }
}

pass_bytes_through!(<S> Announced<S>, socket);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::super::write::write;
    use super::*;
    use crate::endpoint::ProxyHeader;

    fn proxied() -> Header {
        Header::Proxied { source: "192.0.2.1:1234".parse().unwrap(), destination: "192.0.2.2:80".parse().unwrap() }
    }

    /// A socket that awaits a header, and its other end.
    fn awaiting() -> (Announced<UnixStream>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Announced::awaiting(ours), theirs)
    }

    async fn handshake(socket: &mut Announced<UnixStream>) -> Result<(), HandshakeError> {
        poll_fn(|cx| socket.poll_handshake(cx)).await
    }

    #[tokio::test]
    async fn reads_the_header_and_nothing_behind_it_however_it_comes() {
        for version in [ProxyHeader::V1, ProxyHeader::V2] {
            for (header, ends) in [
                (proxied(), (Some("192.0.2.1:1234".parse().unwrap()), Some("192.0.2.2:80".parse().unwrap()))),
                (Header::Local, (None, None)),
            ] {
                let bytes = [&write(version, &header)[..], b"GET / HTTP/1.1\r\n"].concat();
                for piece in [1, 2, 3, 7, 16, 1000] {
                    let (mut socket, mut client) = awaiting();
                    let (shaken, sent) = tokio::join!(handshake(&mut socket), async {
                        for piece in bytes.chunks(piece) {
                            client.write_all(piece).await?;
                            tokio::task::yield_now().await;
                        }
                        io::Result::Ok(())
                    });
                    assert!(shaken.is_ok() && sent.is_ok());
                    assert_eq!((socket.peer(), socket.local()), ends);
                    assert_eq!(socket.header(), Some(header));
                    let mut content = [0; 16];
                    socket.read_exact(&mut content).await.unwrap();
                    assert_eq!(&content, b"GET / HTTP/1.1\r\n");
                    assert_eq!(handshake(&mut socket).await, Ok(()), "once is enough");
                    socket.write_all(b"answer").await.unwrap();
                    client.read_exact(&mut content[..6]).await.unwrap();
                    assert_eq!(&content[..6], b"answer");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_end_within_the_header_is_told_from_one_before_it() {
        for version in [ProxyHeader::V1, ProxyHeader::V2] {
            let bytes = write(version, &proxied());
            for len in 0..bytes.len() {
                let (mut socket, mut client) = awaiting();
                client.write_all(&bytes[..len]).await.unwrap();
                drop(client);
                let expected = match len {
                    0 => HandshakeError::Closed,
                    _ => HandshakeError::ProxyHeader("proxy-header-cut-off"),
                };
                assert_eq!(handshake(&mut socket).await, Err(expected), "{len}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_ends_it() {
        for (bytes, label) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "proxy-header-missing"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "proxy-header-missing"),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "proxy-header-malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b123456789ab", "proxy-header-malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", "proxy-header-unsupported"),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff", "proxy-header-too-long"),
            (&[b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat(), "proxy-header-too-long"),
        ] {
            let (mut socket, mut client) = awaiting();
            client.write_all(bytes).await.unwrap();
            let error = handshake(&mut socket).await.unwrap_err();
            assert_eq!(error, HandshakeError::ProxyHeader(label));
            assert_eq!(error.close_reason().to_string(), format!("handshake-failed ({label})"));
            assert_eq!(socket.header(), None);
        }
    }

    #[tokio::test]
    async fn where_no_header_is_looked_for_one_is_content() {
        let (ours, mut client) = UnixStream::pair().unwrap();
        let mut socket = Announced::silent(ours);
        client.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        assert_eq!(handshake(&mut socket).await, Ok(()));
        assert_eq!((socket.peer(), socket.header()), (None, Some(Header::Local)));
        let mut content = [0; 15];
        socket.read_exact(&mut content).await.unwrap();
        assert_eq!(&content, b"PROXY UNKNOWN\r\n");
    }
}
