//! Numbers that one thread at a time changes, and that any thread reads at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::live::LiveList;

/// The right to change the cells of a shard, and the list of its live connections.
///
/// Whoever holds it is the only writer, so that a cell is changed by a load and a store instead of a locked
/// read-modify-write: 0.3 ns instead of 4.4 ns each, and an exchange changes a dozen of them. Readers do without it, except for
/// what has to be read together: the list, and the numbers that must agree with it.
pub(crate) struct Turn<'a> {
    pub(crate) live: MutexGuard<'a, LiveList>,
}

impl<'a> Turn<'a> {
    /// Waits for the other writers, if there are any: a shard per worker has one, for which this costs 9 ns.
    pub(crate) fn take(live: &'a Mutex<LiveList>) -> Self {
        // A panic in between left counts that may be off by one, which is no reason to stop counting.
        Self { live: live.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// One number. Wraps around, as counters of 64 bits never do in practice.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `more`.
    pub(crate) fn add(&self, turn: &Turn<'_>, more: u64) {
        self.set(turn, self.read().wrapping_add(more));
    }

    /// Replaces it. The turn shows that nobody else does so between a caller's load and this store; it orders the writes
    /// of successive writers, and a reader needs no order between one cell and another: hence relaxed.
    pub(crate) fn set(&self, _: &Turn<'_>, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it was a moment ago.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
