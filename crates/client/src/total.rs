//! How many connections there may be over all pools of a process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A cap over several pools, such as those of a process's workers. Clones are the same cap.
///
/// Counted when connections are opened and closed, not when they are parked and reused: requests on connections that
/// exist never touch it.
#[derive(Clone)]
pub struct Total(Arc<Inner>);

struct Inner {
    max: usize,
    used: AtomicUsize,
    /// Requests that wait because of this cap, in whichever pool.
    waiting: AtomicUsize,
    /// Told when there is room while somebody waits.
    freed: Notify,
}

impl Total {
    /// So many connections, parked and busy and being opened; at least one.
    pub fn at_most(max: usize) -> Self {
        let count = || AtomicUsize::new(0);
        Self(Arc::new(Inner { max: max.max(1), used: count(), waiting: count(), freed: Notify::new() }))
    }

    /// No cap but that of each address.
    pub fn unbounded() -> Self {
        Self::at_most(usize::MAX)
    }

    /// Connections that exist now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A place for a newcomer, who leaves as many free as are waited for.
    pub(crate) fn take(&self) -> bool {
        let waiting = self.0.waiting.load(Ordering::Acquire);
        self.take_below(self.0.max.saturating_sub(waiting))
    }

    /// A place for somebody who has waited.
    pub(crate) fn take_waited_for(&self) -> bool {
        self.take_below(self.0.max)
    }

    fn take_below(&self, max: usize) -> bool {
        let more = |used: usize| (used < max).then_some(used + 1);
        self.0.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn give_back(&self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
        self.tell_if_waited_for();
    }

    /// Whether somebody waits because of this cap.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) > 0
    }

    /// How many more wait because of this cap than there is room for.
    pub(crate) fn shortage(&self) -> usize {
        let room = self.0.max.saturating_sub(self.used());
        self.0.waiting.load(Ordering::Acquire).saturating_sub(room)
    }

    pub(crate) fn begin_waiting(&self) {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end_waiting(&self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.tell_if_waited_for();
    }

    fn tell_if_waited_for(&self) {
        if self.is_waited_for() {
            self.0.freed.notify_waiters();
        }
    }

    /// Ready when there may be room for somebody who waits.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

impl Default for Total {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl fmt::Debug for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used(), self.0.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_leave_room_for_those_who_wait() {
        let total = Total::at_most(2);
        assert!(total.take() && total.clone().take() && !total.take());
        total.begin_waiting();
        total.give_back();
        assert!(!total.take(), "the free place is waited for");
        total.begin_waiting();
        assert_eq!(total.shortage(), 1);
        total.end_waiting();
        assert_eq!(total.shortage(), 0);
        assert!(total.take_waited_for() && !total.take_waited_for());
        total.end_waiting();
        total.give_back();
        assert!(total.take());
        assert_eq!((total.used(), format!("{total:?}").as_str()), (2, "2 of 2"));
        assert!(Total::at_most(0).take(), "at least one");
    }
}
