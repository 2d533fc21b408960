//! A leg whose bytes another engine takes and makes: it reads and writes as that says, and its machine watches.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::errno::{IoFault, Op};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use tokio::io::ReadBuf;

use crate::leg::{HELD, Leg};
use crate::lent_buffer::WIDE_BUFFER_BYTES;
use crate::socket::Socket;

impl<M: Machine, S: Socket> Leg<M, S> {
    /// Reads for another engine, into its own buffer, and shows the machine what goes by. Once the machine intends to end
    /// the connection, nothing goes by any more.
    pub(crate) fn poll_read_for(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.machine.intent() != Intent::Continue {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if !self.inbox.is_empty() {
            let len = self.inbox.len().min(buffer.remaining());
            buffer.put_slice(&self.inbox[..len]);
            self.inbox.advance(len);
            self.inbox.release();
        } else if self.life.peer_has_ended {
            return Poll::Ready(Ok(()));
        } else {
            match Pin::new(self.socket_mut()).poll_read(cx, buffer) {
                Poll::Pending => {
                    self.begin_waiting(now);
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => {
                    self.fail(IoFault::new(Op::Read, &error));
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(())) => self.note_received(buffer.filled().len() - before, now),
            }
        }
        self.machine.watch_received(&buffer.filled()[before..], now);
        if self.machine.intent() != Intent::Continue {
            // What the machine ends the connection for is not the engine's to act upon.
            buffer.set_filled(before);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what another engine writes, for the next [`Self::poll_send_for`], or at once where that is much.
    pub(crate) fn poll_write_for(
        &mut self,
        cx: &mut Context<'_>,
        now: impl FnOnce() -> Time,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.outbox.len() + len > WIDE_BUFFER_BYTES || self.is_stalled() {
            ready!(self.poll_send_for(cx, now()))?;
        }
        let taken = len.min(WIDE_BUFFER_BYTES);
        let (outbox, mut left) = (self.outbox.get_wide(), taken);
        for part in parts {
            let part = &part[..left.min(part.len())];
            outbox.extend_from_slice(part);
            left -= part.len();
        }
        Poll::Ready(Ok(taken))
    }

    /// Gives the kernel what another engine has written, and what layers of the socket keep, and shows the machine what went
    /// out.
    pub(crate) fn poll_send_for(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let socket = self.socket.as_mut().expect(HELD);
            let written = match Pin::new(socket).poll_write(cx, &self.outbox) {
                Poll::Pending => {
                    self.life.note_blocked(now);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written,
            };
            match written {
                Ok(len) => {
                    self.life.note_written(len, now);
                    self.machine.watch_sent(&self.outbox[..len], now);
                    self.outbox.advance(len);
                }
                Err(error) => {
                    self.life.note_failed(now);
                    self.outbox.clear();
                    self.fail(IoFault::new(Op::Write, &error));
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.outbox.release();
        let flushed = self.poll_flush_socket(cx, now);
        if let Poll::Ready(Err(error)) = &flushed {
            self.fail(IoFault::new(Op::Write, error));
        }
        flushed
    }

    /// The socket is of no more use.
    fn fail(&mut self, fault: IoFault) {
        let reason = self.reason_of(fault);
        self.machine.end(Intent::Abort(reason));
    }
}
