//! Parked connections by address: the youngest first, and only those that the kernel says are alive.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::time::Time;
use sheave_net::clock::Clock;
use sheave_net::dial::{Connect, dial};
use sheave_net::dial_error::DialError;
use sheave_net::leg::{Ends, Leg, LegContext};
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::config::ConnectionConfig;
use sheave_proto::connection::Connection;
use sheave_proto::role::Client;
use tokio::sync::Notify;

use crate::call::Call;
use crate::config::ClientConfig;

pub(crate) type ClientLeg<S> = Leg<Connection<Client>, S>;

/// How often parked connections are looked at. A tenth of a second bounds how long a closed one stays in CLOSE_WAIT.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Connections to origins. One per worker: its lock is never contended there, and it is correct where it is.
pub struct Pool<C: Connect> {
    connector: C,
    config: ClientConfig,
    connection: Arc<ConnectionConfig>,
    context: Arc<LegContext>,
    shelves: Arc<Shelves<C::Socket>>,
}

/// What calls come back to.
pub(crate) struct Shelves<S: Socket> {
    by_address: Mutex<HashMap<SocketAddr, Shelf<S>>>,
    max_idle: usize,
    /// Told when the first connection is parked, so that the sweep sleeps while there is none.
    parked: Notify,
}

struct Shelf<S: Socket> {
    /// The youngest last: it is the one least likely to be closed by the origin, and the others may grow old and go.
    parked: Vec<Parked<S>>,
    /// Parked, busy and being opened.
    live: usize,
}

struct Parked<S: Socket> {
    leg: ClientLeg<S>,
    since: Time,
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// As many connections to every one of the addresses exist as may.
    Exhausted,
    /// No address could be connected to.
    Dial(DialError),
}

/// A pool's numbers at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolStats {
    /// Parked connections.
    pub idle: usize,
    /// Connections that carry an exchange, or are being opened.
    pub busy: usize,
}

impl<C: Connect> Pool<C> {
    /// A pool without connections.
    pub fn new(connector: C, config: ClientConfig, clock: Clock, observer: Arc<dyn Observer>) -> Self {
        let context = LegContext { clock, observer, write_timeout: config.write_timeout, linger: config.linger() };
        Self {
            connector,
            connection: Arc::new(config.connection),
            context: Arc::new(context),
            shelves: Arc::new(Shelves {
                by_address: Mutex::new(HashMap::new()),
                max_idle: config.max_idle,
                parked: Notify::new(),
            }),
            config,
        }
    }

    /// The youngest parked connection to `address` that the kernel says is alive.
    ///
    /// One system call for each that is looked at; those found dead are closed and counted by what was found. A check
    /// narrows the race with an origin that closes in this instant, and cannot close it: see [`Call::poll_send_body`].
    pub fn checkout(&self, address: SocketAddr, now: Time) -> Option<Call<C::Socket>> {
        loop {
            let Parked { mut leg, since } = self.shelves.with(|shelves| shelves.get_mut(&address)?.parked.pop())?;
            let parked_for = now.since(since);
            match verdict(&leg, parked_for, self.config.connection.timeouts.idle) {
                None => {
                    self.context.observer.reused(leg.id(), parked_for);
                    return Some(Call::new(leg, address, true, self.shelves.clone()));
                }
                Some(reason) => {
                    self.context.observer.found_dead(leg.id(), reason);
                    leg.machine_mut().end(Intent::Close(reason));
                    self.shelves.release(address);
                    leg.close_now();
                }
            }
        }
    }

    /// Opens a new connection to the first of `addresses` that answers, in the manner of RFC 8305.
    ///
    /// # Errors
    /// [`PoolError`]; every failure is told to the observer.
    ///
    /// # Cancel safety
    /// Attempts under way are given up.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> Result<Call<C::Socket>, PoolError> {
        let places: Vec<Place<C::Socket>> = addresses
            .iter()
            .filter_map(|address| self.shelves.reserve(*address, self.config.max_connections))
            .collect();
        if places.is_empty() {
            return Err(PoolError::Exhausted);
        }
        let free: Vec<SocketAddr> = places.iter().map(|place| place.address).collect();
        let dialed = match dial(&self.connector, &free, &self.config.dial).await {
            Ok(dialed) => dialed,
            Err(error) => {
                self.context.observer.connect_failed(free.first().copied(), error.reason());
                return Err(PoolError::Dial(error));
            }
        };
        let now = self.context.clock.now();
        let machine = Connection::new(self.connection.clone(), now);
        let ends = Ends { side: Side::Upstream, peer: Some(dialed.address), local: dialed.socket.local() };
        let leg = Leg::open(machine, dialed.socket, ends, self.context.clone(), now);
        for place in places {
            if place.address == dialed.address {
                place.keep();
            }
        }
        Ok(Call::new(leg, dialed.address, false, self.shelves.clone()))
    }

    /// Connections to `address` that carry an exchange, or are being opened.
    pub fn busy(&self, address: SocketAddr) -> usize {
        self.shelves.with(|shelves| shelves.get(&address).map_or(0, |shelf| shelf.live - shelf.parked.len()))
    }

    /// The numbers of now.
    pub fn stats(&self) -> PoolStats {
        self.shelves.with(|shelves| {
            shelves.values().fold(PoolStats::default(), |sum, shelf| PoolStats {
                idle: sum.idle + shelf.parked.len(),
                busy: sum.busy + shelf.live - shelf.parked.len(),
            })
        })
    }

    /// Closes parked connections that are dead or were parked for too long, again and again. Run it beside the pool, on
    /// the same runtime; dropped, nothing is lost.
    pub async fn sweep(&self) {
        loop {
            if self.stats().idle == 0 {
                self.shelves.parked.notified().await;
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sweep_once(self.context.clock.now());
        }
    }

    fn sweep_once(&self, now: Time) {
        let idle = self.config.connection.timeouts.idle;
        let mut dead = Vec::new();
        self.shelves.with(|shelves| {
            shelves.retain(|_, shelf| {
                let mut place = 0;
                while let Some(Parked { leg, since }) = shelf.parked.get(place) {
                    let parked_for = now.since(*since);
                    // One that was parked a moment ago was in use a moment ago: it is asked before reuse, not here.
                    let reason = if parked_for < SWEEP_INTERVAL { None } else { verdict(leg, parked_for, idle) };
                    match reason {
                        None => place += 1,
                        Some(reason) => {
                            shelf.live -= 1;
                            dead.push((shelf.parked.remove(place), reason));
                        }
                    }
                }
                shelf.live > 0
            });
        });
        for (Parked { mut leg, .. }, reason) in dead {
            if reason != CloseReason::TimedOut(Timer::Idle) {
                self.context.observer.found_dead(leg.id(), reason);
            }
            leg.machine_mut().end(Intent::Close(reason));
            leg.close_now();
        }
    }

    /// Closes all parked connections: for the end of a drain.
    pub fn clear(&self) {
        let parked: Vec<_> = self.shelves.with(|shelves| {
            let taken = shelves.values_mut().flat_map(|shelf| {
                shelf.live -= shelf.parked.len();
                std::mem::take(&mut shelf.parked)
            });
            taken.collect()
        });
        for Parked { mut leg, .. } in parked {
            leg.machine_mut().end(Intent::Close(CloseReason::Drained));
            leg.close_now();
        }
    }
}

/// Why a parked connection is not to be used, if it is not.
fn verdict<S: Socket>(leg: &ClientLeg<S>, parked_for: Duration, idle: Duration) -> Option<CloseReason> {
    if parked_for >= idle {
        return Some(CloseReason::TimedOut(Timer::Idle));
    }
    match leg.socket().probe() {
        Liveness::Alive => None,
        Liveness::Closed => Some(CloseReason::PeerClosed),
        Liveness::Failed(fault) => Some(CloseReason::from_fault(fault)),
        Liveness::Unasked => Some(CloseReason::UnaskedBytes),
    }
}

/// A place for a connection under its address's cap; given back when dropped.
struct Place<S: Socket> {
    address: SocketAddr,
    shelves: Option<Arc<Shelves<S>>>,
}

impl<S: Socket> Place<S> {
    /// The connection lives: its end gives the place back.
    fn keep(mut self) {
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
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<SocketAddr, Shelf<S>>) -> T) -> T {
        look(&mut self.by_address.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reserve(self: &Arc<Self>, address: SocketAddr, max: usize) -> Option<Place<S>> {
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
