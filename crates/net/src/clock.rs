//! The one place that reads a clock.

use sheave_lifecycle::time::Time;
use tokio::time::Instant;

/// Turns the runtime's clock into [`Time`]. One per process, copied to whoever needs it.
///
/// It reads tokio's clock, so that tests under a paused one are in full control.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        let elapsed = Instant::now().saturating_duration_since(self.origin);
        Time::ZERO.after(elapsed)
    }

    /// The runtime's name for `time`.
    pub fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}
