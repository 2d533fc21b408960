//! Parked connections by where they go: the youngest first, and only those that the kernel says are alive.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::{Closes, Reuse};
use sheave_lifecycle::observe::{HandshakeFailed, Observer};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::time::Time;
use sheave_net::clock::Clock;
use sheave_net::dial::{Connect, dial};
use sheave_net::endpoint::{Endpoint, Protocols, Site};
use sheave_net::handshake::HandshakeError;
use sheave_net::leg::{Ends, Leg, LegContext};
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_proto::config::ConnectionConfig;
use sheave_proto::connection::Connection;
use sheave_proto::multiplex::Multiplex;

use crate::call::Call;
use crate::config::ClientConfig;
use crate::drive;
use crate::error::{FailedHandshake, HandshakeEnd, PoolError};
use crate::followed::Followed;
use crate::origin::Origin;
use crate::parked::{ClientLeg, Parked, end, found_dead};
use crate::place::Place;
use crate::queue::{Turn, Waiting};
use crate::reserved::Reserved;
use crate::seat::Seat;
use crate::shelves::Shelves;
use crate::stats::{AddressState, PoolStats};
use crate::streams::Found;

/// How many turns of the runtime a connection of HTTP/2 is given to read what its origin said. Its task is woken in the first.
const SETTLING_TURNS: usize = 4;

/// Connections to origins. One per worker: its lock is never contended there, and it is correct where it is.
///
/// A request on a parked connection takes that lock twice, once to have it and once to give it back, and asks the kernel
/// once whether it lives; it allocates nothing and sets no timer. [`Self::sweep`] is to be run beside the pool.
pub struct Pool<C: Connect> {
    pub(crate) connector: C,
    connection: Arc<ConnectionConfig>,
    pub(crate) shelves: Arc<Shelves<C::Socket>>,
    pub(crate) followed: Mutex<Vec<Followed>>,
}

impl<C: Connect> Pool<C> {
    /// A pool without connections.
    pub fn new(connector: C, config: ClientConfig, clock: Clock, observer: Arc<dyn Observer>) -> Self {
        let context = LegContext { clock, observer, write_timeout: config.write_timeout, linger: config.linger() };
        Self {
            connector,
            connection: Arc::new(config.connection),
            shelves: Arc::new(Shelves::new(config, Arc::new(context))),
            followed: Mutex::new(Vec::new()),
        }
    }

    /// Follows an origin as its addresses change: connections to those that it has no longer are retired within a sweep,
    /// and to those that it has, connections are kept ready as [`ClientConfig::prewarm`] says.
    ///
    /// A pool that follows one origin is for the origins that it follows: connections to any other address are not kept.
    pub fn follow(&self, origin: &Origin) {
        let mut followed = self.followed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        followed.push(Followed::new(origin.resolved().clone(), origin.like().clone()));
        self.shelves.wake.notify_one();
    }

    /// The youngest parked connection to `endpoint` that is young enough for such a request, and that the kernel says is
    /// alive. `None` where others wait already, too.
    ///
    /// One system call for each that is looked at; those found dead are closed and counted by what was found. A check
    /// narrows the race with an origin that closes in this instant, and cannot close it: what closes it is that a
    /// connection is not reused when its origin is about to close it, as far as that was learned, and that a request which
    /// cannot be sent again takes one much younger than that, or none ([`Reuse::Careful`]).
    ///
    /// Over HTTP/2 it is a place for a stream, on a connection that may carry others. One that carries none is asked for and
    /// judged by its age in the same way.
    pub fn checkout(&self, endpoint: &Endpoint, now: Time, reuse: Reuse) -> Option<Call<C::Socket>> {
        if endpoint.manner().protocols != Protocols::Http1
            && let Found::Stream(reserved) = self.shelves.find_stream(endpoint, reuse, now, now)
        {
            return Some(Call::stream(reserved));
        }
        let parked = self.shelves.take(endpoint, reuse, now)?;
        let place = Place::counted(endpoint.clone(), self.shelves.clone());
        match self.examined(parked, place, now) {
            Ok(call) => Some(call),
            Err(moments) => self.checkout_another(endpoint, now, reuse, moments),
        }
    }

    /// As [`Self::checkout`], where the youngest was dead: when it was last known to be alive, and since when it was parked.
    #[cold]
    fn checkout_another(
        &self,
        endpoint: &Endpoint,
        now: Time,
        reuse: Reuse,
        first: (Time, Time),
    ) -> Option<Call<C::Socket>> {
        let mut closes = Closes::default();
        let mut note = |(alive_at, since): (Time, Time)| closes.note(alive_at.since(since), now.since(since));
        note(first);
        let mut found = None;
        while let Some(parked) = self.shelves.take(endpoint, reuse, now) {
            let place = Place::counted(endpoint.clone(), self.shelves.clone());
            match self.examined(parked, place, now) {
                Ok(call) => {
                    found = Some(call);
                    break;
                }
                Err(moments) => note(moments),
            }
        }
        self.shelves.note_closes(endpoint.site(), &closes);
        found
    }

    /// What the check before reuse has against a parked connection.
    fn checked(&self, leg: &mut ClientLeg<C::Socket>) -> Option<CloseReason> {
        if self.shelves.config.check_before_reuse { found_dead(leg) } else { None }
    }

    /// A call on a parked connection, if it is alive. Otherwise it is closed, and what is left is when it was last known
    /// to be alive, and since when it was parked.
    fn examined(
        &self,
        mut parked: Parked<C::Socket>,
        place: Place<C::Socket>,
        now: Time,
    ) -> Result<Call<C::Socket>, (Time, Time)> {
        let observer = &self.shelves.context.observer;
        match self.checked(&mut parked.leg) {
            None => {
                observer.reused(parked.leg.id(), now.since(parked.since));
                Ok(Call::reused(parked, place))
            }
            Some(reason) => {
                observer.found_dead(parked.leg.id(), reason);
                let moments = (parked.alive_at, parked.since);
                end(parked.leg, reason);
                drop(place);
                Err(moments)
            }
        }
    }

    /// A connection to one of `endpoints`, for one exchange: the youngest parked one of the first that has one, or a new
    /// one ([`Self::connect`]).
    ///
    /// # Errors
    /// As for [`Self::connect`].
    ///
    /// # Cancel safety
    /// As for [`Self::connect`].
    pub async fn acquire(&self, endpoints: &[Endpoint], reuse: Reuse) -> Result<Call<C::Socket>, PoolError> {
        let now = self.shelves.context.clock.now();
        if let Some(call) = endpoints.iter().find_map(|endpoint| self.checkout(endpoint, now, reuse)) {
            return Ok(call);
        }
        self.connect(endpoints, reuse).await
    }

    /// A new connection to the first of `endpoints` that answers, in the manner of RFC 8305.
    ///
    /// Where as many exist as may, it waits in a queue of [`ClientConfig::max_queue`] for
    /// [`ClientConfig::queue_timeout`], and takes the first connection that comes free, unless `reuse` forbids it. An
    /// address that could not be connected to is not tried again for a moment; then the last failure is the answer.
    ///
    /// # Errors
    /// [`PoolError`]; failures to connect are told to the observer when they happen.
    ///
    /// # Cancel safety
    /// Attempts under way are given up; a turn in the queue is passed on.
    pub async fn connect(&self, endpoints: &[Endpoint], reuse: Reuse) -> Result<Call<C::Socket>, PoolError> {
        let since = self.shelves.now();
        if let Some(call) = self.settled(endpoints, reuse, since).await {
            return Ok(call);
        }
        let mut is_second = false;
        loop {
            let error = match self.shelves.seat(endpoints, reuse, self.shelves.now()) {
                Seat::Places(places) => return self.open(places).await.map(Opened::into_call),
                Seat::Stream(reserved) => return Ok(Call::stream(reserved)),
                Seat::Full => return Err(PoolError::QueueFull),
                Seat::Denied(error) => return Err(error),
                Seat::Queued(waiting) => match self.wait(waiting).await? {
                    Ok(call) => return Ok(call),
                    Err(error) => error,
                },
            };
            // The connection that it had counted on did not come to be: there may be other addresses.
            if std::mem::replace(&mut is_second, true) || endpoints.len() == 1 {
                return Err(error);
            }
        }
    }

    /// A place for a stream on a connection whose origin has just said something, once that was read.
    async fn settled(&self, endpoints: &[Endpoint], reuse: Reuse, since: Time) -> Option<Call<C::Socket>> {
        if reuse == Reuse::Never {
            return None;
        }
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.manner().protocols != Protocols::Http1) {
            for _ in 0..SETTLING_TURNS {
                match self.shelves.find_stream(endpoint, reuse, since, self.shelves.now()) {
                    Found::Stream(reserved) => return Some(Call::stream(reserved)),
                    Found::Unread => tokio::task::yield_now().await,
                    Found::Nothing => break,
                }
            }
        }
        None
    }

    /// Waits for a turn. What is within says that no connection may be opened after all.
    async fn wait(&self, mut waiting: Waiting<C::Socket>) -> Result<Result<Call<C::Socket>, PoolError>, PoolError> {
        let began = self.shelves.now();
        let turn = loop {
            match tokio::time::timeout(self.shelves.config.queue_timeout, waiting.turn()).await {
                Ok(Some(turn)) => break turn,
                Ok(None) => return Err(PoolError::QueueTimedOut),
                // Whoever counts on a connection that is being opened waits for as long as that may take.
                Err(_) if self.shelves.is_expecting(&waiting, self.shelves.now().since(began)) => {}
                Err(_) => return Err(PoolError::QueueTimedOut),
            }
        };
        drop(waiting);
        let now = self.shelves.now();
        let observer = &self.shelves.context.observer;
        let mut place = match turn {
            Turn::Place(place) => place,
            Turn::Stream(reserved, idle_for) => {
                if let Some(idle_for) = idle_for.filter(|_| reserved.connection.exchanges() > 0) {
                    observer.reused(reserved.connection.id, idle_for);
                }
                return Ok(Ok(Call::stream(reserved)));
            }
            Turn::Parked(mut place, mut parked) => match self.checked(&mut parked.leg) {
                None => {
                    observer.reused(parked.leg.id(), now.since(parked.since));
                    return Ok(Ok(Call::reused(parked, place)));
                }
                Some(reason) => {
                    observer.found_dead(parked.leg.id(), reason);
                    end(parked.leg, reason);
                    self.shelves.note_opening(&mut place);
                    place
                }
            },
        };
        match self.shelves.admit(&mut place, now) {
            Ok(()) => self.open(vec![place]).await.map(|opened| Ok(opened.into_call())),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Opens a connection in one of the places.
    pub(crate) async fn open(&self, places: Vec<Place<C::Socket>>) -> Result<Opened<C::Socket>, PoolError> {
        let Shelves { context, config, .. } = &*self.shelves;
        let began = context.clock.now();
        let offered = |place: &Place<C::Socket>| self.shelves.offered(&place.endpoint);
        let endpoints: Vec<Endpoint> = places.iter().map(offered).collect();
        let dialed = match dial(&self.connector, &endpoints, &config.dial).await {
            Ok(dialed) => dialed,
            Err(error) => {
                self.shelves.note_failures(&endpoints, &error.attempts, began, context.clock.now());
                context.observer.connect_failed(endpoints.first().map(Endpoint::address), error.reason());
                return Err(PoolError::Dial(error));
            }
        };
        self.shelves.note_failures(&endpoints, &dialed.failed, began, context.clock.now());
        // The other places are others' from here on.
        let place = places.into_iter().find(|place| self.shelves.offered(&place.endpoint) == dialed.endpoint);
        let Some(mut place) = place else { return Err(PoolError::QueueTimedOut) };
        let socket = self.shake_hands(dialed.socket, &place.endpoint, began).await?;
        let speaks_http2 = match dialed.endpoint.manner().protocols {
            Protocols::Http1 => false,
            Protocols::Http2 => true,
            Protocols::Either => socket.secured().is_some_and(|secured| secured.alpn == Some(Alpn::Http2)),
        };
        self.shelves.note_connected(&mut place, !speaks_http2);
        let now = context.clock.now();
        let ends = Ends { side: Side::Upstream, peer: Some(dialed.endpoint.address()), local: socket.local() };
        if !speaks_http2 {
            let machine = Connection::new(self.connection.clone(), now);
            let leg = Box::new(Leg::open(machine, socket, ends, context.clone(), now));
            return Ok(Opened::Http1(leg, place));
        }
        let machine = Multiplex::new(self.connection.clone(), now);
        let leg = Leg::open(machine, socket, ends, context.clone(), now);
        let (endpoint, address) = (place.endpoint.clone(), place.endpoint.address());
        match drive::begin(leg, place, self.connection.clone()).await {
            Ok(connection) => {
                Ok(Opened::Http2(Reserved::counted(connection, endpoint.site().clone(), self.shelves.clone())))
            }
            Err(_) => {
                let end = HandshakeEnd::Failed(HandshakeError::Closed);
                Err(PoolError::Handshake(FailedHandshake { address, end }))
            }
        }
    }

    /// Makes a connection ready to carry HTTP. Until it is, it counts as one that is being opened: an end is told as a
    /// failure to connect.
    async fn shake_hands(
        &self,
        mut socket: C::Socket,
        endpoint: &Endpoint,
        began: Time,
    ) -> Result<C::Socket, PoolError> {
        let Shelves { context, config, .. } = &*self.shelves;
        let shaken = poll_fn(|cx| socket.poll_handshake(cx));
        let end = match tokio::time::timeout(config.handshake_timeout, shaken).await {
            Ok(Ok(())) => {
                if let Some(secured) = socket.secured() {
                    context.observer.secured(Side::Upstream, &secured.told());
                }
                return Ok(socket);
            }
            Ok(Err(error)) => {
                let peer = Some(endpoint.address());
                let (label, detail) = (error.label(), error.detail());
                context.observer.handshake_failed(&HandshakeFailed { side: Side::Upstream, peer, label, detail });
                HandshakeEnd::Failed(error)
            }
            Err(_) => HandshakeEnd::TimedOut(config.handshake_timeout),
        };
        let failed = FailedHandshake { address: endpoint.address(), end };
        let (reason, is_its_fault) = (failed.reason(), !failed.is_local_exhaustion());
        context.observer.connect_failed(Some(failed.address), reason);
        let error = PoolError::Handshake(failed);
        if is_its_fault {
            self.shelves.note_failure(endpoint.site(), error.clone(), began, context.clock.now());
        }
        Err(error)
    }

    /// Connections to `site` that carry an exchange, or are being opened.
    pub fn busy(&self, site: &Site) -> usize {
        self.shelves.lock().shelves.get(site).map_or(0, |shelf| shelf.live.saturating_sub(shelf.idle()))
    }

    /// The numbers of now.
    pub fn stats(&self) -> PoolStats {
        let state = self.shelves.lock();
        state.shelves.values().fold(PoolStats { waiting: state.queued, ..PoolStats::default() }, |sum, shelf| {
            PoolStats {
                idle: sum.idle + shelf.idle(),
                busy: sum.busy + shelf.live.saturating_sub(shelf.idle()),
                streams: sum.streams + shelf.streams(),
                ..sum
            }
        })
    }

    /// What there is of each address and manner, and what is known of it, in no particular order. Safe to ask from any thread; makes
    /// requests wait for a microsecond or so.
    pub fn addresses(&self) -> Vec<AddressState> {
        let now = self.shelves.context.clock.now();
        let mut state = self.shelves.lock();
        state.forget(now);
        state.shelves.iter().map(|(site, shelf)| AddressState::of(site, shelf, now)).collect()
    }

    /// Bytes of memory that the buffers of parked connections own: none, always.
    pub fn parked_buffer_bytes(&self) -> usize {
        let state = self.shelves.lock();
        state.shelves.values().flat_map(|shelf| &shelf.parked).map(|parked| parked.leg.buffer_bytes()).sum()
    }

    /// Closes all parked connections: for the end of a drain. Those of HTTP/2 take no further stream, and end when none is
    /// open, as soon as their tasks have had a turn.
    pub fn clear(&self) {
        self.shelves.retire_all(CloseReason::Drained);
        for parked in self.shelves.take_all() {
            end(parked.leg, CloseReason::Drained);
            self.shelves.total().give_back();
        }
    }
}

impl<C: Connect> Drop for Pool<C> {
    fn drop(&mut self) {
        // Their tasks hold what is theirs, and would outlive the pool.
        self.shelves.end();
    }
}

/// A connection that was opened.
pub(crate) enum Opened<S: Socket> {
    /// For one exchange at a time.
    Http1(ClientLeg<S>, Place<S>),
    /// The first place for a stream on it.
    Http2(Reserved<S>),
}

impl<S: Socket> Opened<S> {
    fn into_call(self) -> Call<S> {
        match self {
            Self::Http1(leg, place) => Call::fresh(leg, place),
            Self::Http2(reserved) => Call::stream(reserved),
        }
    }
}
