//! Runs a handler under guard: a panic, an exchange that takes too long or a forced drain harms nobody else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Whether an exchange has become a tunnel, to which other deadlines apply. Shared by whoever runs it and whoever does it.
#[derive(Default, Debug)]
pub(crate) struct IsTunnel(AtomicBool);

impl IsTunnel {
    /// From here on it is one.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
    tunnel: &IsTunnel,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Guarded {
    poll_fn(|cx| {
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
        let (deadline, forcing) = match tunnel.get() {
            true => (None, drain.tunnels_forced_at()),
            false => (deadline, drain.forcing_at()),
        };
        let Some(next) = [deadline, forcing].into_iter().flatten().min() else { return Poll::Pending };
        let now = clock.now();
        alarm.poll(cx, clock, now, Some(next)).map(|()| match forcing {
            Some(forcing) if forcing <= now => Guarded::Forced,
            _ => Guarded::TimedOut,
        })
    })
    .await
}
