//! The drain as its connections hear of it: one flag to read, a wake-up for those that sleep, and a count of their fates.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use sheave_lifecycle::drain::{DrainClock, DrainPlan, DrainReport, Fate};
use sheave_lifecycle::places::Places;
use sheave_lifecycle::time::Time;

use crate::pressure::Pressure;

/// How urgent a drain is. Only ever rises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Urgency {
    /// There is no drain.
    None = 0,
    /// It has begun, and goes by its plan.
    Planned = 1,
    /// Whatever is left is to be reset now.
    Forced = 2,
}

/// Starts a drain, and tells all connections. Cloned handles are the same drain.
#[derive(Clone, Default, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Default, Debug)]
struct Shared {
    urgency: AtomicU8,
    clock: OnceLock<DrainClock>,
    report: Mutex<DrainReport>,
    pressure: Pressure,
    /// The wakers of those who wait.
    sleepers: Mutex<Places<Waker>>,
}

impl Drain {
    /// Begins the drain. A second call changes nothing.
    pub fn start(&self, plan: DrainPlan, now: Time) {
        self.0.clock.get_or_init(|| DrainClock::start(plan, now));
        self.raise(Urgency::Planned);
    }

    /// Ends the drain's patience: what is left is reset. Begins it first where it has not begun.
    pub fn force(&self, now: Time) {
        self.0.clock.get_or_init(|| DrainClock::start(DrainPlan::default(), now));
        self.raise(Urgency::Forced);
    }

    /// How urgent it is. One relaxed load: cheap enough for every poll.
    pub fn urgency(&self) -> Urgency {
        match self.0.urgency.load(Ordering::Acquire) {
            0 => Urgency::None,
            1 => Urgency::Planned,
            _ => Urgency::Forced,
        }
    }

    /// Whether it has begun.
    pub fn is_draining(&self) -> bool {
        self.urgency() != Urgency::None
    }

    /// The moments of the drain, once it has begun.
    pub fn clock(&self) -> Option<DrainClock> {
        self.0.clock.get().copied()
    }

    /// The moment in which what is left is reset, once the drain has begun: now, if it is forced.
    pub fn forcing_at(&self) -> Option<Time> {
        match self.urgency() {
            Urgency::None => None,
            Urgency::Planned => self.clock().map(|clock| clock.forcing_at()),
            Urgency::Forced => Some(Time::ZERO),
        }
    }

    /// The moment in which tunnels that are left are reset, once the drain has begun: now, if it is forced.
    pub fn tunnels_forced_at(&self) -> Option<Time> {
        match self.urgency() {
            Urgency::None => None,
            Urgency::Planned => self.clock().map(|clock| clock.tunnels_forced_at()),
            Urgency::Forced => Some(Time::ZERO),
        }
    }

    /// Notes what became of one connection. For those that end once the drain has begun.
    pub fn count(&self, fate: Fate) {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner).count(fate);
    }

    /// Notes exchanges that were cut off by the end of the grace beyond those that [`Self::count`] tells of: a connection can
    /// carry several.
    pub fn count_lost(&self, exchanges: u64) {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner).lost += exchanges;
    }

    /// What has become of connections so far.
    pub fn report(&self) -> DrainReport {
        *self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the same connections do for others who wait for a place. It is no drain, but speaks to whom a drain speaks.
    pub fn pressure(&self) -> &Pressure {
        &self.0.pressure
    }

    /// Wakes everybody who watches, so that they look again.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let sleepers = self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
            sleepers.iter().cloned().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A watch for one task.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch { drain: self.clone(), seen: Urgency::None, slot: None, wakes: 0 }
    }

    /// Waits until the drain has begun. Cancel safe.
    pub async fn started(&self) {
        let mut watch = self.watch();
        std::future::poll_fn(|cx| watch.poll_raised(cx)).await;
    }

    /// Waits until the drain is forced. Cancel safe.
    pub async fn forced(&self) {
        let mut watch = self.watch();
        std::future::poll_fn(|cx| {
            while watch.poll_raised(cx).is_ready() {
                if watch.seen == Urgency::Forced {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    fn raise(&self, to: Urgency) {
        if self.0.urgency.fetch_max(to as u8, Ordering::AcqRel) >= to as u8 {
            return;
        }
        self.wake_all();
    }
}

/// Wakes one task when the drain begins, and when it is forced. Registers once for the task's life, not once per wait.
#[derive(Debug)]
pub struct DrainWatch {
    drain: Drain,
    seen: Urgency,
    /// One more than its index: every connection has a watch.
    slot: Option<NonZeroU32>,
    /// The address of what its waker wakes. That is alive as long as the waker is, so nothing else has it.
    wakes: usize,
}

impl DrainWatch {
    /// The drain that is watched.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Ready each time the urgency has risen since this was ready last.
    pub fn poll_raised(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx);
        let urgency = self.drain.urgency();
        if urgency > self.seen {
            self.seen = urgency;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Makes sure that the task is woken when the urgency rises.
    #[inline]
    pub fn register(&mut self, cx: &mut Context<'_>) {
        if self.wakes != cx.waker().data().addr() {
            self.register_anew(cx.waker().clone());
        }
    }

    #[cold]
    fn register_anew(&mut self, waker: Waker) {
        self.wakes = waker.data().addr();
        let mut sleepers = self.drain.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        let former = match self.slot.and_then(|slot| sleepers.get_mut(index(slot))) {
            Some(place) => Some(std::mem::replace(place, waker)),
            None => {
                // There are as many as there are tasks at once, of which nobody has four billion.
                self.slot = u32::try_from(sleepers.insert(waker) + 1).ok().and_then(NonZeroU32::new);
                None
            }
        };
        drop(sleepers);
        // A waker may own a task, whose drop may come back here: not under the lock.
        drop(former);
    }
}

/// The place that a slot stands for.
const fn index(slot: NonZeroU32) -> usize {
    slot.get() as usize - 1
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut sleepers = self.drain.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = sleepers.remove(index(slot));
        drop(sleepers);
        // As above.
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn wakes_at_the_beginning_and_when_forced() {
        let drain = Drain::default();
        let other = drain.clone();
        let task = tokio::spawn(async move {
            let mut watch = other.watch();
            poll_fn(|cx| watch.poll_raised(cx)).await;
            let first = watch.drain().urgency();
            poll_fn(|cx| watch.poll_raised(cx)).await;
            (first, watch.drain().urgency())
        });
        tokio::task::yield_now().await;
        drain.start(DrainPlan::default(), Time::ZERO);
        drain.start(DrainPlan::default(), Time::from_micros(7));
        tokio::task::yield_now().await;
        drain.force(Time::ZERO);
        assert_eq!(task.await.expect("does not panic"), (Urgency::Planned, Urgency::Forced));
        assert_eq!(drain.clock(), Some(DrainClock::start(DrainPlan::default(), Time::ZERO)));
        assert!(drain.0.sleepers.lock().expect("not poisoned").is_empty(), "the slot is given back");
    }

    #[tokio::test]
    async fn who_comes_late_is_told_at_once() {
        let drain = Drain::default();
        drain.force(Time::ZERO);
        drain.started().await;
        drain.forced().await;
    }
}
