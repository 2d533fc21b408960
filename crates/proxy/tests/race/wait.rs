//! Waiting to the microsecond.

use std::thread;
use std::time::{Duration, Instant};

/// How late a sleeping thread wakes on a machine that is not overloaded.
const SLACK: Duration = Duration::from_micros(150);

/// Waits until `moment`; returns at once if it has passed.
pub fn until(moment: Instant) {
    if let Some(sleep) = moment.saturating_duration_since(Instant::now()).checked_sub(SLACK) {
        thread::sleep(sleep);
    }
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}
