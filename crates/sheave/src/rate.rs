//! How many lines a second a log may get, so that a storm of ends does not become a storm of lines.

use std::time::Duration;

/// A bucket of permits that fills at a steady rate. Time is an argument: how long since some fixed moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    per_second: f64,
    burst: f64,
    permits: f64,
    filled: Duration,
    suppressed: u64,
}

impl Rate {
    /// At most `burst` at once, and `per_second` in the long run. Begins full.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, permits: burst, filled: Duration::ZERO, suppressed: 0 }
    }

    /// Whether there is a permit now; if so, how many were refused since the last one.
    pub(crate) fn permit(&mut self, now: Duration) -> Option<u64> {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.permits = (self.permits + passed * self.per_second).min(self.burst);
        if self.permits < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.permits -= 1.0;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_through_then_a_trickle_and_tells_what_it_held_back() {
        let mut rate = Rate::new(2, 3);
        let at = Duration::from_millis;
        assert_eq!([0; 3].map(|_| rate.permit(at(0))), [Some(0); 3]);
        assert_eq!([0; 4].map(|_| rate.permit(at(100))), [None; 4]);
        assert_eq!(rate.permit(at(500)), Some(4));
        assert_eq!(rate.permit(at(400)), None, "time that goes back fills nothing");
        assert_eq!(rate.permit(at(1000)), Some(1));
        assert_eq!([0; 4].map(|_| rate.permit(at(60_000))), [Some(0), Some(0), Some(0), None]);
    }
}
