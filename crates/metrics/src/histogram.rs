//! Histograms with fixed exponential buckets, whose index is a shift and a count of leading zeros.

use std::time::Duration;

use crate::cell::{Cell, Turn};

/// From 64 µs to 67 s in steps of half an octave: 64, 96, 128, 192, 256 … µs.
pub(crate) type LatencyMicros = Histogram<6, 1, 41>;
/// From 1 ms to 19 h in octaves.
pub(crate) type AgeMicros = Histogram<10, 0, 27>;
/// From 1 to 65,536 in octaves.
pub(crate) type Amounts = Histogram<0, 0, 17>;

/// Counts values in `N` buckets, and those beyond the last bound apart.
///
/// The first bucket ends with 2^`FROM`; each octave above it is cut into 2^`CUTS` buckets of the same width. Bounds belong to
/// the bucket that they end, as Prometheus' `le` has it.
#[derive(Debug)]
pub(crate) struct Histogram<const FROM: u32, const CUTS: u32, const N: usize> {
    buckets: [Cell; N],
    beyond: Cell,
    sum: Cell,
}

impl<const FROM: u32, const CUTS: u32, const N: usize> Histogram<FROM, CUTS, N> {
    pub(crate) const fn new() -> Self {
        const { assert!(CUTS <= FROM, "a bucket is at least one wide") };
        const { assert!((N - 1).is_multiple_of(1 << CUTS), "the last octave is whole") };
        Self { buckets: [const { Cell::new() }; N], beyond: Cell::new(), sum: Cell::new() }
    }

    /// Counts one value.
    pub(crate) fn record(&self, turn: &Turn<'_>, value: u64) {
        self.buckets.get(Self::index(value)).unwrap_or(&self.beyond).add(turn, 1);
        self.sum.add(turn, value);
    }

    /// The bucket of a value; `N` or more for one beyond the last bound.
    fn index(value: u64) -> usize {
        if value <= 1 << FROM {
            return 0;
        }
        // One less, so that a bound falls into the bucket that it ends.
        let value = value - 1;
        let octave = value.ilog2();
        let cut = (value >> (octave - CUTS)) & ((1 << CUTS) - 1);
        1 + ((octave - FROM) << CUTS) as usize + usize::try_from(cut).unwrap_or(0)
    }

    /// The largest value of a bucket.
    pub(crate) fn bound(index: usize) -> u64 {
        let Some(above) = index.checked_sub(1) else { return 1 << FROM };
        let octave = FROM as usize + (above >> CUTS);
        let cut = (above & ((1 << CUTS) - 1)) as u64;
        (1 << octave) + ((cut + 1) << (octave - CUTS as usize))
    }

    /// What several of them have counted together, in a unit of which a value is the `per_unit`th part.
    // Bounds are powers of two and halves of them; of a sum beyond 2^53 the last digits do not matter.
    #[expect(clippy::cast_precision_loss)]
    pub(crate) fn total<'a>(all: impl IntoIterator<Item = &'a Self>, per_unit: f64) -> Total {
        let mut counts = vec![0; N + 1];
        let mut sum: u64 = 0;
        for one in all {
            for (count, cell) in counts.iter_mut().zip(one.buckets.iter().chain([&one.beyond])) {
                *count += cell.read();
            }
            sum = sum.wrapping_add(one.sum.read());
        }
        let bounds = (0..N).map(|index| Self::bound(index) as f64 / per_unit).chain([f64::INFINITY]);
        Total { count: counts.iter().sum(), buckets: bounds.zip(counts).collect(), sum: sum as f64 / per_unit }
    }
}

/// What histograms of one kind have counted, in the unit in which it is shown.
#[derive(Debug)]
pub(crate) struct Total {
    /// Upper bounds, and how many values lie between each and the one before; the last is infinite.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// How many values.
    pub(crate) count: u64,
    /// All values together.
    pub(crate) sum: f64,
}

/// Whole microseconds, rounded up so that no duration falls into a bucket whose bound it exceeds; saturating.
pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_nanos().div_ceil(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every bound ends its own bucket, and the next value begins the next one.
    fn check_bounds<const FROM: u32, const CUTS: u32, const N: usize>() {
        let _ = Histogram::<FROM, CUTS, N>::new();
        for index in 0..N {
            let bound = Histogram::<FROM, CUTS, N>::bound(index);
            assert_eq!(Histogram::<FROM, CUTS, N>::index(bound), index, "bound {bound}");
            assert_eq!(Histogram::<FROM, CUTS, N>::index(bound + 1), index + 1, "after bound {bound}");
        }
    }

    #[test]
    fn bounds_end_their_buckets() {
        check_bounds::<6, 1, 41>();
        check_bounds::<10, 0, 27>();
        check_bounds::<0, 0, 17>();
        check_bounds::<8, 3, 81>();
    }

    #[test]
    fn bounds_are_those_that_were_promised() {
        let first: Vec<_> = (0..6).map(LatencyMicros::bound).collect();
        assert_eq!(first, [64, 96, 128, 192, 256, 384]);
        assert_eq!(LatencyMicros::bound(40), 1 << 26);
        assert_eq!((AgeMicros::bound(0), AgeMicros::bound(26)), (1 << 10, 1 << 36));
        assert_eq!((0..5).map(Amounts::bound).collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
        assert_eq!(Amounts::bound(16), 65_536);
    }

    #[test]
    fn the_least_and_the_greatest_value_have_a_place() {
        assert_eq!(LatencyMicros::index(0), 0);
        assert!(LatencyMicros::index(u64::MAX) >= 41);
        assert!(Amounts::index(u64::MAX) >= 17);
    }

    #[test]
    fn durations_are_rounded_up_and_saturate() {
        assert_eq!(micros(Duration::ZERO), 0);
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::from_nanos(64_000)), 64);
        assert_eq!(micros(Duration::from_nanos(64_001)), 65);
        assert_eq!(micros(Duration::new(3, 999_999_001)), 4_000_000);
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }
}
