//! Buckets of tokens, one for each kind of frame that is counted.

use sheave_lifecycle::time::Time;

use crate::h2_config::{FloodBounds, Rate};

/// A bucket, kept as the moment in which it will be full again (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// In nanoseconds since the worker began.
    full_at: u64,
    /// Between two tokens, in nanoseconds.
    interval: u64,
    /// How long it takes to fill, in nanoseconds.
    fills_in: u64,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        let interval = 1_000_000_000 / u64::from(rate.per_second.get()).min(1_000_000_000);
        Self { full_at: 0, interval, fills_in: interval.saturating_mul(rate.burst.get().into()) }
    }

    /// Takes a token; false when there is none.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let now = now.as_micros().saturating_mul(1000);
        let full_at = self.full_at.max(now).saturating_add(self.interval);
        let has_one = full_at - now <= self.fills_in;
        if has_one {
            self.full_at = full_at;
        }
        has_one
    }

    /// Puts tokens back in. It never holds more than it did at first.
    pub(super) fn earn(&mut self, tokens: u64) {
        self.full_at = self.full_at.saturating_sub(self.interval.saturating_mul(tokens));
    }
}

/// All buckets of one connection, named as in [`FloodBounds`].
#[derive(Debug)]
pub(super) struct Buckets {
    pub(super) resets: Bucket,
    pub(super) provoked_resets: Bucket,
    pub(super) refused_streams: Bucket,
    pub(super) settings: Bucket,
    pub(super) pings: Bucket,
    pub(super) priorities: Bucket,
    pub(super) empty_frames: Bucket,
    pub(super) window_updates: Bucket,
    pub(super) unknown_frames: Bucket,
}

impl Buckets {
    pub(super) fn new(bounds: &FloodBounds) -> Self {
        Self {
            resets: Bucket::new(bounds.resets),
            provoked_resets: Bucket::new(bounds.provoked_resets),
            refused_streams: Bucket::new(bounds.refused_streams),
            settings: Bucket::new(bounds.settings),
            pings: Bucket::new(bounds.pings),
            priorities: Bucket::new(bounds.priorities),
            empty_frames: Bucket::new(bounds.empty_frames),
            window_updates: Bucket::new(bounds.window_updates),
            unknown_frames: Bucket::new(bounds.unknown_frames),
        }
    }
}
