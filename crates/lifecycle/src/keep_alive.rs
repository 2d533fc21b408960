//! What an origin's keep-alive time is, as far as it was told or seen, and up to which age a parked connection is safe.

use std::fmt;
use std::time::Duration;

/// How a pool uses what it learns of keep-alive times.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KeepAlivePolicy {
    /// The share of the learned time up to which a parked connection is reused. Default: 0.8.
    ///
    /// The rest is for the way to the origin and for its timer's coarseness: a request must arrive before the origin has
    /// decided to close.
    pub safe_share: f64,
    /// What is taken off beyond the share, where the learned time is longer than four times that. Default: 500 ms.
    pub margin: Duration,
    /// The share for requests that are neither safe nor idempotent, which cannot be sent again. Default: 0.4.
    pub careful_share: f64,
    /// Up to which age such a request takes a parked connection while nothing has been learned. Default: 1 s.
    pub careful_age: Duration,
}

impl Default for KeepAlivePolicy {
    fn default() -> Self {
        Self {
            safe_share: 0.8,
            margin: Duration::from_millis(500),
            careful_share: 0.4,
            careful_age: Duration::from_secs(1),
        }
    }
}

/// Closes that must have been survived in a row before what was seen is forgotten.
const SURVIVALS_TO_FORGET: u32 = 8;

/// What is known of one origin's keep-alive time.
///
/// The smallest time counts: an origin behind a name may be several servers, and the shortest-lived decides. Seen times
/// that prove wrong (connections keep outliving them) are forgotten slowly, one eighth at a time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Learned {
    told: Option<Duration>,
    seen: Option<Duration>,
    times_seen: u32,
    survived: u32,
}

impl Learned {
    /// The origin announced it: `Keep-Alive: timeout=`. The last word counts.
    pub fn told(&mut self, timeout: Duration) {
        self.told = Some(timeout);
    }

    /// The origin closed a connection that had been parked for `age`.
    pub fn closed_at(&mut self, age: Duration) {
        self.seen = Some(self.seen.map_or(age, |seen| seen.min(age)));
        self.times_seen = self.times_seen.saturating_add(1);
        self.survived = 0;
    }

    /// A connection was alive after it had been parked for `age`.
    ///
    /// One that outlives what was seen says that the origin does not always close so early: a restart, not a timer. After
    /// eight in a row the seen time grows by an eighth, so a wrong lesson is unlearned, and a right one survives a stray.
    pub fn alive_at(&mut self, age: Duration) {
        let Some(seen) = self.seen.filter(|seen| age > *seen) else { return };
        self.survived += 1;
        if self.survived >= SURVIVALS_TO_FORGET {
            self.survived = 0;
            self.seen = Some((seen + seen / 8).min(age).max(seen + Duration::from_millis(1)));
        }
    }

    /// The smallest keep-alive time that is known; `None` while nothing is.
    pub fn keep_alive(&self) -> Option<Duration> {
        match (self.told, self.seen) {
            (Some(told), Some(seen)) => Some(told.min(seen)),
            (told, seen) => told.or(seen),
        }
    }

    /// How often the origin was seen to close.
    pub fn times_seen(&self) -> u32 {
        self.times_seen
    }

    /// Below which age a parked connection is reused, never above `idle`, the pool's own bound.
    ///
    /// `is_careful` is for requests that are neither safe nor idempotent.
    pub fn reused_below(&self, policy: &KeepAlivePolicy, idle: Duration, is_careful: bool) -> Duration {
        let bound = match self.keep_alive() {
            None if is_careful => policy.careful_age,
            None => idle,
            Some(keep_alive) => {
                let share = if is_careful { policy.careful_share } else { policy.safe_share };
                let by_share = keep_alive.mul_f64(share.clamp(0.0, 1.0));
                let by_margin = keep_alive.saturating_sub(policy.margin);
                if keep_alive > policy.margin * 4 { by_share.min(by_margin) } else { by_share }
            }
        };
        bound.min(idle)
    }
}

/// `closes at 5.0 s (seen 37 times)`, `closes at 5.0 s (as it says)`, `has not closed yet`.
impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(keep_alive) = self.keep_alive() else { return f.write_str("has not closed yet") };
        write!(f, "closes at {:.1} s", keep_alive.as_secs_f64())?;
        if self.told == Some(keep_alive) {
            f.write_str(" (as it says)")
        } else {
            let times = if self.times_seen == 1 { "once" } else { "times" };
            if self.times_seen == 1 {
                write!(f, " (seen {times})")
            } else {
                write!(f, " (seen {} {times})", self.times_seen)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_smallest_of_told_and_seen_counts() {
        let policy = KeepAlivePolicy::default();
        let mut learned = Learned::default();
        assert_eq!(learned.to_string(), "has not closed yet");
        assert_eq!(learned.reused_below(&policy, s(30), false), s(30));
        assert_eq!(learned.reused_below(&policy, s(30), true), s(1));
        learned.closed_at(s(5));
        assert_eq!(learned.to_string(), "closes at 5.0 s (seen once)");
        learned.closed_at(s(6));
        assert_eq!((learned.keep_alive(), learned.to_string()), (Some(s(5)), "closes at 5.0 s (seen 2 times)".into()));
        assert_eq!(learned.reused_below(&policy, s(30), false), s(4));
        assert_eq!(learned.reused_below(&policy, s(30), true), s(2));
        assert_eq!(learned.reused_below(&policy, s(3), false), s(3), "never above the pool's own bound");
        learned.told(s(2));
        assert_eq!(learned.to_string(), "closes at 2.0 s (as it says)");
        learned.told(s(60));
        assert_eq!(learned.keep_alive(), Some(s(5)));
    }

    #[test]
    fn the_margin_counts_where_it_is_a_small_part() {
        let policy = KeepAlivePolicy { safe_share: 0.99, ..KeepAlivePolicy::default() };
        let mut learned = Learned::default();
        learned.told(s(5));
        assert_eq!(learned.reused_below(&policy, s(30), false), Duration::from_millis(4500));
        learned.told(Duration::from_millis(100));
        assert_eq!(learned.reused_below(&policy, s(30), false), Duration::from_millis(99));
        learned.told(Duration::ZERO);
        assert_eq!(learned.reused_below(&policy, s(30), false), Duration::ZERO, "an origin that keeps nothing");
    }

    #[test]
    fn a_wrong_lesson_is_forgotten_slowly_and_a_right_one_is_not() {
        let mut learned = Learned::default();
        learned.closed_at(s(1));
        for _ in 0..7 {
            learned.alive_at(s(20));
        }
        learned.closed_at(s(9));
        assert_eq!(learned.keep_alive(), Some(s(1)), "a close in between starts the count anew");
        for _ in 0..8 {
            learned.alive_at(s(20));
        }
        assert_eq!(learned.keep_alive(), Some(Duration::from_millis(1125)));
        for _ in 0..8 * 100 {
            learned.alive_at(s(20));
        }
        assert_eq!(learned.keep_alive(), Some(s(20)), "never beyond what was survived");
        learned.alive_at(Duration::from_millis(500));
        assert_eq!(learned.keep_alive(), Some(s(20)), "to be alive below it says nothing");
    }
}
