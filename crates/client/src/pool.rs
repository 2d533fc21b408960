//! Parked connections by address: the youngest first, and only those that the kernel says are alive.

use std::net::SocketAddr;
use std::sync::Arc;
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

use crate::call::Call;
use crate::config::ClientConfig;
use crate::shelves::{ClientLeg, Parked, Place, Shelves};

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
            shelves: Arc::new(Shelves::new(config.max_idle)),
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

    /// Bytes of memory that the buffers of parked connections own: none, always.
    pub fn parked_buffer_bytes(&self) -> usize {
        self.shelves.with(|shelves| {
            shelves.values().flat_map(|shelf| &shelf.parked).map(|parked| parked.leg.buffer_bytes()).sum()
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
