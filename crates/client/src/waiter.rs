//! A request that waits, as the queues know it, and the turn that it is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::{Announced, Site};
use sheave_net::socket::Socket;
use tokio::sync::oneshot;

use crate::multiplexed::Multiplexed;
use crate::parked::Parked;
use crate::total::Total;

/// A request that waits, as the queues know it. It may stand in the queues of several sites.
pub(crate) struct Waiter<S: Socket> {
    /// Its number: the smaller, the longer it has waited.
    pub(crate) number: u64,
    pub(crate) reuse: Reuse,
    /// On behalf of whom it asks, where origins are told.
    pub(crate) client: Option<Arc<Announced>>,
    /// Since when it waits.
    pub(crate) since: Time,
    tell: Mutex<Option<oneshot::Sender<Grant<S>>>>,
    is_counted: AtomicBool,
}

impl<S: Socket> Waiter<S> {
    /// One with such a number, and where its turn is heard.
    pub(crate) fn new(
        number: u64,
        reuse: Reuse,
        client: Option<Arc<Announced>>,
        since: Time,
    ) -> (Arc<Self>, oneshot::Receiver<Grant<S>>) {
        let (tell, heard) = oneshot::channel();
        let waiter =
            Self { number, reuse, client, since, tell: Mutex::new(Some(tell)), is_counted: AtomicBool::new(false) };
        (Arc::new(waiter), heard)
    }

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

    /// Whether it waits because of the cap over all pools.
    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted.load(Ordering::Acquire)
    }
}

/// A turn. Whoever has one and does not use it passes it on.
#[must_use = "its place stays counted until it is used or passed on"]
pub(crate) struct Grant<S: Socket> {
    pub(crate) site: Site,
    pub(crate) lot: Lot<S>,
}

/// What a turn brings.
pub(crate) enum Lot<S: Socket> {
    /// A place that has been counted, for a connection to be opened.
    Place,
    /// A place that has been counted, with a connection on it.
    Parked(Parked<S>),
    /// A place for a stream on a connection, and how long that was idle, if it was.
    Stream(Arc<Multiplexed<S>>, Option<Duration>),
}
