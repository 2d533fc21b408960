//! A tunnel as a stream of bytes, for handlers that speak another protocol on a connection that was HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sheave_net::socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::HandlerError;
use crate::exchange::Exchange;

/// The tunnel that an exchange has become, as a stream of bytes: what other libraries speak their protocols over.
///
/// It borrows the exchange, which goes on to see to deadlines and drains: where one ends the tunnel, reading or writing
/// fails with [`io::ErrorKind::TimedOut`]. The client's FIN is the end of what can be read; a shutdown sends ours. When the
/// handler returns, both should have been; else what is left of the client's direction is read and thrown away for a
/// moment, and a direction of ours that was not shut is cut off by RST.
///
/// Where a protocol is to be spoken by somebody who cannot borrow (a task of its own, as frameworks have it), one end of a
/// pipe ([`tokio::io::duplex`]) goes there, and the handler copies between the other and this.
///
/// Costs no memory but what the last read brought beyond the reader's buffer. Dropped, that is lost: keep one for as long
/// as the tunnel is read.
pub struct Tunnel<'e, 'c, S: Socket> {
    exchange: &'e mut Exchange<'c, S>,
    unread: BytesMut,
}

impl<'c, S: Socket> Exchange<'c, S> {
    /// The tunnel as a stream of bytes, once [`Self::switch`] has begun it; before, reading gives the request's body, and
    /// writing fails.
    pub fn tunnel<'e>(&'e mut self) -> Tunnel<'e, 'c, S> {
        Tunnel { exchange: self, unread: BytesMut::new() }
    }
}

impl<S: Socket> Tunnel<'_, '_, S> {
    /// Waits for the deadlines, where nothing else can be done.
    fn poll_expired<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let now = self.exchange.clock().now();
        self.exchange.poll_deadline(cx, now, None).map(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.exchange.clock().now();
        match self.exchange.poll_flush(cx, now) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(to_io)),
            Poll::Pending => self.poll_expired(cx),
        }
    }
}

impl<S: Socket> AsyncRead for Tunnel<'_, '_, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let before = buffer.filled().len();
        loop {
            let len = it.unread.len().min(buffer.remaining());
            buffer.put_slice(&it.unread[..len]);
            it.unread.advance(len);
            if buffer.filled().len() > before || buffer.remaining() == 0 || it.exchange.has_whole_request() {
                return Poll::Ready(Ok(()));
            }
            it.unread = BytesMut::new();
            let now = it.exchange.clock().now();
            let unread = &mut it.unread;
            let read = it.exchange.poll_body_with(cx, now, |batch| {
                for piece in &batch.data {
                    let (fits, rest) = piece.split_at(piece.len().min(buffer.remaining()));
                    buffer.put_slice(fits);
                    unread.extend_from_slice(rest);
                }
            });
            match read {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(to_io(error))),
                Poll::Pending => {
                    // Who waits for an answer should have sent the question.
                    let _ = it.poll_flushed(cx)?;
                    return it.poll_expired(cx);
                }
            }
        }
    }
}

impl<S: Socket> AsyncWrite for Tunnel<'_, '_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        const MAX_SLICES: usize = 8;
        let it = self.get_mut();
        if it.exchange.has_answered() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // What the client does not take is kept, once; more is not taken before that has left.
        ready!(it.poll_flushed(cx))?;
        let mut data = [&[][..]; MAX_SLICES];
        let mut count = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()).take(MAX_SLICES) {
            data[count] = slice;
            count += 1;
        }
        let data = &data[..count];
        let now = it.exchange.clock().now();
        it.exchange.send_body(cx, now, data, false, None).map_err(to_io)?;
        Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flushed(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        if !it.exchange.has_answered() {
            let now = it.exchange.clock().now();
            it.exchange.send_body(cx, now, &[], true, None).map_err(to_io)?;
        }
        it.poll_flushed(cx)
    }
}

fn to_io(error: HandlerError) -> io::Error {
    let kind = match error {
        HandlerError::Client => io::ErrorKind::ConnectionReset,
        HandlerError::Misuse(_) => io::ErrorKind::InvalidInput,
        HandlerError::Failed(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
