//! One HTTP/2 connection: its framing layer and all of its streams in one task, under the deadlines of the connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::server::Connection;
use h2::{Ping, PingPong, Reason};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::limit::Limit;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::drain::DrainWatch;
use sheave_net::leg::Leg;
use sheave_net::socket::Socket;
use sheave_net::wire::{Lent, Wire};
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::multiplex::{Multiplex, Order};
use sheave_proto::role::Server;

use crate::handler::Handler;
use crate::http2::crew::Crew;
use crate::http2::engine::{builder, verdict};
use crate::http2::link::Link;
use crate::http2::run::{Ended, Opened, run};
use crate::shared::Shared;

type ServerWire<S> = Wire<Multiplex<Server>, S>;
type Engine<S> = Connection<Lent<Multiplex<Server>, S>, Bytes>;

/// How often a task goes round before others get their turn.
const MAX_ROUNDS: u32 = 32;

/// Why a connection's streams are over.
enum Over {
    /// Its machine has said so.
    Intended,
    /// The framing layer has ended, by itself or because the client has.
    Ended,
    /// The grace of a drain has.
    Forced,
}

/// Serves an HTTP/2 connection to its end, and says how it ended. One that a limit refuses has its streams answered with 503
/// until its client knows that there will be no others.
pub(crate) async fn serve<S: Socket, H: Handler<S>>(
    leg: Leg<Multiplex<Server>, S>,
    shared: &Shared<H>,
    refused_by: Option<Limit>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
) -> (CloseReason, Phase) {
    let secured = leg.socket().secured().cloned();
    let link = Arc::new(Link::new(leg.context().clone(), leg.id(), (leg.peer(), leg.local()), secured));
    let (wire, lent) = leg.lend();
    if let Some(limit) = refused_by {
        wire.with(|leg| leg.machine_mut().retire(CloseReason::Refused(limit.label())));
    }
    let handshake = builder(&shared.connection).handshake(lent);
    if let Some(engine) = begin(&wire, handshake, alarm, watch).await {
        live(&wire, engine, &link, shared, refused_by, alarm, watch).await;
    }
    wire.close(alarm, watch).await
}

/// Waits for the client's preface; `None` when it does not come, and the machine says why.
async fn begin<S: Socket>(
    wire: &ServerWire<S>,
    handshake: impl Future<Output = Result<Engine<S>, h2::Error>>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
) -> Option<Engine<S>> {
    let mut handshake = pin!(handshake);
    let clock = wire.with(|leg| leg.context().clock);
    let since = clock.now();
    poll_fn(|cx| {
        watch.register(cx);
        let shaken = handshake.as_mut().poll(cx);
        // Where that fails, the machine says so.
        let _ = wire.poll_send(cx, clock.now());
        match shaken {
            _ if is_intended(wire) => return Poll::Ready(None),
            Poll::Ready(Ok(engine)) => return Poll::Ready(Some(engine)),
            Poll::Ready(Err(_)) => {
                wire.with(|leg| {
                    let has_ended = leg.has_ended();
                    let machine = leg.machine_mut();
                    if has_ended {
                        machine.receive_end();
                    }
                    // What the kernel said is the machine's already; what else there is, is not the preface.
                    machine.end(Intent::Linger(CloseReason::Protocol("http2-preface")));
                });
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        let drained = drained_at(watch, since).map(|at| Deadline { at, timer: Timer::Drain });
        let next = Deadline::earlier(wire.with(|leg| leg.deadline()), drained);
        let Some(next) = next else { return Poll::Pending };
        alarm.poll(cx, clock, clock.now(), Some(next.at)).map(|()| {
            wire.with(|leg| match next.timer {
                Timer::Drain => leg.machine_mut().end(Intent::Linger(CloseReason::Drained)),
                timer => leg.machine_mut().expired(timer),
            });
            None
        })
    })
    .await
}

/// When a drain ends a connection on which nothing is under way.
fn drained_at(watch: &DrainWatch, idle_since: Time) -> Option<Time> {
    let idle_until = watch.drain().clock().map(|drain| drain.idle_until(idle_since));
    [idle_until, watch.drain().forcing_at()].into_iter().flatten().min()
}

/// Lives until nothing is under way and nothing more is to come. Leaves it to the machine to say how it ended.
async fn live<S: Socket, H: Handler<S>>(
    wire: &ServerWire<S>,
    mut engine: Engine<S>,
    link: &Arc<Link>,
    shared: &Shared<H>,
    refused_by: Option<Limit>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
) {
    let clock = shared.context.clock;
    let mut streams = Crew::new();
    let mut life = Life { pings: engine.ping_pong(), idle_since: clock.now(), is_overdue: false, lost: 0 };
    let over = poll_fn(|cx| {
        watch.register(cx);
        for _ in 0..MAX_ROUNDS {
            let now = clock.now();
            let mut ended = None;
            if streams.takes_host() && !is_intended(wire) {
                ended = accept(wire, &mut engine, link, &mut life, &mut streams, now, |opened| {
                    Box::pin(run(opened, refused_by, shared))
                });
                // All that streams had ready by now leaves in one write.
                send(wire, link, streams.host(), now);
            }
            let is_over = ended.is_some();
            if let Some(error) = ended {
                // What has left is told as such; what has not never will.
                wire.with(|leg| note_end(leg, error.as_ref(), link));
            } else if life.look(wire, &mut engine, watch, streams.is_empty(), now) {
                streams.host().wake_by_ref();
            }
            let is_intended = !is_over && is_intended(wire);
            if is_intended {
                // Streams that have only just been opened learn of it, too, and that nobody waits for them.
                link.end(wire.with(|leg| leg.machine().intent().reason()).unwrap_or(CloseReason::Cancelled));
            }
            let mut has_ended_some = false;
            streams.round(|ended| {
                life.ended(&ended, wire, watch, now);
                has_ended_some = true;
            });
            if is_over {
                return Poll::Ready(Over::Ended);
            }
            if is_intended {
                return Poll::Ready(Over::Intended);
            }
            if life.is_forced(watch, streams.is_empty(), now) {
                return Poll::Ready(Over::Forced);
            }
            // With the last stream the connection may end.
            if has_ended_some || streams.is_awake(cx) {
                continue;
            }
            let next = life.next(wire, watch, streams.is_empty());
            match alarm.poll(cx, clock, now, next) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    match over {
        Over::Forced => {
            link.end(CloseReason::DrainForced);
            // One of them is told of by the connection's own end.
            watch.drain().count_lost((life.lost + streams.len() as u64).saturating_sub(1));
            drop(streams);
            let is_told = poll_fn(|cx| {
                // First the ends of streams, which the end of all would swallow.
                let _ = engine.poll_closed(cx);
                engine.abrupt_shutdown(Reason::NO_ERROR);
                Poll::Ready(engine.poll_closed(cx).is_ready())
            })
            .await;
            // Each stream was cut off by its own: where the client can know it, the connection need not be.
            let reason = CloseReason::DrainForced;
            let intent = if is_told { Intent::Close(reason) } else { Intent::Abort(reason) };
            wire.with(|leg| leg.machine_mut().end(intent));
        }
        Over::Intended | Over::Ended => {
            let reason = wire.with(|leg| {
                let (has_ended, machine) = (leg.has_ended(), leg.machine_mut());
                // What the framing layer has sent last may have settled it.
                machine.order(clock.now());
                if has_ended {
                    machine.receive_end();
                }
                machine.end(Intent::Abort(CloseReason::Bug("http2-engine-ended")));
                machine.intent().reason()
            });
            link.end(reason.unwrap_or(CloseReason::Cancelled));
            drop(streams);
            part(wire, &mut engine, alarm, watch).await;
        }
    }
}

/// Has the framing layer read and write what it can, and begins the streams that clients have opened. How it has ended, if it
/// has.
fn accept<S: Socket, F: Future<Output = Ended>>(
    wire: &ServerWire<S>,
    engine: &mut Engine<S>,
    link: &Arc<Link>,
    life: &mut Life,
    streams: &mut Crew<F>,
    now: Time,
    begin: impl Fn(Opened) -> Pin<Box<F>>,
) -> Option<Option<h2::Error>> {
    loop {
        match engine.poll_accept(&mut Context::from_waker(streams.host())) {
            Poll::Ready(Some(Ok((request, mut respond)))) => {
                if life.is_overdue {
                    // The client had been told, and had time to hear it. This one can be sent elsewhere.
                    respond.send_reset(Reason::REFUSED_STREAM);
                    continue;
                }
                let number = wire.with(|leg| {
                    leg.machine_mut().open_stream(now);
                    leg.tell_moved();
                    leg.machine().exchanges()
                });
                streams.push(begin(Opened { request, respond, number, at: now, link: link.clone() }));
            }
            Poll::Ready(Some(Err(error))) => return Some(Some(error)),
            Poll::Ready(None) => return Some(None),
            Poll::Pending => return None,
        }
    }
}

/// Whether the machine has said that the connection ends.
fn is_intended<S: Socket>(wire: &ServerWire<S>) -> bool {
    wire.with(|leg| leg.machine().intent()) != Intent::Continue
}

/// Gives the kernel what the framing layer has written, and tells whoever waits for that.
fn send<S: Socket>(wire: &ServerWire<S>, link: &Link, host: &Waker, now: Time) {
    match wire.poll_send(&mut Context::from_waker(host), now) {
        Poll::Pending => link.stalled(now),
        Poll::Ready(Ok(())) => link.flushed(),
        Poll::Ready(Err(_)) => {
            if let Some(reason) = wire.with(|leg| leg.machine().intent().reason()) {
                link.end(reason);
            }
        }
    }
}

/// Notes why the framing layer has ended: its own verdict, or the client's end. Otherwise it is as was agreed.
fn note_end<S: Socket>(leg: &mut Leg<Multiplex<Server>, S>, error: Option<&h2::Error>, link: &Link) {
    let (has_ended, machine) = (leg.has_ended(), leg.machine_mut());
    if let Some(reason) = error.and_then(verdict) {
        // Its GOAWAY may have said more than its error does.
        machine.note_verdict(reason);
    } else if has_ended && machine.streams() > 0 {
        machine.receive_end();
    }
    if let Some(reason) = machine.intent().reason() {
        link.end(reason);
    }
}

/// Says why, if that can be said, and gives the kernel what is owed, for as long as that may take.
async fn part<S: Socket>(wire: &ServerWire<S>, engine: &mut Engine<S>, alarm: &mut Alarm, watch: &mut DrainWatch) {
    let (intent, code) = wire.with(|leg| (leg.machine().intent(), leg.machine().goaway_code()));
    if matches!(intent, Intent::Abort(_)) {
        return;
    }
    engine.abrupt_shutdown(Reason::from(code.unwrap_or(ErrorCode::None).number()));
    let clock = wire.with(|leg| leg.context().clock);
    poll_fn(|cx| {
        watch.register(cx);
        if engine.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        let stalled = wire.with(|leg| leg.deadline());
        let forced = watch.drain().forcing_at().map(|at| Deadline { at, timer: Timer::Drain });
        let Some(next) = Deadline::earlier(stalled, forced) else { return Poll::Pending };
        alarm.poll(cx, clock, clock.now(), Some(next.at)).map(|()| {
            let reason = match next.timer {
                Timer::Drain => CloseReason::DrainForced,
                timer => CloseReason::TimedOut(timer),
            };
            wire.with(|leg| leg.give_up(reason));
        })
    })
    .await;
}

/// What a connection's task remembers from round to round.
struct Life {
    pings: Option<PingPong>,
    /// Since when no stream is under way.
    idle_since: Time,
    /// The client should know by now that nothing more is taken; a stream that it opens is refused.
    is_overdue: bool,
    /// Exchanges that the end of a grace cut off.
    lost: u64,
}

impl Life {
    /// Does what is due for the connection as a whole; says whether the framing layer has something to send for it.
    fn look<S: Socket>(
        &mut self,
        wire: &ServerWire<S>,
        engine: &mut Engine<S>,
        watch: &DrainWatch,
        is_idle: bool,
        now: Time,
    ) -> bool {
        let drain = watch.drain();
        let order = wire.with(|leg| {
            let deadline = leg.deadline();
            let machine = leg.machine_mut();
            if let Some(deadline) = deadline.filter(|deadline| deadline.has_passed(now)) {
                machine.expired(deadline.timer);
            }
            if is_idle
                && !machine.watch().has_settings()
                && drained_at(watch, self.idle_since).is_some_and(|at| at <= now)
            {
                // There is nobody to announce it to.
                machine.end(Intent::Linger(CloseReason::Drained));
            } else if drain.is_draining() && !is_idle {
                // What is under way ends it; that is no wait for an idle connection.
                machine.retire(CloseReason::Agreed);
            } else if is_idle && drained_at(watch, self.idle_since).is_some_and(|at| at <= now) {
                machine.start_drain();
            } else if is_idle && drain.pressure().is_to_give_way(self.idle_since) {
                machine.retire(CloseReason::Shed);
            }
            machine.order(now)
        });
        match order {
            Some(Order::Announce) => engine.graceful_shutdown(),
            Some(Order::Finish) => self.is_overdue = true,
            Some(Order::Ping) => self.ping(),
            None => return false,
        }
        true
    }

    fn ping(&mut self) {
        let Some(pings) = &mut self.pings else { return };
        // The answer to the one before is taken note of here; the machine has seen it go by.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = pings.poll_pong(&mut cx);
        // Fails where that one is still unanswered, which is what is to be found out.
        let _ = pings.send_ping(Ping::opaque());
    }

    fn ended<S: Socket>(&mut self, ended: &Ended, wire: &ServerWire<S>, watch: &DrainWatch, now: Time) {
        self.idle_since = now;
        if ended.was_forced {
            // It was under way to the end, and so was the connection.
            self.lost += 1;
            return;
        }
        let is_wanted = watch.drain().pressure().is_on();
        wire.with(|leg| {
            let machine = leg.machine_mut();
            machine.close_stream(now);
            if is_wanted {
                // Somebody waits for the place.
                machine.retire(CloseReason::Agreed);
            }
            leg.tell_moved();
        });
    }

    /// Whether a drain's grace is over for all that is left. A stream that is no tunnel sees to its own end.
    fn is_forced(&self, watch: &DrainWatch, is_idle: bool, now: Time) -> bool {
        self.forcing_at(watch, is_idle).is_some_and(|at| at <= now)
    }

    fn forcing_at(&self, watch: &DrainWatch, is_idle: bool) -> Option<Time> {
        let drain = watch.drain();
        if is_idle { drain.forcing_at() } else { drain.tunnels_forced_at().max(drain.forcing_at()) }
    }

    /// When there is something to be done that nothing else wakes for.
    fn next<S: Socket>(&self, wire: &ServerWire<S>, watch: &DrainWatch, is_idle: bool) -> Option<Time> {
        let (own, is_going) = wire.with(|leg| (leg.deadline(), leg.machine().is_going()));
        let drained = if is_idle && !is_going { drained_at(watch, self.idle_since) } else { None };
        [own.map(|own| own.at), drained, self.forcing_at(watch, is_idle)].into_iter().flatten().min()
    }
}
