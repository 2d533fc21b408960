//! Who gets a connection when none is parked: a place for a new one, a place in the queue, or an answer.

use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::backoff::Admission;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::time::Time;
use sheave_net::dial_error::DialError;
use sheave_net::endpoint::{Endpoint, Protocols, Site};
use sheave_net::socket::Socket;

use crate::error::PoolError;
use crate::parked::end;
use crate::place::Place;
use crate::queue::Waiting;
use crate::reserved::Reserved;
use crate::shelves::Shelves;
use crate::state::State;
use crate::streams::Ask;

/// What is done for a request that needs a connection and finds none parked.
pub(crate) enum Seat<S: Socket> {
    /// Places for connections to be opened: one to each of the endpoints that may be tried, at least one.
    Places(Vec<Place<S>>),
    /// A place for a stream.
    Stream(Reserved<S>),
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
        match self.join(endpoints, reuse, now) {
            Some(seat) => return seat,
            None if self.is_over() => return Seat::Denied(self.nowhere()),
            None => {}
        }
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
                let shelf = state.shelf(site, &self.config, now);
                place.is_trial = shelf.backoff.admit(now) == Admission::Trial;
                place.is_opening = true;
                shelf.opening += 1;
                places.push(place);
            } else {
                full.push(endpoint.clone());
            }
        }
        let seat = if !places.is_empty() {
            Seat::Places(places)
        } else if !full.is_empty() {
            self.enqueue(&mut state, full, reuse, is_short_of_total, false, now)
        } else {
            Seat::Denied(denied.unwrap_or_else(|| self.nowhere()))
        };
        drop(state);
        evicted.into_iter().for_each(|parked| end(parked.leg, CloseReason::Evicted));
        if let Seat::Queued(waiting) = &seat {
            // One that carries no stream ends in its own time, and then its place is free.
            let _ = waiting.endpoints().iter().any(|endpoint| self.retire_idle(Some(endpoint.site())))
                || (is_short_of_total && self.retire_idle(None));
        }
        seat
    }

    /// Where requests share connections, one may count on a connection that is about to be there.
    fn join(self: &Arc<Self>, endpoints: &[Endpoint], reuse: Reuse, now: Time) -> Option<Seat<S>> {
        let max_streams = self.max_streams();
        let mut state = self.lock();
        let mut joined = Vec::new();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.manner().protocols != Protocols::Http1) {
            let site = endpoint.site();
            let Some(shelf) = state.shelves.get_mut(site).filter(|shelf| shelf.multiplexes(site)) else { continue };
            let ask = Ask { client: endpoint.client(), reuse, since: now };
            if let Some((connection, _)) = shelf.take_stream(&ask, now) {
                return Some(Seat::Stream(Reserved::counted(connection, site.clone(), self.clone())));
            }
            // What is about to be there is for whoever it announces.
            let can_join = endpoint.client().is_none() && shelf.can_join(max_streams);
            if can_join {
                joined.push(endpoint.clone());
            }
        }
        (!joined.is_empty()).then(|| self.enqueue(&mut state, joined, reuse, false, true, now))
    }

    fn enqueue(
        self: &Arc<Self>,
        state: &mut State<S>,
        mut endpoints: Vec<Endpoint>,
        reuse: Reuse,
        is_short_of_total: bool,
        is_joining: bool,
        now: Time,
    ) -> Seat<S> {
        let State { shelves, .. } = state;
        let waiters = |endpoint: &Endpoint| shelves.get(endpoint.site()).map_or(0, |shelf| shelf.waiters.len());
        // What is about to be there has room for all who count on it.
        endpoints.retain(|endpoint| is_joining || waiters(endpoint) < self.config.max_queue);
        if endpoints.is_empty() {
            return Seat::Full;
        }
        state.next_number += 1;
        let waiting = Waiting::new(state.next_number, reuse, endpoints, self.clone(), now);
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

    /// Whether a request that has waited for so long can still count on a connection that is being opened.
    pub(crate) fn is_expecting(&self, waiting: &Waiting<S>, waited_for: Duration) -> bool {
        let state = self.lock();
        let is_coming = |endpoint: &Endpoint| {
            let shelf = state.shelves.get(endpoint.site());
            shelf.is_some_and(|shelf| shelf.multiplexes(endpoint.site()) && shelf.coming() > 0)
        };
        waited_for < self.config.dial.connect_timeout + self.config.handshake_timeout
            && waiting.endpoints().iter().any(is_coming)
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
            shelf.opening += 1;
            let mut place = Place::counted(site.clone().into(), self.clone());
            place.is_trial = shelf.backoff.admit(now) == Admission::Trial;
            place.is_opening = true;
            place
        })
    }
}
