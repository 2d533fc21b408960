//! The one place that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sheave_lifecycle::time::Time;
use tokio::time::Instant;

/// Turns the runtime's clock into [`Time`]. One per process, copied to whoever needs it.
///
/// It reads tokio's clock, so that tests under a paused one are in full control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

    /// Time since 1970 by the system, for `Date`. Not for deadlines: this clock can be set.
    pub fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// The runtime's name for `time`.
    pub fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}
