//! A socket lent to another engine: the engine moves the bytes, and the connection's life stays ours.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::Machine;
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;

use crate::alarm::Alarm;
use crate::drain::DrainWatch;
use crate::leg::Leg;
use crate::socket::Socket;

/// The owner's end of a connection whose bytes another engine reads and writes through [`Lent`].
///
/// All that a [`Leg`] does for its connection goes on: the observer is told once of its end, bytes are counted, a write that
/// stands still has a deadline, and a close that would make something look complete is an RST. The machine sees the bytes
/// go by ([`Machine::watch_received`]), and says how the connection ends.
///
/// What the engine writes is gathered, up to 64 KiB, and leaves with [`Self::poll_send`]: in one write, and in one record
/// of TLS for each 16 KiB, however many pieces it came in. So call that when the engine has been polled and nothing is left
/// that it could be polled for.
///
/// Dropped, it ends the connection, whatever the engine has; the engine's reads and writes fail from then on.
pub struct Wire<M: Machine, S: Socket>(Arc<Shared<M, S>>);

/// The engine's end: what it reads comes from the socket, what it writes is gathered for [`Wire::poll_send`].
///
/// Its `poll_flush` leaves it at that. Its `poll_shutdown` sends and no more: how the connection ends is its owner's to say.
pub struct Lent<M: Machine, S: Socket>(Arc<Shared<M, S>>);

/// Both ends are in one task's hands, or nearly: the lock is never waited for but when a pool looks at a connection that
/// its own task drives.
struct Shared<M: Machine, S: Socket>(Mutex<Option<Leg<M, S>>>);

impl<M: Machine, S: Socket> Shared<M, S> {
    fn lock(&self) -> MutexGuard<'_, Option<Leg<M, S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Machine, S: Socket> Leg<M, S> {
    /// Lends the socket to another engine. What was received and not taken is what the engine reads first.
    pub fn lend(self) -> (Wire<M, S>, Lent<M, S>) {
        let shared = Arc::new(Shared(Mutex::new(Some(self))));
        (Wire(shared.clone()), Lent(shared))
    }
}

impl<M: Machine, S: Socket> Wire<M, S> {
    /// Looks at the connection, and at what it is driven for. The engine must not be polled meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&mut Leg<M, S>) -> T) -> T {
        look(self.0.lock().as_mut().expect("a wire holds its leg until it ends"))
    }

    /// Gives the kernel what the engine has written. Ready when it has all of it. Whoever `cx` is of is woken when the kernel
    /// takes more, as by a write of the engine's.
    ///
    /// # Errors
    /// What the kernel said: nothing more can be written. The machine knows, and intends to end the connection.
    pub fn poll_send(&self, cx: &mut Context<'_>, now: Time) -> Poll<io::Result<()>> {
        // It is one write for all that came to be in a turn, so that it does not wait until the task has its next share.
        let sent = pin!(unconstrained(poll_fn(|cx| self.with(|leg| leg.poll_send_for(cx, now)))));
        sent.poll(cx)
    }

    /// Takes the socket back from the engine, whose reads and writes fail from here on.
    pub fn take_back(self) -> Leg<M, S> {
        self.0.lock().take().expect("a wire holds its leg until it ends")
    }

    /// As [`Leg::close`], with what the engine has written. What it still keeps is lost: let it flush before.
    ///
    /// # Cancel safety
    /// As for [`Leg::close`].
    pub async fn close(self, alarm: &mut Alarm, watch: &mut DrainWatch) -> (CloseReason, Phase) {
        self.take_back().close(alarm, watch).await
    }
}

impl<M: Machine, S: Socket> Drop for Wire<M, S> {
    fn drop(&mut self) {
        let leg = self.0.lock().take();
        // Whoever is told of its end may look at anything: not under the lock.
        drop(leg);
    }
}

impl<M: Machine, S: Socket> Lent<M, S> {
    fn with<T>(&self, act: impl FnOnce(&mut Leg<M, S>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.0.lock() {
            Some(leg) => act(leg),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl<M: Machine, S: Socket> AsyncRead for Lent<M, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|leg| {
            let now = leg.context().clock.now();
            leg.poll_read_for(cx, now, buffer)
        })
    }
}

impl<M: Machine, S: Socket> AsyncWrite for Lent<M, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|leg| {
            let clock = leg.context().clock;
            leg.poll_write_for(cx, || clock.now(), parts)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever owns the connection sends, once for all that is written in a turn.
        self.with(|_| Poll::Ready(Ok(())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|leg| {
            let now = leg.context().clock.now();
            leg.poll_send_for(cx, now)
        })
    }
}
