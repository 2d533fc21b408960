//! Whether all workers still turn, for a service manager that wants to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a worker's beat stands at when it has ended: it is not missed.
const ENDED: u64 = u64::MAX;

/// The beats of a process's workers, one counter each. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Pulses(Arc<[AtomicU64]>);

impl Pulses {
    /// Of so many workers, who have not begun.
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| AtomicU64::new(0)).collect())
    }

    /// One worker's.
    pub(crate) fn of(&self, worker: usize) -> Pulse {
        Pulse { all: self.clone(), worker }
    }

    /// Whether every worker that has not ended has beaten since `seen` was brought up to date last.
    pub(crate) fn all_beat_since(&self, seen: &mut Vec<u64>) -> bool {
        seen.resize(self.0.len(), 0);
        let mut all = true;
        for (beat, seen) in self.0.iter().zip(seen) {
            let now = beat.load(Ordering::Relaxed);
            all &= now == ENDED || now != *seen;
            *seen = now;
        }
        all
    }
}

/// One worker's beat; dropped when the worker ends, however it ends.
#[derive(Debug)]
pub(crate) struct Pulse {
    all: Pulses,
    worker: usize,
}

impl Pulse {
    /// Beats for as long as the worker's runtime turns.
    pub(crate) async fn beat(self, period: Duration) {
        loop {
            self.once();
            tokio::time::sleep(period).await;
        }
    }

    fn once(&self) {
        self.all.0[self.worker].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.all.0[self.worker].store(ENDED, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stands_still_is_missed_and_one_that_ended_is_not() {
        let pulses = Pulses::new(2);
        let (one, other) = (pulses.of(0), pulses.of(1));
        let mut seen = Vec::new();
        assert!(!pulses.all_beat_since(&mut seen), "nobody has begun");
        one.once();
        assert!(!pulses.all_beat_since(&mut seen));
        one.once();
        other.once();
        assert!(pulses.all_beat_since(&mut seen));
        one.once();
        assert!(!pulses.all_beat_since(&mut seen), "the other one stands still");
        drop(other);
        one.once();
        assert!(pulses.all_beat_since(&mut seen));
    }
}
