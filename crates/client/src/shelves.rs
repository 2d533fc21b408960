//! The shelves of all addresses behind one lock: what is parked, how much there is of each, and what is known of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::{Closes, Learned, Reuse, is_worth_parking};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use sheave_net::dial_error::{AttemptEnd, DialError, FailedAttempt};
use sheave_net::leg::LegContext;
use sheave_net::socket::Socket;
use sheave_proto::keep_alive::KeepAlive;
use tokio::sync::Notify;

use crate::by_address::ByAddress;
use crate::config::ClientConfig;
use crate::place::Place;
use crate::shelf::{ClientLeg, Parked, Shelf};
use crate::total::Total;

/// How long what was learned of an address outlives its last use.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Of how many addresses more than those in use something is remembered.
const MAX_REMEMBERED: usize = 4096;

/// What calls come back to.
pub(crate) struct Shelves<S: Socket> {
    state: Mutex<State<S>>,
    pub(crate) config: ClientConfig,
    pub(crate) context: Arc<LegContext>,
    /// Younger ones have not lived for as long as one may, whatever chance decided.
    old_from: Duration,
    /// Told when there is something to sweep, so that the sweep sleeps while there is nothing.
    pub(crate) wake: Notify,
}

/// What the lock guards.
pub(crate) struct State<S: Socket> {
    pub(crate) shelves: ByAddress<Shelf<S>>,
    /// Requests that wait.
    pub(crate) queued: usize,
    pub(crate) next_number: u64,
    pub(crate) is_asleep: bool,
}

impl<S: Socket> Shelves<S> {
    pub(crate) fn new(config: ClientConfig, context: Arc<LegContext>) -> Self {
        let state = State { shelves: ByAddress::default(), queued: 0, next_number: 0, is_asleep: false };
        let old_from = config.connection.max_age.map_or(Duration::MAX, |max_age| max_age / 10 * 9);
        Self { state: Mutex::new(state), config, context, old_from, wake: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<S>> {
        // Whoever panicked under the lock left counts that may be off by one, which is no reason to serve nobody.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn total(&self) -> &Total {
        &self.config.total
    }

    /// Whether a connection has lived for as long as one may.
    pub(crate) fn is_old(&self, leg: &ClientLeg<S>, now: Time) -> bool {
        // The exact moment differs from one to the next; most are far from all of them.
        now.since(leg.opened()) >= self.old_from
            && self.config.connection.retires_at(leg.opened()).is_some_and(|at| at <= now)
    }

    pub(crate) fn now(&self) -> Time {
        self.context.clock.now()
    }

    /// The youngest parked connection to `address` that is young enough, unless somebody waits for it.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: SocketAddr,
        reuse: Reuse,
        now: Time,
    ) -> Option<(Parked<S>, Place<S>)> {
        let mut state = self.lock();
        let shelf = state.shelves.get_mut(&address)?;
        // On a runtime of several threads it may have been put there for them in this moment.
        if !shelf.waiters.is_empty() {
            return None;
        }
        let parked = shelf.take_youngest(reuse, now)?;
        drop(state);
        Some((parked, Place::counted(address, self.clone())))
    }

    /// Keeps an idle connection whose place is counted, gives it to whoever waits, or closes it.
    pub(crate) fn park(
        self: &Arc<Self>,
        address: SocketAddr,
        mut leg: ClientLeg<S>,
        told: KeepAlive,
        left: Option<u64>,
        now: Time,
    ) {
        leg.release_buffers();
        leg.tell_moved();
        let id = leg.id();
        let is_old = self.is_old(&leg, now);
        let mut state = self.lock();
        let State { shelves, queued, is_asleep, .. } = &mut *state;
        let is_waited_for = *queued > 0;
        let Some(shelf) = shelves.get_mut(&address) else {
            drop(state);
            return end(leg, CloseReason::Bug("parked-without-place"));
        };
        shelf.used = now;
        if let Some(timeout) = told.timeout
            && shelf.learned().as_told() != Some(timeout)
        {
            shelf.learn(&self.config, |learned| learned.told(timeout));
        }
        let reason = if is_old {
            CloseReason::MaxAge
        } else if shelf.is_gone || !is_worth_parking(left) || shelf.reused_below(Reuse::Usual).is_zero() {
            CloseReason::Retired
        } else if shelf.waiters.is_empty()
            && (shelf.parked.len() >= self.config.max_idle || self.config.total.is_waited_for())
        {
            CloseReason::Evicted
        } else {
            shelf.parked.push_back(Parked { leg, since: now, alive_at: now, left });
            let wakes = std::mem::take(is_asleep);
            drop(state);
            self.context.observer.parked(id);
            if wakes {
                self.wake.notify_one();
            }
            if is_waited_for {
                self.serve();
            }
            return;
        };
        drop(state);
        end(leg, reason);
        self.release(address, false);
    }

    /// A connection to `address` is no more, or never came to be: its place is the next one's.
    pub(crate) fn release(self: &Arc<Self>, address: SocketAddr, was_trial: bool) {
        let mut state = self.lock();
        if let Some(shelf) = state.shelves.get_mut(&address) {
            shelf.live = shelf.live.saturating_sub(1);
            if was_trial {
                shelf.backoff.is_let_go();
            }
        }
        let is_waited_for = state.queued > 0;
        drop(state);
        self.config.total.give_back();
        if is_waited_for {
            self.serve();
        }
    }

    /// Attempts that began at `began` have failed. What this machine ran out of is not the address's fault.
    pub(crate) fn note_failures(&self, failed: &[FailedAttempt], began: Time, now: Time) {
        let connect_timeout = self.config.dial.connect_timeout;
        for attempt in failed {
            let is_its_fault = match attempt.end {
                AttemptEnd::Failed(fault) => !fault.errno.is_exhaustion(),
                AttemptEnd::TimedOut => true,
                AttemptEnd::NotTried => false,
            };
            let mut state = self.lock();
            if let Some(shelf) = state.shelves.get_mut(&attempt.address).filter(|_| is_its_fault) {
                shelf.backoff.failed(began, now, fastrand::f64());
                shelf.failure = Some(DialError { attempts: vec![*attempt], connect_timeout });
            }
        }
    }

    /// An attempt brought a connection.
    pub(crate) fn note_connected(&self, address: SocketAddr) {
        if let Some(shelf) = self.lock().shelves.get_mut(&address) {
            shelf.backoff.connected();
            shelf.failure = None;
        }
    }

    /// The origin closed parked connections.
    pub(crate) fn note_closes(&self, address: SocketAddr, closes: &Closes) {
        let Some((alive, gone)) = closes.lesson() else { return };
        if let Some(shelf) = self.lock().shelves.get_mut(&address) {
            shelf.learn(&self.config, |learned: &mut Learned| learned.closed_between(alive, gone));
        }
    }

    /// Waits until there is something to sweep.
    pub(crate) async fn until_needed(&self, is_prewarming: bool) {
        {
            let mut state = self.lock();
            let is_needed = state.queued > 0 || state.shelves.values().any(|shelf| !shelf.parked.is_empty());
            if is_needed || is_prewarming {
                return;
            }
            state.is_asleep = true;
        }
        self.wake.notified().await;
    }

    /// Takes all parked connections off the shelves.
    pub(crate) fn take_all(&self) -> Vec<Parked<S>> {
        let mut state = self.lock();
        let mut all = Vec::new();
        for shelf in state.shelves.values_mut() {
            shelf.live = shelf.live.saturating_sub(shelf.parked.len());
            all.extend(shelf.parked.drain(..));
        }
        all
    }
}

impl<S: Socket> State<S> {
    /// The shelf of an address. A new one pushes out what is known of the address that was unused for longest, where
    /// there are too many.
    pub(crate) fn shelf(&mut self, address: SocketAddr, config: &ClientConfig, now: Time) -> &mut Shelf<S> {
        if self.shelves.len() >= MAX_REMEMBERED && !self.shelves.contains_key(&address) {
            let bare = self.shelves.iter().filter(|(_, shelf)| shelf.is_bare());
            if let Some(oldest) = bare.min_by_key(|(_, shelf)| shelf.used).map(|(address, _)| *address) {
                self.shelves.remove(&oldest);
            }
        }
        self.shelves.entry(address).or_insert_with(|| Shelf::new(config, now))
    }

    /// Forgets addresses that are gone, or were not used for long.
    pub(crate) fn forget(&mut self, now: Time) {
        let is_kept = |shelf: &Shelf<S>| !shelf.is_gone && now.since(shelf.used) < REMEMBERED_FOR;
        self.shelves.retain(|_, shelf| !shelf.is_bare() || is_kept(shelf));
    }

    /// Takes the place of a parked connection for one to `address`: of the oldest on its own shelf where that is full, of
    /// the oldest on any where the process is.
    pub(crate) fn make_room(&mut self, address: SocketAddr, is_process_full: bool) -> Option<Parked<S>> {
        let from = if is_process_full { self.oldest()? } else { address };
        let shelf = self.shelves.get_mut(&from)?;
        let oldest = shelf.parked.pop_front()?;
        shelf.live = shelf.live.saturating_sub(1);
        if let Some(shelf) = self.shelves.get_mut(&address) {
            shelf.live += 1;
        }
        Some(oldest)
    }

    /// Where the connection stands that has been parked for longest.
    pub(crate) fn oldest(&self) -> Option<SocketAddr> {
        let parked = self.shelves.iter().filter_map(|(address, shelf)| Some((shelf.parked.front()?.since, *address)));
        parked.min().map(|(_, address)| address)
    }

    /// The address at which the one who has waited for longest can perhaps be served.
    pub(crate) fn first_in_turn(&mut self, max_connections: usize) -> Option<SocketAddr> {
        let mut first = None;
        for (address, shelf) in &mut self.shelves {
            while shelf.waiters.front().is_some_and(|waiter| !waiter.is_waiting()) {
                shelf.waiters.pop_front();
            }
            if let Some(waiter) = shelf.waiters.front()
                && (shelf.live < max_connections || !shelf.parked.is_empty())
                && first.is_none_or(|(number, _)| waiter.number < number)
            {
                first = Some((waiter.number, *address));
            }
        }
        first.map(|(_, address)| address)
    }
}

/// Closes a connection on which nothing is owed.
#[expect(clippy::boxed_local, reason = "whoever ends it has it in its box")]
pub(crate) fn end<S: Socket>(mut leg: ClientLeg<S>, reason: CloseReason) {
    leg.machine_mut().end(Intent::Close(reason));
    leg.close_now();
}

impl<S: Socket> Drop for Shelves<S> {
    fn drop(&mut self) {
        let parked = self.take_all();
        parked.iter().for_each(|_| self.config.total.give_back());
        parked.into_iter().for_each(|parked| end(parked.leg, CloseReason::Drained));
    }
}
