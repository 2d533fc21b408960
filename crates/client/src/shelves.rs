//! The shelves of all sites behind one lock: what comes back is kept, given to whoever waits, or closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::{Closes, Learned, Reuse, is_worth_parking};
use sheave_lifecycle::time::Time;
use sheave_net::dial_error::{AttemptEnd, DialError, FailedAttempt};
use sheave_net::endpoint::{Endpoint, Manner, Protocols, Site};
use sheave_net::leg::LegContext;
use sheave_net::socket::Socket;
use sheave_proto::keep_alive::KeepAlive;
use tokio::sync::Notify;

use crate::config::ClientConfig;
use crate::error::PoolError;
use crate::parked::{ClientLeg, Parked, end};
use crate::place::Place;
use crate::state::State;
use crate::streams::Ask;
use crate::total::Total;
use crate::waiter::{Grant, Lot, Waiter};

/// What calls come back to.
pub(crate) struct Shelves<S: Socket> {
    state: Mutex<State<S>>,
    pub(crate) config: ClientConfig,
    pub(crate) context: Arc<LegContext>,
    /// Younger ones have not lived for as long as one may, whatever chance decided.
    old_from: Duration,
    /// Told when there is something to sweep, so that the sweep sleeps while there is nothing.
    pub(crate) wake: Notify,
    /// The pool is no more: nothing that comes back is kept.
    is_over: AtomicBool,
}

impl<S: Socket> Shelves<S> {
    pub(crate) fn new(config: ClientConfig, context: Arc<LegContext>) -> Self {
        let old_from = config.connection.max_age.map_or(Duration::MAX, |max_age| max_age / 10 * 9);
        Self {
            state: Mutex::new(State::new()),
            config,
            context,
            old_from,
            wake: Notify::new(),
            is_over: AtomicBool::new(false),
        }
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
        self.is_past_age(leg.opened(), now)
    }

    /// Whether a connection that came to be at `opened` has lived for as long as one may.
    pub(crate) fn is_past_age(&self, opened: Time, now: Time) -> bool {
        // The exact moment differs from one to the next; most are far from all of them.
        now.since(opened) >= self.old_from && self.config.connection.retires_at(opened).is_some_and(|at| at <= now)
    }

    /// The pool is no more: what is not under way ends, and what is, when it is over.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.retire_all(CloseReason::Drained);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Time {
        self.context.clock.now()
    }

    /// The youngest parked connection to `endpoint` that is young enough, unless somebody waits for it. Its place stays
    /// counted.
    pub(crate) fn take(&self, endpoint: &Endpoint, reuse: Reuse, now: Time) -> Option<Parked<S>> {
        let mut state = self.lock();
        let shelf = state.shelves.get_mut(endpoint.site())?;
        // On a runtime of several threads it may have been put there for them in this moment.
        if !shelf.waiters.is_empty() {
            return None;
        }
        shelf.take_youngest(endpoint.client(), reuse, now)
    }

    /// Keeps an idle connection whose place is counted, gives it to whoever waits, or closes it.
    pub(crate) fn park(
        &self,
        endpoint: &Endpoint,
        mut leg: ClientLeg<S>,
        told: KeepAlive,
        left: Option<u64>,
        now: Time,
    ) {
        leg.release_buffers();
        let is_old = self.is_old(&leg, now);
        let mut state = self.lock();
        let State { shelves, queued, is_asleep, .. } = &mut *state;
        let is_waited_for = *queued > 0;
        let Some(shelf) = shelves.get_mut(endpoint.site()) else {
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
        } else if shelf.is_outdated()(leg.opened())
            || !is_worth_parking(left)
            || shelf.reused_below(Reuse::Usual).is_zero()
        {
            CloseReason::Retired
        } else if shelf.waiters.is_empty()
            && (shelf.parked.len() >= self.config.max_idle || self.config.total.is_waited_for())
        {
            CloseReason::Evicted
        } else {
            let parked = leg.as_parked();
            let client = endpoint.client().cloned();
            shelf.parked.push_back(Parked { leg, since: now, alive_at: now, left, client });
            let wakes = std::mem::take(is_asleep);
            drop(state);
            self.context.observer.parked(&parked);
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
        self.release(endpoint.site(), false, false);
    }

    /// A connection to `site` is no more, or never came to be: its place is the next one's.
    pub(crate) fn release(&self, site: &Site, was_trial: bool, was_opening: bool) {
        let mut state = self.lock();
        if let Some(shelf) = state.shelves.get_mut(site) {
            shelf.live = shelf.live.saturating_sub(1);
            if was_trial {
                shelf.backoff.is_let_go();
            }
            shelf.opening = shelf.opening.saturating_sub(usize::from(was_opening));
        }
        let is_waited_for = state.queued > 0;
        drop(state);
        self.config.total.give_back();
        if is_waited_for {
            self.serve();
        }
    }

    /// Gives those who wait what there is to give, the first first.
    pub(crate) fn serve(&self) {
        let mut evicted: Vec<Parked<S>> = Vec::new();
        let mut refused = Vec::new();
        let mut state = self.lock();
        if state.queued > 0 {
            let now = self.now();
            let mut stuck = Vec::new();
            while let Some(site) = state.first_in_turn(&self.config, &stuck) {
                let shelf = state.shelf(&site, &self.config, now);
                let Some(waiter) = shelf.waiters.front().cloned() else { break };
                let ask = Ask { client: waiter.client.as_ref(), reuse: waiter.reuse, since: waiter.since };
                let lot = if let Some((connection, idle_for)) = shelf.take_stream(&ask, now) {
                    Lot::Stream(connection, idle_for)
                } else if let Some(parked) = shelf.take_youngest(waiter.client.as_ref(), waiter.reuse, now) {
                    Lot::Parked(parked)
                } else if shelf.multiplexes(&site) && shelf.is_expecting(self.max_streams()) {
                    stuck.push(site);
                    continue;
                } else {
                    let has_room = shelf.live < self.config.max_connections.max(1);
                    if has_room && self.config.total.take_waited_for() {
                        shelf.live += 1;
                    } else if let Some(oldest) = state.make_room(&site, has_room) {
                        evicted.push(oldest);
                    } else if has_room {
                        // Whoever gives a place back, in whichever pool, will see that it is waited for.
                        waiter.waits_for(&self.config.total);
                        break;
                    } else {
                        stuck.push(site);
                        continue;
                    }
                    state.shelf(&site, &self.config, now).opening += 1;
                    Lot::Place
                };
                state.shelf(&site, &self.config, now).waiters.pop_front();
                let grant = Grant { site, lot };
                refused.extend(waiter.grant(grant).err());
            }
        }
        drop(state);
        evicted.into_iter().for_each(|parked| end(parked.leg, CloseReason::Evicted));
        // Whoever left in this very moment passes its turn on.
        refused.into_iter().for_each(|grant| self.pass_on(grant));
    }

    /// A turn that nobody uses is the next one's.
    pub(crate) fn pass_on(&self, grant: Grant<S>) {
        match grant.lot {
            Lot::Parked(parked) => {
                let mut endpoint = Endpoint::from(grant.site);
                if let Some(client) = parked.client {
                    endpoint = endpoint.on_behalf_of(client);
                }
                self.park(&endpoint, parked.leg, KeepAlive::default(), parked.left, parked.since);
            }
            Lot::Place => self.release(&grant.site, false, true),
            Lot::Stream(connection, _) => self.give_back(&grant.site, &connection, false),
        }
    }

    /// Somebody waits no longer.
    pub(crate) fn leave(&self, waiter: &Arc<Waiter<S>>, endpoints: &[Endpoint]) {
        let mut state = self.lock();
        state.queued = state.queued.saturating_sub(1);
        for endpoint in endpoints {
            if let Some(shelf) = state.shelves.get_mut(endpoint.site()) {
                shelf.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
            }
        }
    }

    /// Attempts that began at `began` have failed. What this machine ran out of is not the site's fault.
    pub(crate) fn note_failures(&self, sites: &[Endpoint], failed: &[FailedAttempt], began: Time, now: Time) {
        let connect_timeout = self.config.dial.connect_timeout;
        for attempt in failed {
            let is_its_fault = match attempt.end {
                AttemptEnd::Failed(fault) => !fault.errno.is_exhaustion(),
                AttemptEnd::TimedOut => true,
                AttemptEnd::NotTried => false,
            };
            let tried = sites.iter().find(|endpoint| endpoint.address() == attempt.address);
            if let Some(endpoint) = tried.filter(|_| is_its_fault) {
                let error = DialError { attempts: vec![*attempt], connect_timeout };
                self.note_failure(endpoint.site(), PoolError::Dial(error), began, now);
            }
        }
    }

    /// An attempt that began at `began` has failed, and not for want of something of ours.
    pub(crate) fn note_failure(&self, site: &Site, error: PoolError, began: Time, now: Time) {
        if let Some(shelf) = self.lock().shelves.get_mut(site) {
            shelf.backoff.failed(began, now, fastrand::f64());
            shelf.failure = Some(error);
        }
    }

    /// The connection that was being opened in a place is there. `chose_http1` says whether HTTP/2 was offered in vain.
    pub(crate) fn note_connected(&self, place: &mut Place<S>, chose_http1: bool) {
        if let Some(shelf) = self.lock().shelves.get_mut(place.endpoint.site()) {
            shelf.opening = shelf.opening.saturating_sub(usize::from(std::mem::take(&mut place.is_opening)));
            shelf.chose_http1 = chose_http1;
            shelf.backoff.connected();
            shelf.failure = None;
        }
    }

    /// A connection is opened in a place that was another's.
    pub(crate) fn note_opening(&self, place: &mut Place<S>) {
        if let Some(shelf) = self.lock().shelves.get_mut(place.endpoint.site()) {
            place.is_opening = true;
            shelf.opening += 1;
        }
    }

    /// What is offered to an endpoint: HTTP/1 alone, once its origin has asked for that.
    pub(crate) fn offered(&self, endpoint: &Endpoint) -> Endpoint {
        let manner = endpoint.manner();
        let is_required = manner.protocols == Protocols::Either
            && self.lock().shelves.get(endpoint.site()).is_some_and(|shelf| shelf.requires_http1);
        match is_required {
            true => endpoint.spoken_to(Manner { protocols: Protocols::Http1, ..manner.clone() }),
            false => endpoint.clone(),
        }
    }

    /// The origin closed parked connections.
    pub(crate) fn note_closes(&self, site: &Site, closes: &Closes) {
        let Some((alive, gone)) = closes.lesson() else { return };
        if let Some(shelf) = self.lock().shelves.get_mut(site) {
            shelf.learn(&self.config, |learned: &mut Learned| learned.closed_between(alive, gone));
        }
    }

    /// Waits until there is something to sweep.
    pub(crate) async fn until_needed(&self, is_prewarming: bool) {
        {
            let mut state = self.lock();
            let is_needed = state.queued > 0
                || state.shelves.values().any(|shelf| !shelf.parked.is_empty() || !shelf.trunks.is_empty());
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

impl<S: Socket> Drop for Shelves<S> {
    fn drop(&mut self) {
        let parked = self.take_all();
        parked.iter().for_each(|_| self.config.total.give_back());
        parked.into_iter().for_each(|parked| end(parked.leg, CloseReason::Drained));
    }
}
