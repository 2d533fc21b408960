//! The connections of a server that live: how many there are, and word of each that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::shared::Shared;

/// The connections that live.
#[derive(Default)]
pub(crate) struct Live {
    count: AtomicUsize,
    /// Those that are only told that there is no place for them.
    turned_away: AtomicUsize,
    /// Listeners that are served.
    listeners: AtomicUsize,
    ended: Notify,
}

impl Live {
    /// Connections that live now.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Those that are being turned away with an answer now.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Whether no connection lives, and no listener brings more.
    pub(crate) fn is_over(&self) -> bool {
        self.count() == 0 && self.turned_away() == 0 && self.listeners.load(Ordering::Relaxed) == 0
    }

    /// Ready when a connection, or the serving of a listener, has ended since this was called.
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }
}

/// A listener that is served, until this is dropped.
pub(crate) struct Listening(Arc<Live>);

impl Listening {
    /// One more listener is served.
    pub(crate) fn begin(live: Arc<Live>) -> Self {
        live.listeners.fetch_add(1, Ordering::Relaxed);
        Self(live)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

/// A live connection's place at its server; given back however its task ends.
pub(crate) struct Place<H> {
    shared: Arc<Shared<H>>,
    is_turned_away: bool,
}

impl<H> Place<H> {
    /// A place among those that live, or among those that are turned away.
    pub(crate) fn take(shared: Arc<Shared<H>>, is_turned_away: bool) -> Self {
        let place = Self { shared, is_turned_away };
        place.count().fetch_add(1, Ordering::Relaxed);
        place
    }

    /// What it shares with the others.
    pub(crate) fn shared(&self) -> &Shared<H> {
        &self.shared
    }

    fn count(&self) -> &AtomicUsize {
        let live = &self.shared.live;
        if self.is_turned_away { &live.turned_away } else { &live.count }
    }
}

impl<H> Drop for Place<H> {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::AcqRel);
        self.shared.live.ended.notify_waiters();
    }
}
