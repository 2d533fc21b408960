//! Content as a stream: records opened for a reader, and a writer's parts cut into records.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scratch::SCRATCH_BYTES;
use crate::socket::Socket;
use crate::tls::scratch::with_sealed;
use crate::tls::session::Job;
use crate::tls::socket::{Content, End, RECORD_BYTES, Stage, TlsSocket};

/// How much content one write takes at most: one read of the other side, and a record for the head before it, so that a few
/// bytes do not go by themselves. What of it the kernel does not take is kept, and until that is gone nothing more is taken.
const MAX_WRITE_BYTES: usize = SCRATCH_BYTES + RECORD_BYTES;

impl<S: Socket> AsyncRead for TlsSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let len = this.unread.len().min(buffer.remaining());
            buffer.put_slice(&this.unread.front()[..len]);
            this.unread.advance(len);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        loop {
            match this.stage {
                Stage::Failed { .. } => return this.poll_discard(cx),
                Stage::Beginning | Stage::Handshaking => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                Stage::Open if this.end != End::Open => return Poll::Ready(Ok(())),
                Stage::Open => {}
            }
            // Content is shorter than its ciphertext: with no more than there is room for, none is left over.
            let room = buffer.remaining().saturating_sub(this.incomplete.len()).max(RECORD_BYTES);
            ready!(this.poll_receive(cx, room, &mut Content::Reader(buffer)))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: Socket> AsyncWrite for TlsSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(error) = this.unwritable() {
            return Poll::Ready(Err(error));
        }
        ready!(this.poll_send(cx))?;
        with_sealed(|sealed| {
            let mut taken = 0;
            let mut joined = std::mem::take(&mut sealed.joined);
            for_each_record(parts, &mut joined, |content| {
                let mut kept = std::mem::take(&mut this.incomplete);
                let is_sent = this.process(&mut kept, Job::Send(content), sealed, &mut Content::None);
                taken += if is_sent { content.len() } else { 0 };
                is_sent
            });
            sealed.joined = joined;
            let mut bytes = sealed.bytes();
            while !bytes.is_empty() {
                match Pin::new(&mut this.inner).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(len)) => bytes = &bytes[len..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            this.unsent.push(bytes);
            match this.unwritable() {
                Some(error) if taken == 0 => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(taken)),
            }
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.conclude();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// Cuts up to [`MAX_WRITE_BYTES`] into records, small parts joined, and shows them to `each` for as long as it wants more.
fn for_each_record(parts: &[IoSlice<'_>], joined: &mut Vec<u8>, mut each: impl FnMut(&[u8]) -> bool) {
    let mut left = MAX_WRITE_BYTES;
    joined.clear();
    let mut parts = parts.iter().filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let mut part = &part[..part.len().min(left)];
        left -= part.len();
        let is_last = left == 0 || parts.peek().is_none();
        if !joined.is_empty() {
            let (fits, rest) = part.split_at(part.len().min(RECORD_BYTES - joined.len()));
            joined.extend_from_slice(fits);
            part = rest;
            if joined.len() == RECORD_BYTES || is_last {
                if !each(joined) {
                    return;
                }
                joined.clear();
            }
        }
        while part.len() >= RECORD_BYTES || is_last && !part.is_empty() {
            let (record, rest) = part.split_at(part.len().min(RECORD_BYTES));
            if !each(record) {
                return;
            }
            part = rest;
        }
        joined.extend_from_slice(part);
        if is_last {
            return;
        }
    }
}
