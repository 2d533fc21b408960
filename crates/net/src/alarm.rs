//! One timer per task, re-armed lazily: deadlines move with every exchange, the runtime's timer only when it must.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use sheave_lifecycle::time::Time;
use tokio::time::Sleep;

use crate::clock::Clock;

/// Wakes a task when a deadline passes.
///
/// A deadline that moves to a later moment costs nothing: the runtime's timer fires at the earlier one, and is armed
/// anew then. So a busy keep-alive connection touches the timer about once per idle time, not once per request.
#[derive(Default)]
pub struct Alarm {
    armed: Option<Armed>,
}

struct Armed {
    at: Time,
    waker: Waker,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// Ready when `deadline` has passed at `now`; otherwise the task is woken once it has.
    pub fn poll(&mut self, cx: &mut Context<'_>, clock: Clock, now: Time, deadline: Option<Time>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if deadline <= now {
            return Poll::Ready(());
        }
        if let Some(armed) = &self.armed
            && armed.at > now
            && armed.at <= deadline
            && armed.waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        let instant = clock.instant(deadline);
        let mut sleep = match self.armed.take() {
            Some(mut armed) => {
                armed.sleep.as_mut().reset(instant);
                armed.sleep
            }
            None => Box::pin(tokio::time::sleep_until(instant)),
        };
        // The timer has a resolution of a millisecond and rounds up, so an elapsed one means a deadline that has passed.
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.armed = Some(Armed { at: deadline, waker: cx.waker().clone(), sleep });
        Poll::Pending
    }
}
