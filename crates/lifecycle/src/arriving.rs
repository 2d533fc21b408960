//! A connection that cannot carry HTTP yet: a PROXY header is awaited, or TLS shakes hands.

use std::time::Duration;

use crate::close::CloseReason;
use crate::deadline::{Deadline, Timer};
use crate::machine::{Intent, Machine};
use crate::phase::Phase;
use crate::time::Time;

/// A connection that cannot carry HTTP yet. One deadline bounds all that comes before.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    ready_by: Time,
    end: Option<Intent>,
}

impl Arriving {
    /// A connection that came to be at `now`, and is to be ready within `timeout`.
    pub fn new(now: Time, timeout: Duration) -> Self {
        Self { ready_by: now.after(timeout), end: None }
    }
}

impl Machine for Arriving {
    fn phase(&self) -> Phase {
        Phase::Handshake
    }

    fn exchanges(&self) -> u64 {
        0
    }

    fn deadline(&self, _: bool) -> Option<Deadline> {
        let deadline = Deadline { at: self.ready_by, timer: Timer::Handshake };
        if self.end.is_none() { Some(deadline) } else { None }
    }

    fn intent(&self) -> Intent {
        self.end.unwrap_or(Intent::Continue)
    }

    fn progressed(&mut self, _: Time) {}

    fn received(&mut self, _: usize, _: bool, _: Time) {}

    fn expired(&mut self, timer: Timer) {
        self.end(Intent::Close(CloseReason::TimedOut(timer)));
    }

    fn end(&mut self, intent: Intent) {
        self.end.get_or_insert(intent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_once_and_waits_for_nothing_then() {
        let mut arriving = Arriving::new(Time::ZERO, Duration::from_secs(1));
        let by = Deadline { at: Time::from_micros(1_000_000), timer: Timer::Handshake };
        assert_eq!((arriving.deadline(true), arriving.intent()), (Some(by), Intent::Continue));
        arriving.expired(Timer::Handshake);
        arriving.end(Intent::Abort(CloseReason::DrainForced));
        let late = CloseReason::TimedOut(Timer::Handshake);
        assert_eq!((arriving.deadline(true), arriving.intent()), (None, Intent::Close(late)));
        assert_eq!(arriving.phase(), Phase::Handshake);
    }
}
