//! A leg whose bytes another engine takes and makes: it reads and writes as that says, and its machine watches.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::{IoFault, Op};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use tokio::io::ReadBuf;

use crate::leg::Leg;
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
        } else if self.has_ended {
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

    /// Writes for another engine, and shows the machine what went out.
    pub(crate) fn poll_write_for(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(self.socket_mut()).poll_write_vectored(cx, parts) {
            Poll::Pending => {
                self.life.note_blocked(now);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => {
                self.life.note_failed(now);
                self.fail(IoFault::new(Op::Write, &error));
                Poll::Ready(Err(error))
            }
            Poll::Ready(Ok(len)) => {
                self.life.note_written(len, now);
                let mut left = len;
                for part in parts {
                    let sent = left.min(part.len());
                    if sent > 0 {
                        self.machine.watch_sent(&part[..sent], now);
                    }
                    left -= sent;
                }
                Poll::Ready(Ok(len))
            }
        }
    }

    /// Gives the kernel what layers of the socket keep, for another engine.
    pub(crate) fn poll_flush_for(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<io::Result<()>> {
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
