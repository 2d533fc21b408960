//! Waiting for a connection where as many exist as may: first come, first served, and dropped without a trace.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sheave_lifecycle::keep_alive::Reuse;
use sheave_net::socket::Socket;
use sheave_proto::keep_alive::KeepAlive;
use tokio::sync::oneshot;

use crate::place::Place;
use crate::shelf::Parked;
use crate::shelves::Shelves;
use crate::total::Total;

/// A request that waits, as the queues know it. It may stand in the queues of several addresses.
pub(crate) struct Waiter<S: Socket> {
    /// Its number: the smaller, the longer it has waited.
    pub(crate) number: u64,
    pub(crate) reuse: Reuse,
    tell: Mutex<Option<oneshot::Sender<Grant<S>>>>,
    is_counted: AtomicBool,
}

impl<S: Socket> Waiter<S> {
    /// Gives it a turn.
    ///
    /// # Errors
    /// It has had one, or waits no longer: the turn is somebody else's.
    pub(crate) fn grant(&self, grant: Grant<S>) -> Result<(), Grant<S>> {
        match self.tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(tell) => tell.send(grant),
            None => Err(grant),
        }
    }

    /// Whether it still waits.
    pub(crate) fn is_waiting(&self) -> bool {
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner);
        tell.as_ref().is_some_and(|tell| !tell.is_closed())
    }

    /// It waits because of the cap over all pools.
    pub(crate) fn waits_for(&self, total: &Total) {
        if !self.is_counted.swap(true, Ordering::AcqRel) {
            total.begin_waiting();
        }
    }
}

/// A turn: a place, and perhaps a connection on it. Dropped unused, it is the next one's.
pub(crate) struct Grant<S: Socket> {
    place: Option<Place<S>>,
    parked: Option<Parked<S>>,
}

impl<S: Socket> Grant<S> {
    pub(crate) fn of(place: Place<S>, parked: Option<Parked<S>>) -> Self {
        Self { place: Some(place), parked }
    }

    /// What it is worth.
    pub(crate) fn take(mut self) -> (Option<Place<S>>, Option<Parked<S>>) {
        (self.place.take(), self.parked.take())
    }
}

impl<S: Socket> Drop for Grant<S> {
    fn drop(&mut self) {
        if let (Some(place), Some(parked)) = (self.place.take(), self.parked.take()) {
            place.park(parked.leg, KeepAlive::default(), parked.left, parked.since);
        }
    }
}

/// A request that waits, as it sees itself. Dropped, it leaves the queues, and passes on what it may have been given.
pub(crate) struct Waiting<S: Socket> {
    waiter: Arc<Waiter<S>>,
    heard: oneshot::Receiver<Grant<S>>,
    addresses: Vec<SocketAddr>,
    shelves: Arc<Shelves<S>>,
}

impl<S: Socket> Waiting<S> {
    /// One that waits for a connection to any of `addresses`, and is to be put into their queues.
    pub(crate) fn new(number: u64, reuse: Reuse, addresses: Vec<SocketAddr>, shelves: Arc<Shelves<S>>) -> Self {
        let (tell, heard) = oneshot::channel();
        let waiter =
            Arc::new(Waiter { number, reuse, tell: Mutex::new(Some(tell)), is_counted: AtomicBool::new(false) });
        Self { waiter, heard, addresses, shelves }
    }

    pub(crate) fn waiter(&self) -> &Arc<Waiter<S>> {
        &self.waiter
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its turn. `None` never comes while the pool lives.
    ///
    /// # Cancel safety
    /// Cancel safe: a turn that came meanwhile is passed on when the whole is dropped.
    pub(crate) async fn turn(&mut self) -> Option<Grant<S>> {
        (&mut self.heard).await.ok()
    }
}

impl<S: Socket> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.heard.close();
        // First out of the queues, so that what is passed on cannot come back.
        self.shelves.leave(self);
        if self.waiter.is_counted.load(Ordering::Acquire) {
            self.shelves.total().end_waiting();
        }
        drop(self.heard.try_recv());
    }
}
