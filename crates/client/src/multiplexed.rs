//! One HTTP/2 connection to an origin, as all its streams and the pool share it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{SendStream, ext};
use http::Request;
use http::uri::Scheme;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::{Endpoint, Protocols};
use sheave_net::leg::{Leg, LegContext};
use sheave_net::secured::Secured;
use sheave_net::socket::{Liveness, Socket};
use sheave_net::wire::Wire;
use sheave_proto::config::ConnectionConfig;
use sheave_proto::error::Misuse;
use sheave_proto::frame_watch::GoAway;
use sheave_proto::multiplex::Multiplex;
use sheave_proto::role::Client;
use tokio::sync::Notify;

/// A leg that carries many exchanges.
pub(crate) type MultiplexLeg<S> = Leg<Multiplex<Client>, S>;

/// One HTTP/2 connection. Its own task drives it; this is what everybody else holds of it.
pub(crate) struct Multiplexed<S: Socket> {
    pub(crate) id: ConnectionId,
    pub(crate) opened: Time,
    pub(crate) address: SocketAddr,
    pub(crate) secured: Option<Arc<Secured>>,
    pub(crate) scheme: Scheme,
    /// Whether HTTP/1 could have been spoken instead.
    pub(crate) has_choice: bool,
    pub(crate) config: Arc<ConnectionConfig>,
    pub(crate) context: Arc<LegContext>,
    /// Empty once the connection has ended.
    wire: Mutex<Option<Wire<Multiplex<Client>, S>>>,
    /// Empty once no stream is to be opened: the framing layer says farewell when nobody can.
    requests: Mutex<Option<SendRequest<Bytes>>>,
    driver: Mutex<Option<Waker>>,
    /// Whether what the origin takes is known.
    is_settled: AtomicBool,
    settling: Notify,
    ended: OnceLock<Ended>,
}

/// What is left of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) reason: CloseReason,
    crossed: Crossed,
}

/// How far streams had come, as far as bytes tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossed {
    /// The highest stream of which a byte was given to the kernel.
    pub(crate) last_opened: u32,
    pub(crate) goaway: Option<GoAway>,
    /// Bytes that came.
    pub(crate) bytes_in: u64,
}

/// Why a stream could not be opened.
pub(crate) enum NotOpened {
    /// The connection takes no more.
    Over,
    /// The request is none.
    Misuse(Misuse),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Socket> Multiplexed<S> {
    pub(crate) fn new(
        wire: Wire<Multiplex<Client>, S>,
        requests: SendRequest<Bytes>,
        config: Arc<ConnectionConfig>,
        endpoint: &Endpoint,
    ) -> Self {
        let manner = endpoint.manner();
        let secured = wire.with(|leg| leg.socket().secured().cloned());
        let (id, opened, context) = wire.with(|leg| (leg.id(), leg.opened(), leg.context().clone()));
        Self {
            id,
            opened,
            address: endpoint.address(),
            secured,
            scheme: if manner.is_secured() { Scheme::HTTPS } else { Scheme::HTTP },
            has_choice: manner.is_secured() && manner.protocols == Protocols::Either,
            config,
            context,
            wire: Mutex::new(Some(wire)),
            requests: Mutex::new(Some(requests)),
            driver: Mutex::new(None),
            ended: OnceLock::new(),
            is_settled: AtomicBool::new(false),
            settling: Notify::new(),
        }
    }

    /// Waits until the origin's SETTINGS came, or the connection takes no more streams; its deadlines see to it that this is
    /// soon. Cancel safe.
    pub(crate) async fn settled(&self) {
        loop {
            let settling = self.settling.notified();
            if self.is_settled.load(Ordering::Acquire) {
                return;
            }
            settling.await;
        }
    }

    /// The origin's SETTINGS came, or never will.
    pub(crate) fn note_settled(&self) {
        if !self.is_settled.swap(true, Ordering::AcqRel) {
            self.settling.notify_waiters();
        }
    }

    /// Looks at the connection, unless it has ended. Its engine must not be polled meanwhile.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut MultiplexLeg<S>) -> T) -> Option<T> {
        lock(&self.wire).as_ref().map(|wire| wire.with(look))
    }

    /// Gives the kernel what its engine has written.
    pub(crate) fn send(&self, cx: &mut Context<'_>, now: Time) {
        if let Some(wire) = lock(&self.wire).as_ref() {
            // What it does not take, it wakes for, and the machine counts the time; where nothing can be sent, that says why.
            let _ = wire.poll_send(cx, now);
        }
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<CloseReason> {
        self.ended.get().map(|ended| ended.reason)
    }

    /// What crossed it.
    pub(crate) fn crossed(&self) -> Crossed {
        match self.with(|leg| crossed(leg)) {
            Some(crossed) => crossed,
            None => self.ended.get().map_or(Crossed { last_opened: 0, goaway: None, bytes_in: 0 }, |it| it.crossed),
        }
    }

    /// What the kernel knows of it.
    pub(crate) fn probe(&self) -> Liveness {
        let liveness = self.with(|leg| leg.socket_mut().probe()).unwrap_or(Liveness::Closed);
        if liveness != Liveness::Alive {
            // A layer may have taken in what the reactor would have told of.
            self.poke();
        }
        liveness
    }

    /// Streams that it has carried.
    pub(crate) fn exchanges(&self) -> u64 {
        self.with(|leg| leg.machine().exchanges()).unwrap_or(0)
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> u32 {
        self.with(|leg| leg.machine().streams()).unwrap_or(0)
    }

    /// Whether the origin said, or showed, that it wants no more of it.
    pub(crate) fn was_ended_by_peer(&self) -> bool {
        let is_peers = |reason| {
            matches!(reason, CloseReason::PeerClosed | CloseReason::PeerReset(_) | CloseReason::PeerUnreachable(_))
        };
        let ended = self
            .with(|leg| leg.machine().peer_goaway().is_some() || leg.machine().intent().reason().is_some_and(is_peers));
        ended.unwrap_or_else(|| self.ended().is_some_and(is_peers))
    }

    /// Asks the origin whether it is there, while streams wait for it.
    pub(crate) fn ask_for_a_sign(&self) {
        let _ = self.with(|leg| leg.machine_mut().ask_for_a_sign());
        self.poke();
    }

    /// Takes no further stream, and ends when none is open.
    pub(crate) fn retire(&self, reason: CloseReason) {
        let _ = self.with(|leg| leg.machine_mut().retire(reason));
        self.poke();
    }

    /// Opens a stream for a request.
    pub(crate) fn open(
        &self,
        mut request: Request<()>,
        protocol: Option<&str>,
        is_end: bool,
        now: Time,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), NotOpened> {
        // A handle of its own: one that waits for the origin's leave would keep others from asking.
        let mut requests = lock(&self.requests).clone().ok_or(NotOpened::Over)?;
        if let Some(protocol) = protocol {
            if !requests.is_extended_connect_protocol_enabled() {
                return Err(NotOpened::Misuse(Misuse::SwitchWithoutUpgrade));
            }
            request.extensions_mut().insert(ext::Protocol::from(protocol));
        }
        let can_open = |leg: &mut MultiplexLeg<S>| {
            let machine = leg.machine_mut();
            let can = machine.can_open();
            if can {
                machine.open_stream(now);
            }
            can
        };
        if self.with(can_open) != Some(true) {
            return Err(NotOpened::Over);
        }
        match requests.send_request(request, is_end) {
            Ok(opened) => {
                let _ = self.with(|leg| leg.tell_moved());
                // Its deadlines begin.
                self.poke();
                Ok(opened)
            }
            Err(error) => {
                self.close_stream(now);
                let is_ours = !error.is_io() && !error.is_go_away() && !error.is_remote();
                Err(if is_ours && error.reason().is_none() && self.ended().is_none() {
                    NotOpened::Misuse(Misuse::InvalidTarget)
                } else {
                    NotOpened::Over
                })
            }
        }
    }

    /// A stream that was opened is over.
    pub(crate) fn close_stream(&self, now: Time) {
        let closed = self.with(|leg| {
            leg.machine_mut().close_stream(now);
            leg.tell_moved();
        });
        if closed.is_some() {
            self.poke();
        }
    }

    /// It carries no stream, and waits for the next one.
    pub(crate) fn tell_parked(&self) {
        if let Some(parked) = self.with(|leg| leg.as_parked()) {
            self.context.observer.parked(&parked);
        }
    }

    /// Whether the origin takes tunnels in streams. RFC 8441
    pub(crate) fn takes_extended_connect(&self) -> bool {
        lock(&self.requests).as_ref().is_some_and(SendRequest::is_extended_connect_protocol_enabled)
    }

    /// Has its task look what there is to do.
    pub(crate) fn poke(&self) {
        // Not under the lock: a waker may be of any make.
        let waker = lock(&self.driver).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Its task is to be woken by so.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut driver = lock(&self.driver);
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }

    /// Lets the framing layer say farewell as soon as no stream is open.
    pub(crate) fn open_no_more(&self) {
        let requests = lock(&self.requests).take();
        drop(requests);
    }

    /// Ends it, as its machine intends or else for `reason`. Streams that are open are told so from here on.
    pub(crate) fn finish(&self, reason: CloseReason) -> CloseReason {
        let Some(mut leg) = lock(&self.wire).take().map(Wire::take_back) else {
            return self.ended().unwrap_or(reason);
        };
        leg.machine_mut().end(Intent::Abort(reason));
        let reason = leg.machine().intent().reason().unwrap_or(reason);
        say_why(&mut leg);
        let _ = self.ended.set(Ended { reason, crossed: crossed(&mut leg) });
        leg.close_now();
        reason
    }
}

/// Says what is wrong, as far as the kernel takes it now: the h2 crate lets a client say only that nothing is.
fn say_why<S: Socket>(leg: &mut MultiplexLeg<S>) {
    if matches!(leg.machine().intent(), Intent::Abort(_)) {
        return;
    }
    // Where something is left of what the engine has written, it may end amid a frame, and nothing is taken now.
    if let Some(goaway) = leg.machine().unsaid_goaway().filter(|_| !leg.has_unsent()) {
        let now = leg.context().clock.now();
        let _ = leg.write(&mut Context::from_waker(Waker::noop()), now, &[&goaway.frame()]);
    }
}

fn crossed<S: Socket>(leg: &mut MultiplexLeg<S>) -> Crossed {
    let bytes_in = leg.bytes_in();
    let watch = leg.machine().watch();
    Crossed { last_opened: watch.last_opened(), goaway: watch.peer_goaway(), bytes_in }
}
