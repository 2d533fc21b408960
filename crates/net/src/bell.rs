//! One timer of the runtime for all alarms of a thread, which wakes those that are due.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sheave_lifecycle::places::Places;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::per_runtime::PerRuntime;

/// No moment. The others are microseconds since a bell came to be.
const NEVER: u64 = u64::MAX;

thread_local! {
    static BELL: PerRuntime<Bell> = const { PerRuntime::new() };
}

/// Wakes tasks when their moment has come. A task has 24 bytes here; a timer of the runtime's own takes 96, and a lock that
/// is held for longer.
///
/// It is what the runtime's timer wakes, so that no task has to wait for that. Its alarms are of one runtime, whichever
/// thread of it they have moved to since they were set. It looks at all of them to find those that are due, and rests for
/// a microsecond for each before it looks again: that is how late it may be, 5 ms with 5,000 alarms.
#[derive(Debug)]
pub(crate) struct Bell(Mutex<State>);

#[derive(Debug)]
struct State {
    since: Instant,
    alarms: Places<Alarmed>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer is due, if it runs.
    rings_at: u64,
    rests_until: u64,
}

#[derive(Debug)]
struct Alarmed {
    due: u64,
    waker: Waker,
}

/// A task's place at a bell, left when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    bell: Arc<Bell>,
    number: u32,
}

impl Bell {
    fn new() -> Self {
        Self(Mutex::new(State {
            since: Instant::now(),
            alarms: Places::new(),
            timer: None,
            rings_at: NEVER,
            rests_until: 0,
        }))
    }

    /// This thread's bell, for the runtime that it is in.
    fn here() -> Arc<Self> {
        // Who comes when the thread is ending has one alone.
        PerRuntime::here(&BELL, Self::new).unwrap_or_else(|| Arc::new(Self::new()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Has a task woken when `due` has passed. Within a runtime.
    pub(crate) fn take(due: Instant, waker: Waker) -> Self {
        let bell = Bell::here();
        let mut state = bell.state();
        let due = state.moment(due);
        let number = state.alarms.insert(Alarmed { due, waker });
        let number = u32::try_from(number).expect("memory ends before four billion tasks");
        let woken = state.ring_by(due, &bell);
        drop(state);
        wake(woken);
        Self { bell, number }
    }

    /// Has the task, which may be another one, woken at another moment.
    pub(crate) fn change(&mut self, due: Instant, waker: &Waker) {
        let mut state = self.bell.state();
        let due = state.moment(due);
        let Some(alarmed) = state.alarms.get_mut(self.number as usize) else { return };
        alarmed.due = due;
        let is_another = !alarmed.waker.will_wake(waker);
        let former = is_another.then(|| std::mem::replace(&mut alarmed.waker, waker.clone()));
        let woken = state.ring_by(due, &self.bell);
        drop(state);
        // A waker may own a task, whose drop may come back here: not under the lock.
        drop(former);
        wake(woken);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.bell.state();
        let left = state.alarms.remove(self.number as usize);
        drop(state);
        // As above.
        drop(left);
    }
}

impl State {
    /// The first whole microsecond in which `instant` has passed.
    fn moment(&self, instant: Instant) -> u64 {
        let time = instant.saturating_duration_since(self.since);
        time.as_secs() * 1_000_000 + u64::from(time.subsec_nanos().div_ceil(1000))
    }

    /// Sees to it that nobody who is due at `due` is forgotten. Who is to be woken at once.
    fn ring_by(&mut self, due: u64, bell: &Arc<Bell>) -> Vec<Waker> {
        if self.rings_at <= due || self.wait(due, bell) { Vec::new() } else { self.ring(bell) }
    }

    /// Who is to be woken now; the timer waits for the next.
    fn ring(&mut self, bell: &Arc<Bell>) -> Vec<Waker> {
        let mut woken = Vec::new();
        loop {
            let now = self.since.elapsed();
            let now = now.as_secs() * 1_000_000 + u64::from(now.subsec_micros());
            let mut next = NEVER;
            for alarmed in self.alarms.iter_mut() {
                if alarmed.due <= now {
                    alarmed.due = NEVER;
                    woken.push(alarmed.waker.clone());
                }
                next = next.min(alarmed.due);
            }
            self.rests_until = now + self.alarms.len() as u64;
            if next == NEVER {
                self.stop();
                return woken;
            }
            if self.wait(next, bell) {
                return woken;
            }
        }
    }

    /// Starts a timer, if `due` has not passed: true, if it runs.
    fn wait(&mut self, due: u64, bell: &Arc<Bell>) -> bool {
        let at = due.max(self.rests_until);
        let waker = Waker::from(bell.clone());
        let start = || {
            // A new one, since the one before might wake the bell in this moment, whose lock is held.
            let mut timer = Box::pin(sleep_until(self.since + Duration::from_micros(at)));
            let polled = pin!(unconstrained(timer.as_mut())).poll(&mut Context::from_waker(&waker));
            (timer, polled)
        };
        // The timers of a runtime panic once it is shut down: its tasks are gone, and alarms that are left are set anew
        // where they are waited for next.
        match catch_unwind(AssertUnwindSafe(start)) {
            Ok((_, Poll::Ready(()))) => return false,
            Ok((timer, Poll::Pending)) => (self.timer, self.rings_at) = (Some(timer), at),
            Err(_) => self.stop(),
        }
        true
    }

    fn stop(&mut self) {
        (self.timer, self.rings_at) = (None, NEVER);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        let now = state.since.elapsed();
        let is_early = now < Duration::from_micros(state.rings_at);
        let woken = if is_early {
            // As no timer is, but those of a runtime that is shut down.
            state.stop();
            Vec::new()
        } else {
            state.ring(&self)
        };
        drop(state);
        wake(woken);
    }
}

fn wake(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}
