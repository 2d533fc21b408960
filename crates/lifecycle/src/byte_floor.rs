//! A floor under the speed of a body: who sends more slowly than this, on average, is given up.

use std::num::NonZeroU64;
use std::time::Duration;

/// The slowest that a body may come, on average over a window.
///
/// A sender begins with an allowance of time, as long as the window. Being waited for spends it; each byte earns back its
/// share of a second, never beyond the window. When it is spent, the sender is too slow. So
///
/// - a body that comes at the floor or faster is never given up, however long it takes, as long as its pauses are shorter
///   than the window;
/// - one that drips is given up after the window and the little that its bytes have earned;
/// - time in which nobody waits for it, because what it sent cannot be passed on, costs it nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteFloor {
    /// Bytes a second.
    pub per_second: NonZeroU64,
    /// How long a sender may be slower than that, all in all, before it must have caught up.
    pub window: Duration,
}

/// What is left of a sender's allowance: microseconds, and one, so that `Option<Allowance>` is eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Allowance(NonZeroU64);

impl ByteFloor {
    /// The allowance with which a body begins.
    pub fn begin(&self) -> Allowance {
        Allowance::of(micros(self.window))
    }
}

impl Allowance {
    const fn of(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    const fn micros(self) -> u64 {
        self.0.get() - 1
    }

    /// What is left after the sender was waited for so long.
    #[must_use]
    pub fn spend(self, waited: Duration) -> Self {
        Self::of(self.micros().saturating_sub(micros(waited)))
    }

    /// What it has after so many bytes came.
    #[must_use]
    pub fn earn(self, bytes: usize, floor: &ByteFloor) -> Self {
        let earned = (bytes as u64).saturating_mul(1_000_000) / floor.per_second;
        Self::of(self.micros().saturating_add(earned).min(micros(floor.window)))
    }

    /// How long the sender may still be waited for if nothing comes.
    pub const fn left(self) -> Duration {
        Duration::from_micros(self.micros())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 bytes a second, over ten seconds.
    const FLOOR: ByteFloor = ByteFloor { per_second: NonZeroU64::new(100).unwrap(), window: Duration::from_secs(10) };

    /// The step in which a sender is given up that sends `bytes` after each `pause`, if within a million steps.
    fn given_up(bytes: usize, pause_ms: u64) -> Option<u32> {
        let pause = Duration::from_millis(pause_ms);
        let mut allowance = FLOOR.begin();
        (1..1_000_000).find(|_| {
            if allowance.left() <= pause {
                return true;
            }
            allowance = allowance.spend(pause).earn(bytes, &FLOOR);
            false
        })
    }

    #[test]
    fn who_is_given_up_and_when() {
        for (bytes, pause_ms, step) in [
            // At the floor and above it: never, in small steps as in large ones.
            (100, 1000, None),
            (1, 10, None),
            (900, 9000, None),
            (65_536, 9999, None),
            // A pause as long as the window is a body of its own: no speed makes up for it.
            (65_536, 10_000, Some(1)),
            // Just below it: the little that lacks adds up.
            (99, 1000, Some(901)),
            (50, 1000, Some(19)),
            // Drips: after the window, and what the bytes earned.
            (1, 1000, Some(11)),
            (1, 9000, Some(2)),
            // Nothing at all.
            (0, 1000, Some(10)),
            (0, 4000, Some(3)),
        ] {
            assert_eq!(given_up(bytes, pause_ms), step, "{bytes} bytes every {pause_ms} ms");
        }
    }

    #[test]
    fn what_is_earned_is_capped_and_nothing_overflows() {
        let rich = FLOOR.begin().earn(usize::MAX, &FLOOR);
        assert_eq!(rich, FLOOR.begin(), "a fast start does not pay for a stop later on");
        assert_eq!(rich.spend(Duration::MAX).left(), Duration::ZERO);
        let endless = ByteFloor { window: Duration::MAX, ..FLOOR };
        assert_eq!(endless.begin().earn(usize::MAX, &endless), endless.begin());
    }
}
