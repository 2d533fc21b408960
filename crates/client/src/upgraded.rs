//! A connection that an origin has switched to another protocol, as a stream of bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_net::socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::builder::SystemSocket;
use crate::call::Call;
use crate::error::CallError;

/// A connection that an origin has switched to another protocol ([`Response::upgrade`](crate::response::Response::upgrade)), as
/// a stream of bytes.
///
/// The origin's FIN is the end of what can be read; a shutdown sends ours. A tunnel that is silent for too long ends:
/// reading and writing fail with [`io::ErrorKind::TimedOut`] then. The request's own timeout ended with the response. Both
/// halves may be used from different tasks ([`tokio::io::split`]). Dropped before both directions have ended, the connection is
/// reset; it is never used for another request, and counts among the pool's until then.
///
/// Costs no memory but what the last read brought beyond the reader's buffer, and what the origin does not take.
pub struct Upgraded<S: Socket = SystemSocket> {
    call: Call<S>,
    unread: Bytes,
    clock: Clock,
    alarm: Alarm,
    halves: Arc<Halves>,
    waker: Waker,
}

/// Who waits: what wakes one half may be what the other waits for, too.
#[derive(Default)]
struct Halves {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Wake for Halves {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for half in [&self.reader, &self.writer] {
            let waker = half.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<S: Socket> Upgraded<S> {
    pub(crate) fn new(call: Call<S>, unread: Bytes, clock: Clock) -> Self {
        let halves = Arc::new(Halves::default());
        Self { call, unread, clock, alarm: Alarm::default(), waker: halves.clone().into(), halves }
    }

    /// Notes who reads or writes, and gives what wakes both.
    fn waiting(&self, half: impl FnOnce(&Halves) -> &Mutex<Option<Waker>>, cx: &Context<'_>) -> Waker {
        let mut waiting = half(&self.halves).lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        self.waker.clone()
    }

    /// Waits for the deadline, where nothing else can be done.
    fn poll_expired<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let due = self.call.deadline();
        ready!(self.alarm.poll(cx, self.clock, self.clock.now(), due.map(|due| due.at)));
        Poll::Ready(Err(to_io(self.call.expire())))
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.call.poll_flush(cx, self.clock.now()).is_pending() {
            return self.poll_expired(cx);
        }
        Poll::Ready(self.call.write_fault().map_or(Ok(()), |fault| Err(to_io(CallError::Io(fault)))))
    }
}

impl<S: Socket> AsyncRead for Upgraded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let waker = it.waiting(|halves| &halves.reader, cx);
        let cx = &mut Context::from_waker(&waker);
        let before = buffer.filled().len();
        loop {
            let len = it.unread.len().min(buffer.remaining());
            buffer.put_slice(&it.unread[..len]);
            it.unread.advance(len);
            if buffer.filled().len() > before || buffer.remaining() == 0 || it.call.has_whole_response() {
                return Poll::Ready(Ok(()));
            }
            let mut unread = BytesMut::new();
            let read = it.call.poll_response_with(cx, it.clock.now(), |batch| {
                for piece in &batch.data {
                    let (fits, rest) = piece.split_at(piece.len().min(buffer.remaining()));
                    buffer.put_slice(fits);
                    unread.extend_from_slice(rest);
                }
            });
            it.unread = unread.freeze();
            match read {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(to_io(error))),
                Poll::Pending => {
                    // Who waits for an answer should have sent the question.
                    let _ = it.call.poll_flush(cx, it.clock.now());
                    return it.poll_expired(cx);
                }
            }
        }
    }
}

impl<S: Socket> AsyncWrite for Upgraded<S> {
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
        let waker = it.waiting(|halves| &halves.writer, cx);
        let cx = &mut Context::from_waker(&waker);
        // What the origin does not take is kept, once; more is not taken before that has left.
        ready!(it.poll_flushed(cx))?;
        if !it.call.is_sending() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut data = [&[][..]; MAX_SLICES];
        let mut count = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()).take(MAX_SLICES) {
            data[count] = slice;
            count += 1;
        }
        let data = &data[..count];
        it.call.send_body(cx, it.clock.now(), data, false, None).map_err(to_io)?;
        Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let waker = it.waiting(|halves| &halves.writer, cx);
        it.poll_flushed(&mut Context::from_waker(&waker))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let waker = it.waiting(|halves| &halves.writer, cx);
        let cx = &mut Context::from_waker(&waker);
        if it.call.is_sending() {
            it.call.send_body(cx, it.clock.now(), &[], true, None).map_err(to_io)?;
        }
        it.poll_flushed(cx)
    }
}

impl<S: Socket> fmt::Debug for Upgraded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").field("connection", &self.call.connection_id()).finish_non_exhaustive()
    }
}

fn to_io(error: CallError) -> io::Error {
    let kind = match error {
        CallError::TimedOut(_) => io::ErrorKind::TimedOut,
        CallError::Misuse(_) => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, error)
}
