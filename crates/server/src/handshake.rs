//! From accept to a connection that can carry HTTP: under a deadline, a bound, and through a drain.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sheave_lifecycle::arriving::Arriving;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::limit::{Limit, Overflow};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::{HandshakeFailed, Observer};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_net::alarm::Alarm;
use sheave_net::drain::DrainWatch;
use sheave_net::handshake::HandshakeError;
use sheave_net::leg::{Ends, Leg};
use sheave_net::socket::Socket;

use crate::accepting::Admitted;
use crate::admission::ClientPlace;
use crate::http1::ServerLeg;
use crate::shared::Shared;

/// A connection that can carry HTTP.
pub(crate) struct Arrived<S: Socket> {
    /// The connection, as one of HTTP/1 until more is known.
    pub(crate) leg: ServerLeg<S>,
    /// What wakes it.
    pub(crate) alarm: Alarm,
    /// How it hears of a drain.
    pub(crate) watch: DrainWatch,
    /// The limit by which it is turned away, with an answer.
    pub(crate) refused_by: Option<Limit>,
    /// Its client's place for it.
    pub(crate) client: ClientPlace,
}

/// Takes a connection from accept to the moment in which it can carry HTTP.
///
/// # Errors
/// Why it ended before, and in which phase.
pub(crate) async fn arrive<S: Socket, H>(
    admitted: Box<Admitted<S>>,
    shared: &Shared<H>,
) -> Result<Arrived<S>, (CloseReason, Phase)> {
    let (mut alarm, mut watch) = (Alarm::default(), shared.drain.watch());
    let Admitted { accepted, mut client, mut refused_by } = *admitted;
    let (context, clock) = (shared.context.clone(), shared.context.clock);
    let ends = Ends { side: Side::Downstream, peer: accepted.peer, local: accepted.local };
    if accepted.socket.is_plain() {
        let machine = shared.begin(refused_by, clock.now());
        let leg = Leg::open(machine, accepted.socket, ends, context, clock.now());
        return Ok(Arrived { leg, alarm, watch, refused_by, client });
    }
    let is_named_now = accepted.socket.awaits_peer();
    let patience = if refused_by.is_some() { context.linger.timeout } else { Duration::MAX };
    let machine = Arriving::new(clock.now(), shared.config.handshake_timeout.min(patience));
    let mut leg = Leg::open(machine, accepted.socket, ends, context, clock.now());
    if !shake_hands(&mut leg, shared, &mut alarm, &mut watch).await {
        return Err(leg.close(&mut alarm, &mut watch).await);
    }
    if is_named_now && refused_by.is_none() {
        // What a limit counts is the client, and not a proxy that stands before us.
        client = match shared.admission.connection_of(leg.peer().map(|peer| peer.ip())) {
            Ok(place) => place,
            Err(limit) => {
                shared.context.observer.refused(limit.label());
                if shared.config.over_limit.decide(limit) == Overflow::Close {
                    leg.machine_mut().end(Intent::Close(CloseReason::Refused(limit.label())));
                    return Err(leg.close(&mut alarm, &mut watch).await);
                }
                refused_by = Some(limit);
                ClientPlace::none()
            }
        };
    }
    let machine = shared.begin(refused_by, clock.now());
    Ok(Arrived { leg: leg.turn(machine), alarm, watch, refused_by, client })
}

/// Makes a connection ready to carry HTTP; `false` when it never will be, and its machine says why.
///
/// What is here already needs no place among the handshakes under way; who has to be waited for does.
async fn shake_hands<S: Socket, H>(
    leg: &mut Leg<Arriving, S>,
    shared: &Shared<H>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
) -> bool {
    let at_once = poll_fn(|cx| Poll::Ready(leg.socket_mut().poll_handshake(cx))).await;
    let shaken = match at_once {
        Poll::Ready(shaken) => shaken,
        Poll::Pending => {
            let place = match shared.handshakes.try_acquire() {
                Ok(place) => Ok(place),
                Err(_) => match shared.config.over_limit.decide(Limit::Handshakes) {
                    Overflow::Wait => {
                        shared.context.observer.held_back(Limit::Handshakes.label());
                        let mut place = pin!(shared.handshakes.acquire());
                        match until(leg, alarm, watch, |_, cx| place.as_mut().poll(cx)).await {
                            Some(place) => place.map_err(|_| CloseReason::Bug("handshakes-closed")),
                            None => return false,
                        }
                    }
                    Overflow::Answer | Overflow::Close => {
                        shared.context.observer.refused(Limit::Handshakes.label());
                        Err(CloseReason::Refused(Limit::Handshakes.label()))
                    }
                },
            };
            let _place = match place {
                Ok(place) => place,
                Err(reason) => {
                    leg.machine_mut().end(Intent::Close(reason));
                    return false;
                }
            };
            match until(leg, alarm, watch, |socket, cx| socket.poll_handshake(cx)).await {
                Some(shaken) => shaken,
                None => return false,
            }
        }
    };
    match shaken {
        Ok(()) => {
            leg.identify();
            if let Some(secured) = leg.socket().secured() {
                shared.context.observer.secured(Side::Downstream, &secured.told());
            }
        }
        Err(error) => {
            let (label, detail) = (error.label(), error.detail());
            let failed = HandshakeFailed { side: Side::Downstream, peer: leg.peer(), label, detail };
            shared.context.observer.handshake_failed(&failed);
            leg.machine_mut().end(after(&error));
        }
    }
    leg.machine().intent() == Intent::Continue
}

/// What becomes of a connection whose handshake failed: what its peer was told is to arrive.
fn after(error: &HandshakeError) -> Intent {
    match error {
        HandshakeError::Io(_) => Intent::Abort(error.close_reason()),
        HandshakeError::Closed => Intent::Close(error.close_reason()),
        _ => Intent::Linger(error.close_reason()),
    }
}

/// Polls until there is a value, the handshake's time is over, or a drain is forced: then the machine says so.
async fn until<S: Socket, T>(
    leg: &mut Leg<Arriving, S>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
    mut poll: impl FnMut(&mut S, &mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let clock = leg.context().clock;
    poll_fn(|cx| {
        watch.register(cx);
        if let Poll::Ready(value) = poll(leg.socket_mut(), cx) {
            return Poll::Ready(Some(value));
        }
        let forced = watch.drain().forcing_at().map(|at| Deadline { at, timer: Timer::Drain });
        let Some(next) = Deadline::earlier(leg.machine().deadline(true), forced) else { return Poll::Pending };
        alarm.poll(cx, clock, clock.now(), Some(next.at)).map(|()| {
            match next.timer {
                Timer::Drain => leg.machine_mut().end(Intent::Abort(CloseReason::DrainForced)),
                timer => leg.machine_mut().expired(timer),
            }
            None
        })
    })
    .await
}
