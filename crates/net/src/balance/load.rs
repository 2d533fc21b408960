//! How many connections each worker has, and who gets the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of live connections of each worker, over all listening addresses. Clones are the same.
#[derive(Clone, Debug)]
pub struct Loads(Arc<[Arc<Load>]>);

/// One worker's number, on a cache line of its own: it changes with every connection.
#[derive(Debug)]
#[repr(align(128))]
struct Load {
    worker: usize,
    count: AtomicUsize,
}

impl Loads {
    /// No connections, for so many workers; at least one.
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|worker| Arc::new(Load { worker, count: AtomicUsize::new(0) })).collect())
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        self.0.len()
    }

    /// The number of live connections of all workers.
    pub fn total(&self) -> usize {
        self.0.iter().map(|load| load.count.load(Ordering::Relaxed)).sum()
    }

    /// Chooses a worker for a connection that `accepting` has accepted, and counts it there.
    ///
    /// Several workers may do so at once, each by numbers that the other is about to change: then the difference between
    /// workers is a few connections for a moment.
    pub(super) fn assign(&self, accepting: usize) -> Assigned {
        let to = least(self.0.iter().map(|load| load.count.load(Ordering::Relaxed)), accepting);
        self.assign_to(to)
    }

    /// Counts a connection at a worker.
    pub(super) fn assign_to(&self, worker: usize) -> Assigned {
        let load = &self.0[worker];
        load.count.fetch_add(1, Ordering::Relaxed);
        Assigned(load.clone())
    }
}

/// The worker with the least load; `preferred`, if it is among them.
fn least(loads: impl Iterator<Item = usize>, preferred: usize) -> usize {
    let least = loads.enumerate().min_by_key(|(worker, load)| (*load, *worker != preferred));
    least.map_or(preferred, |(worker, _)| worker)
}

/// A connection that is counted at a worker, until this is dropped.
#[derive(Debug)]
pub(super) struct Assigned(Arc<Load>);

impl Assigned {
    /// The worker.
    pub(super) fn worker(&self) -> usize {
        self.0.worker
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_gets_it_and_who_accepted_keeps_it_at_a_tie() {
        for (loads, preferred, chosen) in [
            (vec![0], 0, 0),
            (vec![0, 0, 0], 2, 2),
            (vec![1, 0, 0], 0, 1),
            (vec![1, 0, 0], 2, 2),
            (vec![5, 4, 3], 0, 2),
            (vec![3, 4, 3], 1, 0),
        ] {
            assert_eq!(least(loads.iter().copied(), preferred), chosen, "{loads:?} at {preferred}");
        }
    }

    #[test]
    fn one_acceptor_fills_all_workers_evenly_and_ends_make_room() {
        let loads = Loads::new(4);
        let mut assigned: Vec<Assigned> = (0..40).map(|_| loads.assign(3)).collect();
        let count = |worker| assigned.iter().filter(|assigned| assigned.worker() == worker).count();
        assert_eq!([0, 1, 2, 3].map(count), [10; 4]);
        assigned.retain(|assigned| assigned.worker() != 1);
        assert_eq!(loads.assign(3).worker(), 1);
        drop(assigned);
        assert_eq!(loads.assign(3).worker(), 3, "all are back at nothing");
    }
}
