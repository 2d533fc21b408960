//! Waits for the next request on a connection: idle, under every deadline, and through a drain.

use std::task::{Context, Poll, ready};

use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::drain::Farewell;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::drain::{DrainWatch, Urgency};
use sheave_net::leg::Received;
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::connection::Event;
use sheave_proto::head::RequestHead;

use crate::answer::Answer;
use crate::http1::ServerLeg;
use crate::http2::preface::Preface;
use crate::turnstile::Ticket;

/// What came of waiting.
pub(crate) enum Next {
    /// A request, in the box in which its exchange keeps it: it passes through many hands until then.
    Request(Box<RequestHead>),
    /// Something that is no request, and is owed an answer.
    Refused(Answer),
    /// The preface of HTTP/2. It waits to be read, as if nothing of it had been.
    Http2,
    /// The connection is over.
    Over,
}

/// What is remembered from one request to the next.
pub(crate) struct Waiting {
    /// It is still the moment since when the machine is idle: nobody has slept since then.
    is_now: bool,
    ticket: Ticket,
    preface: Option<Preface>,
    farewell: Farewell,
}

impl Waiting {
    /// Nothing has been waited for; the first request may turn out to be the `preface` of HTTP/2.
    pub(crate) fn new(preface: Option<Preface>) -> Self {
        Self { is_now: false, ticket: Ticket::new(), preface, farewell: Farewell::default() }
    }

    /// A request is waited for. It is `now`, as the clock has just said.
    pub(crate) fn begin<S: Socket>(&mut self, leg: &ServerLeg<S>, now: Time) {
        self.is_now = leg.machine().since() == now;
    }

    /// What decides which response of a drain is the last.
    pub(crate) const fn farewell(&mut self) -> &mut Farewell {
        &mut self.farewell
    }

    /// Waits for the next request.
    pub(crate) fn poll<S: Socket>(
        &mut self,
        leg: &mut ServerLeg<S>,
        alarm: &mut Alarm,
        watch: &mut DrainWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let now = match std::mem::take(&mut self.is_now) {
            true => leg.machine().since(),
            false => {
                ready!(self.poll_turn(leg, watch, cx));
                leg.context().clock.now()
            }
        };
        let next = ready!(self.poll_next(leg, alarm, watch, cx, now));
        self.preface = None;
        Poll::Ready(next)
    }

    /// Whoever begins a new request lets those in hand go first. A drain, and a round in which connections give way, wake all
    /// that are idle: those are no crowd of requests.
    fn poll_turn<S: Socket>(&mut self, leg: &ServerLeg<S>, watch: &DrainWatch, cx: &Context<'_>) -> Poll<()> {
        let drain = watch.drain();
        if !leg.machine().is_idle() || drain.is_draining() || drain.pressure().is_on() {
            return Poll::Ready(());
        }
        self.ticket.poll(cx)
    }

    fn poll_next<S: Socket>(
        &mut self,
        leg: &mut ServerLeg<S>,
        alarm: &mut Alarm,
        watch: &mut DrainWatch,
        cx: &mut Context<'_>,
        now: Time,
    ) -> Poll<Next> {
        let clock = leg.context().clock;
        let preface = &mut self.preface;
        watch.register(cx);
        loop {
            let mut came_before = None;
            let received = leg.poll_receive(cx, now, |machine, input| {
                let all = *input;
                let event = match machine.receive(input, now) {
                    Ok(event) => {
                        *preface = preface.and_then(|preface| preface.goes_on(all));
                        event
                    }
                    Err(error) => {
                        // What HTTP/1 cannot read may be another version's.
                        if let Some(read) = preface.and_then(|preface| preface.is_it(all)) {
                            came_before = Some(read);
                            *input = all;
                        }
                        return Err(error);
                    }
                };
                Ok(match event {
                    Some(Event::Head(head)) => Some(Box::new(head)),
                    _ => None,
                })
            });
            if let Some(read) = came_before {
                leg.put_back(read);
                return Poll::Ready(Next::Http2);
            }
            match received {
                Poll::Pending => break,
                Poll::Ready(Ok(Received::Bytes(Ok(None)))) => {}
                Poll::Ready(Ok(Received::Bytes(Ok(Some(head))))) => return Poll::Ready(Next::Request(head)),
                Poll::Ready(Ok(Received::Bytes(Err(error)))) => {
                    return Poll::Ready(Next::Refused(Answer::to_error(error)));
                }
                Poll::Ready(Ok(Received::End)) => {
                    // Its error is the connection's close reason already, and nobody waits for an answer.
                    let _ = leg.machine_mut().receive_end(now);
                    return Poll::Ready(Next::Over);
                }
                Poll::Ready(Err(fault)) => {
                    let reason = leg.reason_of(fault);
                    leg.machine_mut().end(Intent::Close(reason));
                    return Poll::Ready(Next::Over);
                }
            }
        }
        leg.release_buffers();
        let (idle_since, promised) = (leg.machine().since(), leg.machine().promised_until());
        if leg.machine().is_idle()
            && watch.drain().pressure().is_to_give_way(idle_since)
            && promised.is_none_or(|until| until <= now)
            && leg.socket_mut().probe() == Liveness::Alive
        {
            leg.machine_mut().end(Intent::Close(CloseReason::Shed));
            return Poll::Ready(Next::Over);
        }
        let own = leg.deadline();
        let drained = watch.drain().clock().map(|drain| {
            // An idle connection stays readable for a quiet window; half a head is given until the grace ends.
            // What its client was promised holds for it too.
            let quiet = || promised.map_or(idle_since, |until| until.max(idle_since));
            let at = if leg.machine().is_idle() { drain.idle_until(quiet()) } else { drain.forcing_at() };
            Deadline { at: watch.drain().forcing_at().map_or(at, |forcing| forcing.min(at)), timer: Timer::Drain }
        });
        let Some(next) = Deadline::earlier(own, drained) else { return Poll::Pending };
        ready!(alarm.poll(cx, clock, now, Some(next.at)));
        let is_forced = watch.drain().urgency() == Urgency::Forced;
        if leg.machine().is_idle() && !is_forced && leg.socket_mut().probe() == Liveness::Unasked {
            // The kernel has a request that the runtime has not seen: it came in time.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready({
            let machine = leg.machine_mut();
            match next.timer {
                Timer::Drain if machine.is_idle() => machine.end(Intent::Linger(CloseReason::Drained)),
                Timer::Drain => machine.end(Intent::Abort(CloseReason::DrainForced)),
                timer => machine.expired(timer),
            }
            // RFC 9110 §15.5.9: a client that began to speak is told; one that never did is not, nor one that is reset.
            if next.timer != Timer::Drain {
                machine.give_up_request();
            }
            if machine.can_answer() {
                let label = CloseReason::TimedOut(next.timer).label();
                Next::Refused(Answer::new(StatusCode::REQUEST_TIMEOUT, label))
            } else {
                Next::Over
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::io::IoSlice;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use sheave_lifecycle::observe::Silent;
    use sheave_lifecycle::phase::Side;
    use sheave_net::clock::Clock;
    use sheave_net::dial::Connect;
    use sheave_net::drain::Drain;
    use sheave_net::leg::{Ends, Leg, LegContext, LingerPlan};
    use sheave_proto::connection::Connection;
    use sheave_proto::framing::BodyLength;
    use sheave_proto::head::ResponseHead;
    use sheave_sim::plan::Plan;
    use sheave_sim::run::{Ended, run};
    use sheave_sim::socket::SimSocket;

    use super::*;

    const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

    async fn next_request(leg: &mut ServerLeg<SimSocket>, watch: &mut DrainWatch) -> Next {
        let (mut waiting, mut alarm) = (Waiting::new(None), Alarm::default());
        waiting.begin(leg, leg.context().clock.now());
        poll_fn(|cx| waiting.poll(leg, &mut alarm, watch, cx)).await
    }

    /// Waits for a request that does not come.
    async fn wait_in_vain(leg: &mut ServerLeg<SimSocket>, watch: &mut DrainWatch) {
        let mut waiting = pin!(next_request(leg, watch));
        let is_waiting = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
        assert!(is_waiting);
    }

    #[test]
    fn an_idle_connection_owns_no_buffer() {
        let record = run(&Plan::calm("idle"), |net| async move {
            let mut listener = net.listen(FRONT);
            let client = net.client().connect(&FRONT.into()).await.expect("somebody listens");
            let clock = Clock::start();
            let context = LegContext {
                clock,
                observer: Arc::new(Silent),
                write_timeout: Duration::from_secs(1),
                linger: LingerPlan::default(),
            };
            let machine = Connection::new(Arc::default(), clock.now());
            let ends = Ends { side: Side::Downstream, peer: None, local: None };
            let mut leg = Leg::open(machine, listener.accept().await, ends, Arc::new(context), clock.now());
            let mut watch = Drain::default().watch();
            for _ in 0..3 {
                wait_in_vain(&mut leg, &mut watch).await;
                assert_eq!(leg.buffer_bytes(), 0);
                // More than one request, so that some of it has to be kept.
                for bytes in [b"GET / HTTP/1.1\r\nHost: o\r\n\r\nGET / HTT".as_slice(), b"P/1.1\r\nHost: o\r\n\r\n"] {
                    assert_eq!(client.write_now(&[IoSlice::new(bytes)]), Ok(bytes.len()));
                    let next = next_request(&mut leg, &mut watch).await;
                    assert!(matches!(next, Next::Request(_)));
                    let (machine, out) = leg.machine_and_outbox();
                    let head = ResponseHead::new(StatusCode::OK);
                    machine.send_head(&head, BodyLength::Known(0), out, clock.now()).expect("a response is owed");
                    assert!(leg.buffer_bytes() > 0);
                    let flushed = poll_fn(|cx| leg.poll_flush(cx, clock.now())).await;
                    assert_eq!(flushed, Ok(()));
                }
            }
            wait_in_vain(&mut leg, &mut watch).await;
            assert_eq!(leg.buffer_bytes(), 0);
            leg.machine_mut().end(Intent::Close(CloseReason::Drained));
            leg.close_now();
        });
        assert_eq!((record.ended, record.broken), (Ended::Completed, Vec::new()));
    }
}
