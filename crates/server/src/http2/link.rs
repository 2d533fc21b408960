//! What the streams of a connection know of it, and it of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::time::Time;
use sheave_net::leg::LegContext;
use sheave_net::secured::Secured;

/// What the streams of a connection know of it.
pub(crate) struct Link {
    pub(crate) context: Arc<LegContext>,
    pub(crate) id: ConnectionId,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) secured: Option<Arc<Secured>>,
    flushes: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
    /// In microseconds, plus one; zero for never.
    stalled_at: AtomicU64,
    fate: OnceLock<CloseReason>,
}

/// How many times the connection had given the kernel all that it had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Flushes(u64);

impl Link {
    /// What is known of a connection that begins.
    pub(crate) fn new(
        context: Arc<LegContext>,
        id: ConnectionId,
        (peer, local): (Option<SocketAddr>, Option<SocketAddr>),
        secured: Option<Arc<Secured>>,
    ) -> Self {
        Self {
            context,
            id,
            peer,
            local,
            secured,
            flushes: AtomicU64::new(0),
            waiting: Mutex::default(),
            stalled_at: AtomicU64::new(0),
            fate: OnceLock::new(),
        }
    }

    /// How many times the kernel had taken all, as something is given to the framing layer.
    pub(crate) fn flushes(&self) -> Flushes {
        Flushes(self.flushes.load(Ordering::Relaxed))
    }

    /// The kernel has taken all that streams had given to the connection.
    pub(crate) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(Waker::wake);
    }

    /// Ready once the kernel has taken all that had been given to the connection by `since`.
    pub(crate) fn poll_flushed(&self, cx: &mut Context<'_>, since: Flushes) -> Poll<()> {
        if self.flushes() > since {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // One for each stream, however often its client has it look.
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The kernel takes no more for now.
    pub(crate) fn stalled(&self, now: Time) {
        self.stalled_at.store(now.as_micros() + 1, Ordering::Relaxed);
    }

    /// Whether the kernel has taken all within the last `period`: then it is not for the socket that a stream waits.
    pub(crate) fn has_kept_up(&self, period: Duration, now: Time) -> bool {
        match self.stalled_at.load(Ordering::Relaxed).checked_sub(1) {
            None => true,
            Some(at) => now.since(Time::from_micros(at)) >= period,
        }
    }

    /// The connection ends, and its streams with it. The first reason stays.
    pub(crate) fn end(&self, reason: CloseReason) {
        // It may have been set before.
        let _ = self.fate.set(reason);
    }

    /// Why the connection ended, if it has.
    pub(crate) fn fate(&self) -> Option<CloseReason> {
        self.fate.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::observe::Silent;
    use sheave_net::clock::Clock;
    use sheave_net::leg::LingerPlan;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_learns_of_the_next_flush_and_of_what_held_it_up() {
        let context = LegContext {
            clock: Clock::start(),
            observer: Arc::new(Silent),
            write_timeout: Duration::ZERO,
            linger: LingerPlan::default(),
        };
        let link = Link::new(Arc::new(context), ConnectionId(1), (None, None), None);
        link.flushed();
        let since = link.flushes();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(link.poll_flushed(&mut cx, since).is_pending());
        link.flushed();
        assert!(link.poll_flushed(&mut cx, since).is_ready());
        let (second, at) = (Duration::from_secs(1), |seconds: u64| Time::from_micros(seconds * 1_000_000));
        assert!(link.has_kept_up(second, at(9)));
        link.stalled(at(8));
        assert_eq!([8, 9].map(|now| link.has_kept_up(second, at(now))), [false, true]);
        link.end(CloseReason::DrainForced);
        link.end(CloseReason::Cancelled);
        assert_eq!(link.fate(), Some(CloseReason::DrainForced));
    }
}
