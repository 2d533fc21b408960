//! Where connections are parked between calls, and how many there are to each address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use sheave_net::leg::Leg;
use sheave_net::socket::Socket;
use sheave_proto::connection::Connection;
use sheave_proto::role::Client;
use tokio::sync::Notify;

pub(crate) type ClientLeg<S> = Leg<Connection<Client>, S>;

/// What calls come back to.
pub(crate) struct Shelves<S: Socket> {
    by_address: Mutex<HashMap<SocketAddr, Shelf<S>>>,
    max_idle: usize,
    /// Told when the first connection is parked, so that the sweep sleeps while there is none.
    pub(crate) parked: Notify,
}

pub(crate) struct Shelf<S: Socket> {
    /// The youngest last: it is the one least likely to be closed by the origin, and the others may grow old and go.
    pub(crate) parked: Vec<Parked<S>>,
    /// Parked, busy and being opened.
    pub(crate) live: usize,
}

pub(crate) struct Parked<S: Socket> {
    pub(crate) leg: ClientLeg<S>,
    pub(crate) since: Time,
}

/// A place for a connection under its address's cap; given back when dropped.
pub(crate) struct Place<S: Socket> {
    pub(crate) address: SocketAddr,
    shelves: Option<Arc<Shelves<S>>>,
}

impl<S: Socket> Place<S> {
    /// The connection lives: its end gives the place back.
    pub(crate) fn keep(mut self) {
        self.shelves = None;
    }
}

impl<S: Socket> Drop for Place<S> {
    fn drop(&mut self) {
        if let Some(shelves) = &self.shelves {
            shelves.release(self.address);
        }
    }
}

impl<S: Socket> Shelves<S> {
    pub(crate) fn new(max_idle: usize) -> Self {
        Self { by_address: Mutex::new(HashMap::new()), max_idle, parked: Notify::new() }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut HashMap<SocketAddr, Shelf<S>>) -> T) -> T {
        look(&mut self.by_address.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn reserve(self: &Arc<Self>, address: SocketAddr, max: usize) -> Option<Place<S>> {
        let has_room = self.with(|shelves| {
            let shelf = shelves.entry(address).or_insert_with(|| Shelf { parked: Vec::new(), live: 0 });
            let has_room = shelf.live < max.max(1);
            shelf.live += usize::from(has_room);
            has_room
        });
        has_room.then(|| Place { address, shelves: Some(self.clone()) })
    }

    /// A connection to `address` is no more.
    pub(crate) fn release(&self, address: SocketAddr) {
        self.with(|shelves| {
            if let Some(shelf) = shelves.get_mut(&address) {
                shelf.live = shelf.live.saturating_sub(1);
                if shelf.live == 0 {
                    shelves.remove(&address);
                }
            }
        });
    }

    /// Keeps a connection that is idle, if there is room.
    pub(crate) fn park(&self, address: SocketAddr, mut leg: ClientLeg<S>) {
        let since = leg.context().clock.now();
        leg.release_buffers();
        leg.tell_moved();
        let (id, observer) = (leg.id(), leg.context().observer.clone());
        let mut parked = Some(Parked { leg, since });
        let is_first = self.with(|shelves| {
            let shelf = shelves.get_mut(&address)?;
            if shelf.parked.len() >= self.max_idle {
                return None;
            }
            shelf.parked.extend(parked.take());
            Some(shelf.parked.len() == 1)
        });
        match (is_first, parked) {
            (_, Some(Parked { mut leg, .. })) => {
                leg.machine_mut().end(Intent::Close(CloseReason::Evicted));
                self.release(address);
                leg.close_now();
            }
            (is_first, None) => {
                observer.parked(id);
                if is_first == Some(true) {
                    self.parked.notify_one();
                }
            }
        }
    }
}

impl<S: Socket> Drop for Shelves<S> {
    fn drop(&mut self) {
        let shelves = self.by_address.get_mut().unwrap_or_else(PoisonError::into_inner);
        for Parked { mut leg, .. } in shelves.drain().flat_map(|(_, shelf)| shelf.parked) {
            leg.machine_mut().end(Intent::Close(CloseReason::Drained));
            leg.close_now();
        }
    }
}
