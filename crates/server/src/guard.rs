//! Runs a handler under guard: a panic, an exchange that takes too long or a forced drain harms nobody else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_net::drain::DrainWatch;

use crate::error::HandlerError;

/// How a handler came to an end.
pub(crate) enum Guarded {
    /// By itself.
    Done(Result<(), HandlerError>),
    /// By a panic.
    Panicked,
    /// By the exchange's deadline.
    TimedOut,
    /// By the end of a drain's grace.
    Forced,
    /// It was not begun: there is no room, and nothing is said.
    TurnedAway,
    /// Its client has taken the question back, or is gone: nobody waits for an answer.
    Gone,
}

/// What whoever runs an exchange and whoever does it know together: whether it has become a tunnel, to which other deadlines
/// apply, and the present moment of this turn of their task.
#[derive(Debug)]
pub(crate) struct Course {
    is_tunnel: AtomicBool,
    /// Microseconds; nobody has looked at the clock in this turn where it is [`UNKNOWN`].
    now: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

impl Default for Course {
    /// An exchange on whose behalf nobody has looked at the clock.
    fn default() -> Self {
        Self { is_tunnel: AtomicBool::new(false), now: AtomicU64::new(UNKNOWN) }
    }
}

impl Course {
    /// An exchange whose first turn is the one of this moment.
    pub(crate) fn begin(now: Time) -> Self {
        Self { is_tunnel: AtomicBool::new(false), now: AtomicU64::new(now.as_micros()) }
    }

    /// From here on it is a tunnel.
    pub(crate) fn set_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Relaxed);
    }

    fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Relaxed)
    }

    /// The task sleeps, or has slept: what the clock said is no longer so.
    pub(crate) fn end_turn(&self) {
        self.now.store(UNKNOWN, Ordering::Relaxed);
    }

    /// The moment of this turn: the clock is read when nobody has in it, and no more than once.
    pub(crate) fn now(&self, clock: Clock) -> Time {
        match self.now.load(Ordering::Relaxed) {
            UNKNOWN => self.look(clock),
            micros => Time::from_micros(micros),
        }
    }

    /// Looks at the clock, as whoever may have worked for long in this turn does.
    pub(crate) fn look(&self, clock: Clock) -> Time {
        let now = clock.now();
        self.now.store(now.as_micros(), Ordering::Relaxed);
        now
    }
}

/// Runs `handler` until it is done, panics, or has no time left. Once it is a tunnel, `deadline` is not its own any more,
/// and a drain gives it a tunnel's grace.
///
/// Once `gone` is ready, nobody waits for what `handler` does, and it ends there, whatever it waits for.
///
/// The handler stays where its caller has pinned it: moved in here, its future would be there twice.
///
/// `alarm` is armed only where there is a deadline or a drain: in ordinary operation it costs nothing.
pub(crate) async fn run(
    mut handler: Pin<&mut impl Future<Output = Result<(), HandlerError>>>,
    clock: Clock,
    deadline: Option<Time>,
    course: &Course,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Guarded {
    let mut is_later = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_later, true) {
            course.end_turn();
        }
        watch.register(cx);
        if gone(cx).is_ready() {
            return Poll::Ready(Guarded::Gone);
        }
        // The handler is dropped after a panic, and what it borrowed is closed, not used: nothing broken is seen.
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Err(_) => return Poll::Ready(Guarded::Panicked),
            Ok(Poll::Ready(result)) => return Poll::Ready(Guarded::Done(result)),
            Ok(Poll::Pending) => {}
        }
        let drain = watch.drain();
        let (deadline, forcing) = match course.is_tunnel() {
            true => (None, drain.tunnels_forced_at()),
            false => (deadline, drain.forcing_at()),
        };
        let Some(next) = [deadline, forcing].into_iter().flatten().min() else { return Poll::Pending };
        let now = course.now(clock);
        alarm.poll(cx, clock, now, Some(next)).map(|()| match forcing {
            Some(forcing) if forcing <= now => Guarded::Forced,
            _ => Guarded::TimedOut,
        })
    })
    .await
}
