//! A connection that is counted at its worker for as long as it is open.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::load::Assigned;
use crate::socket::{Liveness, Socket};
use crate::stream::KernelStream;

/// A TCP connection that is counted at its worker for as long as it is open.
#[derive(Debug)]
pub struct CountedSocket {
    stream: KernelStream,
    _assigned: Assigned,
}

impl CountedSocket {
    /// A non-blocking connection, which its worker's runtime gets to know when it has to.
    pub(super) const fn new(descriptor: OwnedFd, assigned: Assigned) -> Self {
        Self { stream: KernelStream::new(descriptor), _assigned: assigned }
    }
}

impl AsyncRead for CountedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Socket for CountedSocket {
    fn is_plain(&self) -> bool {
        self.stream.is_plain()
    }

    fn is_watched(&self) -> bool {
        self.stream.is_watched()
    }

    fn probe(&mut self) -> Liveness {
        self.stream.probe()
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read_now(buffer)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Socket::try_write(&mut self.stream, bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream.shutdown_write()
    }

    fn set_abortive_close(&self) {
        self.stream.set_abortive_close();
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer()
    }

    fn local(&self) -> Option<SocketAddr> {
        self.stream.local()
    }
}
