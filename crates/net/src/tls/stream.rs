//! A connection that is secured, or is not, as it comes.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handshake::HandshakeError;
use crate::secured::Secured;
use crate::socket::{Liveness, Socket};
use crate::tls::socket::TlsSocket;

/// A connection with TLS or without, for whoever has both. Without, it costs a comparison.
pub enum Stream<S: Socket> {
    /// As it is.
    Plain(S),
    /// Secured.
    Tls(Box<TlsSocket<S>>),
}

impl<S: Socket> From<TlsSocket<S>> for Stream<S> {
    fn from(socket: TlsSocket<S>) -> Self {
        Self::Tls(Box::new(socket))
    }
}

macro_rules! either {
    ($stream:expr, $socket:ident => $what:expr) => {
        match $stream {
            Self::Plain($socket) => $what,
            Self::Tls($socket) => $what,
        }
    };
}

impl<S: Socket> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_read(cx, buffer))
    }
}

impl<S: Socket> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, socket => socket.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_shutdown(cx))
    }
}

impl<S: Socket> Socket for Stream<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        either!(self, socket => socket.poll_handshake(cx))
    }

    fn is_plain(&self) -> bool {
        either!(self, socket => socket.is_plain())
    }

    fn awaits_peer(&self) -> bool {
        either!(self, socket => socket.awaits_peer())
    }

    fn is_watched(&self) -> bool {
        either!(self, socket => socket.is_watched())
    }

    fn probe(&mut self) -> Liveness {
        either!(self, socket => socket.probe())
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, socket => socket.read_now(buffer))
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, socket => socket.try_write(bytes))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        either!(self, socket => socket.shutdown_write())
    }

    fn conclude(&mut self) {
        either!(self, socket => socket.conclude());
    }

    fn unsent_bytes(&self) -> usize {
        either!(self, socket => socket.unsent_bytes())
    }

    fn is_cut_off(&self) -> bool {
        either!(self, socket => socket.is_cut_off())
    }

    fn failure(&self) -> Option<&HandshakeError> {
        either!(self, socket => socket.failure())
    }

    fn secured(&self) -> Option<&Arc<Secured>> {
        either!(self, socket => socket.secured())
    }

    fn set_abortive_close(&self) {
        either!(self, socket => socket.set_abortive_close());
    }

    fn peer(&self) -> Option<SocketAddr> {
        either!(self, socket => socket.peer())
    }

    fn local(&self) -> Option<SocketAddr> {
        either!(self, socket => socket.local())
    }
}
