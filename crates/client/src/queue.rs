//! Waiting for a connection where as many exist as may: first come, first served, and dropped without a trace.

use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::Endpoint;
use sheave_net::socket::Socket;
use tokio::sync::oneshot;

use crate::parked::Parked;
use crate::place::Place;
use crate::reserved::Reserved;
use crate::shelves::Shelves;
use crate::waiter::{Grant, Lot, Waiter};

/// What a turn brings, in hands that pass it on when they are empty.
pub(crate) enum Turn<S: Socket> {
    /// A place for a connection to be opened.
    Place(Place<S>),
    /// A place with a connection on it.
    Parked(Place<S>, Parked<S>),
    /// A place for a stream, and how long its connection was idle, if it was.
    Stream(Reserved<S>, Option<Duration>),
}

/// A request that waits, as it sees itself. Dropped, it leaves the queues, and passes on what it may have been given.
pub(crate) struct Waiting<S: Socket> {
    waiter: Arc<Waiter<S>>,
    heard: oneshot::Receiver<Grant<S>>,
    endpoints: Vec<Endpoint>,
    shelves: Arc<Shelves<S>>,
}

impl<S: Socket> Waiting<S> {
    /// One that waits for a connection to any of `endpoints`, and is to be put into their queues.
    pub(crate) fn new(
        number: u64,
        reuse: Reuse,
        endpoints: Vec<Endpoint>,
        shelves: Arc<Shelves<S>>,
        since: Time,
    ) -> Self {
        let client = endpoints.first().and_then(Endpoint::client).cloned();
        let (waiter, heard) = Waiter::new(number, reuse, client, since);
        Self { waiter, heard, endpoints, shelves }
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter<S>> {
        &self.waiter
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Its turn. `None` never comes while the pool lives.
    ///
    /// # Cancel safety
    /// Cancel safe: a turn that came meanwhile is passed on when the whole is dropped.
    pub(crate) async fn turn(&mut self) -> Option<Turn<S>> {
        let Grant { site, lot } = (&mut self.heard).await.ok()?;
        let endpoint = self.endpoints.iter().find(|endpoint| *endpoint.site() == site).cloned();
        let place = |shelves| Place::counted(endpoint.unwrap_or_else(|| site.clone().into()), shelves);
        let shelves = self.shelves.clone();
        Some(match lot {
            Lot::Place => {
                let mut place = place(shelves);
                place.is_opening = true;
                Turn::Place(place)
            }
            Lot::Parked(parked) => Turn::Parked(place(shelves), parked),
            Lot::Stream(connection, idle_for) => Turn::Stream(Reserved::counted(connection, site, shelves), idle_for),
        })
    }
}

impl<S: Socket> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.heard.close();
        // First out of the queues, so that what is passed on cannot come back.
        self.shelves.leave(&self.waiter, &self.endpoints);
        if self.waiter.is_counted() {
            self.shelves.total().end_waiting();
        }
        if let Ok(grant) = self.heard.try_recv() {
            self.shelves.pass_on(grant);
        }
    }
}
