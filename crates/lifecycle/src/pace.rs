//! So many a second and no more: a bucket of tokens, kept as one moment.

use std::num::NonZeroU32;

use crate::time::Time;

/// So many a second in the long run, and one second's worth of them at once.
///
/// The bucket is kept as the moment in which it will be full again (the generic cell rate algorithm), so that its state is
/// one number, which many threads can share without a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Between two tokens, in nanoseconds.
    interval: u64,
}

/// When a bucket will be full again, in nanoseconds since the worker began. Begins full: zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FullAt(pub u64);

/// How long a bucket takes to fill, in nanoseconds: it holds one second's worth.
const FILLS_IN: u64 = 1_000_000_000;

impl Pace {
    /// So many a second.
    pub const fn per_second(count: NonZeroU32) -> Self {
        Self { interval: FILLS_IN / count.get() as u64 }
    }

    /// Takes a token out of the bucket: what it is then.
    ///
    /// # Errors
    /// The moment from which on there will be one.
    pub fn take(&self, bucket: FullAt, now: Time) -> Result<FullAt, Time> {
        let now = now.as_micros().saturating_mul(1000);
        let full_at = bucket.0.max(now).saturating_add(self.interval);
        // Full in a second's time means empty now.
        match full_at.checked_sub(now.saturating_add(FILLS_IN)) {
            None | Some(0) => Ok(FullAt(full_at)),
            // Rounded up: at that moment there is one for sure.
            Some(early) => Err(Time::from_micros((now.saturating_add(early)).div_ceil(1000))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    /// How many of `tries` at each of these moments get a token.
    fn taken(per_second: u32, moments: &[(u64, u32)]) -> Vec<u32> {
        let pace = Pace::per_second(NonZeroU32::new(per_second).unwrap());
        let mut bucket = FullAt::default();
        let mut got = Vec::new();
        for (millis, tries) in moments {
            let mut count = 0;
            for _ in 0..*tries {
                if let Ok(after) = pace.take(bucket, ms(*millis)) {
                    bucket = after;
                    count += 1;
                }
            }
            got.push(count);
        }
        got
    }

    #[test]
    fn a_second_s_worth_at_once_then_a_steady_flow() {
        for (per_second, moments, expected) in [
            (10, vec![(0, 20), (99, 5), (100, 5), (1000, 20)], vec![10, 0, 1, 9]),
            (1, vec![(0, 2), (999, 1), (1000, 2)], vec![1, 0, 1]),
            // What is not used is not saved beyond the bucket.
            (10, vec![(60_000, 50)], vec![10]),
            (1_000_000, vec![(0, 1_000_001), (1, 2_000)], vec![1_000_000, 1000]),
        ] {
            assert_eq!(taken(per_second, &moments), expected, "{per_second} a second");
        }
    }

    #[test]
    fn says_when_there_will_be_one() {
        for per_second in [1, 3, 7, 1000, 999_999] {
            let pace = Pace::per_second(NonZeroU32::new(per_second).unwrap());
            let mut bucket = FullAt::default();
            let mut now = ms(5);
            for _ in 0..5000 {
                bucket = match pace.take(bucket, now) {
                    Ok(after) => after,
                    Err(at) => {
                        assert!(at > now);
                        now = at;
                        pace.take(bucket, now).expect("was promised")
                    }
                };
            }
        }
        let pace = Pace::per_second(NonZeroU32::MAX);
        assert!(pace.take(FullAt(u64::MAX), Time::from_micros(u64::MAX)).is_ok(), "saturates");
    }
}
