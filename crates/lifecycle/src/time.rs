//! A point in time, counted from the moment in which the worker began; an argument, never read here.

use std::num::NonZeroU64;
use std::time::Duration;

/// Microseconds since the worker began, plus one.
///
/// The offset makes zero free, so that `Option<Time>` is eight bytes. Lasts for 580,000 years; additions saturate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(NonZeroU64);

impl Time {
    /// The moment in which the worker began.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// The moment `micros` microseconds after the worker began.
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// Microseconds since the worker began.
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// The moment `after` later, saturating.
    pub fn after(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long `earlier` lies back; zero when it does not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_time_is_eight_bytes() {
        assert_eq!(size_of::<Option<Time>>(), 8);
    }

    #[test]
    fn adds_and_subtracts_with_saturation() {
        let one = Time::ZERO.after(Duration::from_secs(1));
        assert_eq!(one.as_micros(), 1_000_000);
        assert_eq!(one.since(Time::ZERO), Duration::from_secs(1));
        assert_eq!(Time::ZERO.since(one), Duration::ZERO);
        assert_eq!(
            one.after(Duration::MAX).after(Duration::MAX).since(one),
            Duration::from_micros(u64::MAX - 1_000_001)
        );
    }
}
