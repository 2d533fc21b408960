//! Who gets a connection when none is parked: a place for a new one, a place in the queue, or an answer.

use std::sync::Arc;

use sheave_lifecycle::backoff::Admission;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::time::Time;
use sheave_net::dial_error::DialError;
use sheave_net::endpoint::{Endpoint, Site};
use sheave_net::socket::Socket;

use crate::error::PoolError;
use crate::parked::end;
use crate::place::Place;
use crate::queue::Waiting;
use crate::shelves::Shelves;
use crate::state::State;

/// What is done for a request that needs a connection and finds none parked.
pub(crate) enum Seat<S: Socket> {
    /// Places for connections to be opened: one to each of the endpoints that may be tried, at least one.
    Places(Vec<Place<S>>),
    /// It waits.
    Queued(Waiting<S>),
    /// The queues are full.
    Full,
    /// No endpoint may be tried yet, for this reason.
    Denied(PoolError),
}

impl<S: Socket> Shelves<S> {
    /// Finds a request places for new connections, or one in the queues.
    ///
    /// Where the caps leave no room, the connection that has been parked for longest makes some; who waits already comes
    /// first.
    pub(crate) fn seat(self: &Arc<Self>, endpoints: &[Endpoint], reuse: Reuse, now: Time) -> Seat<S> {
        let mut evicted = None;
        let mut places = Vec::new();
        let mut full = Vec::new();
        let mut denied = None;
        let mut is_short_of_total = false;
        let mut state = self.lock();
        for endpoint in endpoints {
            let site = endpoint.site();
            let shelf = state.shelf(site, &self.config, now);
            shelf.used = now;
            if shelf.backoff.asks(now) == Admission::Denied {
                denied = denied.or_else(|| shelf.failure.clone());
                continue;
            }
            let has_room = shelf.live < self.config.max_connections.max(1);
            let is_seated = if !shelf.waiters.is_empty() {
                false
            } else if has_room && self.config.total.take() {
                shelf.live += 1;
                true
            } else if places.is_empty() {
                is_short_of_total |= has_room;
                evicted = state.make_room(site, has_room);
                evicted.is_some()
            } else {
                false
            };
            if is_seated {
                let mut place = Place::counted(endpoint.clone(), self.clone());
                place.is_trial = state.shelf(site, &self.config, now).backoff.admit(now) == Admission::Trial;
                places.push(place);
            } else {
                full.push(endpoint.clone());
            }
        }
        let seat = if !places.is_empty() {
            Seat::Places(places)
        } else if !full.is_empty() {
            self.enqueue(&mut state, full, reuse, is_short_of_total)
        } else {
            Seat::Denied(denied.unwrap_or_else(|| self.nowhere()))
        };
        drop(state);
        evicted.into_iter().for_each(|parked| end(parked.leg, CloseReason::Evicted));
        seat
    }

    fn enqueue(
        self: &Arc<Self>,
        state: &mut State<S>,
        mut endpoints: Vec<Endpoint>,
        reuse: Reuse,
        is_short_of_total: bool,
    ) -> Seat<S> {
        let State { shelves, .. } = state;
        let waiters = |endpoint: &Endpoint| shelves.get(endpoint.site()).map_or(0, |shelf| shelf.waiters.len());
        endpoints.retain(|endpoint| waiters(endpoint) < self.config.max_queue);
        if endpoints.is_empty() {
            return Seat::Full;
        }
        state.next_number += 1;
        let waiting = Waiting::new(state.next_number, reuse, endpoints, self.clone());
        for endpoint in waiting.endpoints() {
            state.shelf(endpoint.site(), &self.config, self.now()).waiters.push_back(waiting.waiter().clone());
        }
        if is_short_of_total {
            waiting.waiter().waits_for(&self.config.total);
        }
        state.queued += 1;
        // The sweep sees to those who wait for other pools' connections.
        if std::mem::take(&mut state.is_asleep) {
            self.wake.notify_one();
        }
        Seat::Queued(waiting)
    }

    /// The place of a turn is used to open a connection.
    ///
    /// # Errors
    /// No connection may be tried at this moment, for this reason.
    pub(crate) fn admit(&self, place: &mut Place<S>, now: Time) -> Result<(), PoolError> {
        let mut state = self.lock();
        let shelf = state.shelf(place.endpoint.site(), &self.config, now);
        match shelf.backoff.admit(now) {
            Admission::Free => Ok(()),
            Admission::Trial => {
                place.is_trial = true;
                Ok(())
            }
            Admission::Denied => Err(shelf.failure.clone().unwrap_or_else(|| self.nowhere())),
        }
    }

    /// There is nothing to try.
    fn nowhere(&self) -> PoolError {
        PoolError::Dial(DialError { attempts: Vec::new(), connect_timeout: self.config.dial.connect_timeout })
    }

    /// A place for a connection that nobody asked for yet: only where there is room for it without pushing anybody.
    pub(crate) fn spare_place(self: &Arc<Self>, site: &Site, now: Time) -> Option<Place<S>> {
        let mut state = self.lock();
        let shelf = state.shelf(site, &self.config, now);
        let has_room = shelf.waiters.is_empty()
            && shelf.live < self.config.max_connections.max(1)
            && shelf.parked.len() < self.config.max_idle
            && shelf.backoff.asks(now) != Admission::Denied
            && self.config.total.take();
        has_room.then(|| {
            shelf.live += 1;
            let mut place = Place::counted(site.clone().into(), self.clone());
            place.is_trial = shelf.backoff.admit(now) == Admission::Trial;
            place
        })
    }
}
