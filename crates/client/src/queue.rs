//! Waiting for a connection where as many exist as may: first come, first served, and dropped without a trace.

use std::sync::Arc;

use sheave_lifecycle::keep_alive::Reuse;
use sheave_net::endpoint::Endpoint;
use sheave_net::socket::Socket;
use tokio::sync::oneshot;

use crate::parked::Parked;
use crate::place::Place;
use crate::shelves::Shelves;
use crate::waiter::{Grant, Waiter};

/// A request that waits, as it sees itself. Dropped, it leaves the queues, and passes on what it may have been given.
pub(crate) struct Waiting<S: Socket> {
    waiter: Arc<Waiter<S>>,
    heard: oneshot::Receiver<Grant<S>>,
    endpoints: Vec<Endpoint>,
    shelves: Arc<Shelves<S>>,
}

impl<S: Socket> Waiting<S> {
    /// One that waits for a connection to any of `endpoints`, and is to be put into their queues.
    pub(crate) fn new(number: u64, reuse: Reuse, endpoints: Vec<Endpoint>, shelves: Arc<Shelves<S>>) -> Self {
        let client = endpoints.first().and_then(Endpoint::client).cloned();
        let (waiter, heard) = Waiter::new(number, reuse, client);
        Self { waiter, heard, endpoints, shelves }
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter<S>> {
        &self.waiter
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Its turn: a place, and perhaps a connection on it. `None` never comes while the pool lives.
    ///
    /// # Cancel safety
    /// Cancel safe: a turn that came meanwhile is passed on when the whole is dropped.
    pub(crate) async fn turn(&mut self) -> Option<(Place<S>, Option<Parked<S>>)> {
        let Grant { site, parked } = (&mut self.heard).await.ok()?;
        let endpoint = self.endpoints.iter().find(|endpoint| *endpoint.site() == site).cloned();
        Some((Place::counted(endpoint.unwrap_or_else(|| site.into()), self.shelves.clone()), parked))
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
