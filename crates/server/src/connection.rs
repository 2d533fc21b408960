//! One connection from accept to close: request after request, each ended properly, and one reason at the end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::limit::Limit;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::MadeBy;
use sheave_lifecycle::phase::Phase;
use sheave_net::alarm::Alarm;
use sheave_net::drain::DrainWatch;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::multiplex::Multiplex;
use sheave_proto::state::ResponseState;

use crate::accepting::Admitted;
use crate::answer::Answer;
use crate::carrier::Carrier;
use crate::date::date_at;
use crate::exchange::Exchange;
use crate::guard::{self, Course, Guarded};
use crate::handler::Handler;
use crate::handshake::{Arrived, arrive};
use crate::http1::{Http1, ServerLeg};
use crate::http2;
use crate::http2::preface::Preface;
use crate::live::Place;
use crate::record::{Record, Refusal};
use crate::request::{Next, Waiting};
use crate::shared::Shared;
use crate::turnstile;

/// Serves one connection to its end, and counts how it ended. One that a limit refuses gets its first request answered with
/// 503, and no other.
///
/// Its future is what an idle connection costs, so it holds what that needs, and all that has more to remember is boxed for
/// as long as it lasts: one allocation for a request, which the allocator has just been given back, instead of 7 KiB for
/// each connection. What came of waiting is in that box before it is waited for, or it would have a place here as well.
#[expect(clippy::manual_async_fn, reason = "an async function keeps twice what it was called with")]
pub(crate) fn serve<S: Socket, H: Handler<S>>(admitted: Box<Admitted<S>>, place: Place<H>) -> impl Future<Output = ()> {
    async move {
        let Arrived { leg, alarm, watch, refused_by, client } = match Box::pin(arrive(admitted, place.shared())).await {
            Ok(arrived) => arrived,
            Err(ended) => return place.shared().count(ended),
        };
        let mut idle = Idle { leg, alarm, watch, waiting: Waiting::new(None) };
        let is_http2 = if idle.begin(place.shared()) {
            true
        } else {
            loop {
                if idle.leg.machine().intent() != Intent::Continue {
                    break false;
                }
                // In a box, so that the connection keeps no more of it than a pointer; and what came of waiting is in no
                // variable, which would have its place until the end of the turn.
                let turn = match poll_fn(|cx| idle.poll(cx)).await {
                    Next::Http2 => break true,
                    Next::Over => break false,
                    next => boxed(|| turn(&mut idle, next, place.shared(), refused_by)),
                };
                turn.await;
            }
        };
        // What comes now has more to remember, which a connection of HTTP/1 is not to pay for while it lives.
        let ended = match is_http2 {
            true => Box::pin(idle.multiplex(place.shared(), refused_by)).await,
            false => Box::pin(idle.close()).await,
        };
        drop(client);
        place.shared().count(ended);
    }
}

/// Makes a future in its box. [`Box::pin`] would have it made on the stack and copy all of it, of which next to nothing is
/// in use before it is polled.
#[inline(always)]
fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// What a connection has while nothing happens on it.
struct Idle<S: Socket> {
    leg: ServerLeg<S>,
    alarm: Alarm,
    watch: DrainWatch,
    waiting: Waiting,
}

impl<S: Socket> Idle<S> {
    /// Begins to wait for the first request. Whether it will be one of HTTP/2, as was agreed on.
    fn begin<H>(&mut self, shared: &Shared<H>) -> bool {
        let agreed = self.leg.socket().secured().map(|secured| secured.alpn);
        // RFC 9113 §3.3: behind TLS, only what was agreed on.
        let is_by_preface = agreed.is_none() && shared.config.prior_knowledge;
        self.waiting = Waiting::new(is_by_preface.then(Preface::default));
        self.waiting.begin(&self.leg, self.leg.machine().since());
        agreed.flatten() == Some(Alpn::Http2)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.waiting.poll(&mut self.leg, &mut self.alarm, &mut self.watch, cx)
    }

    async fn multiplex<H: Handler<S>>(mut self, shared: &Shared<H>, refused_by: Option<Limit>) -> (CloseReason, Phase) {
        let config = if refused_by.is_some() { &shared.hurried } else { &shared.connection };
        let leg = self.leg.turn(Multiplex::new(config.clone(), shared.context.clock.now()));
        http2::connection::serve(leg, shared, refused_by, &mut self.alarm, &mut self.watch).await
    }

    async fn close(mut self) -> (CloseReason, Phase) {
        self.leg.close(&mut self.alarm, &mut self.watch).await
    }
}

/// What came of waiting takes its turn: mostly an exchange, from the request's head to the moment in which the next may begin.
async fn turn<S: Socket, H: Handler<S>>(idle: &mut Idle<S>, next: Next, shared: &Shared<H>, refused_by: Option<Limit>) {
    let head = match (next, refused_by) {
        (Next::Request(head), None) => head,
        (next, refused_by) => return Box::pin(refuse(idle, next, refused_by)).await,
    };
    let Idle { leg, alarm, watch, waiting } = idle;
    let (clock, began) = (shared.context.clock, leg.machine().since());
    let number = leg.machine().exchanges();
    leg.tell_moved();
    let course = Course::begin(began);
    turnstile::begin();
    {
        let carrier =
            Carrier::Http1(Http1 { leg, course: &course, drain: &shared.drain, farewell: waiting.farewell() });
        let mut exchange =
            Exchange { carrier, alarm, head, record: Record::new(began, number), refusal: None, trailers: None };
        let deadline = shared.config.exchange_timeout.map(|timeout| began.after(timeout));
        let mut guard_alarm = Alarm::default();
        let place = shared.admission.exchange();
        let end = match &place {
            Some(_) => {
                let handler = pin!(shared.handler.handle(&mut exchange));
                guard::run(handler, clock, deadline, &course, &mut guard_alarm, watch, |_| Poll::Pending).await
            }
            None => exchange.turn_away(shared.config.over_limit.decide(Limit::Exchanges)),
        };
        exchange.end_as(&end);
        // Seldom: a relay is done when all is, and what is left is mostly nothing.
        if !matches!(end, Guarded::Forced | Guarded::TurnedAway) && !exchange.is_finished() {
            let finished = {
                let rest = pin!(exchange.finish(shared.context.linger.max_bytes));
                guard::run(rest, clock, deadline, &course, &mut guard_alarm, watch, |_| Poll::Pending).await
            };
            match finished {
                Guarded::Forced => {
                    exchange.note_error(CloseReason::DrainForced.label());
                    exchange.truncate(CloseReason::DrainForced);
                }
                Guarded::TimedOut => exchange.give_up_rest(),
                Guarded::Done(_) | Guarded::Panicked | Guarded::TurnedAway | Guarded::Gone => {}
            }
        }
        // Here it is told, and not given to `drop`, which would have it moved.
    }
    turnstile::end();
    leg.tell_moved();
    waiting.begin(leg, course.now(clock));
}

/// Answers something that is no request, or is not looked at: the connection ends with it.
async fn refuse<S: Socket>(Idle { leg, alarm, watch, .. }: &mut Idle<S>, next: Next, refused_by: Option<Limit>) {
    let (answer, request) = match (next, refused_by) {
        (Next::Request(head), Some(limit)) => {
            let machine = leg.machine_mut();
            machine.start_drain();
            machine.end(Intent::Linger(CloseReason::Refused(limit.label())));
            (Answer::over(limit), Some(head))
        }
        (Next::Refused(answer), _) => (answer, None),
        _ => return,
    };
    let clock = leg.context().clock;
    let now = clock.now();
    let request = request.as_deref();
    let (mut head, body) = answer.render(request);
    let mut record = Record::new(now, leg.machine().exchanges());
    record.made_by = MadeBy::Us;
    record.error = Some(answer.cause);
    let _ = head.fields_mut().push_text(sheave_proto::known::Known::Date, [date_at(clock, now).as_text()]);
    let (machine, out) = leg.machine_and_outbox();
    let is_sent = machine.send_head(&head, BodyLength::Known(body.len() as u64), out, now).is_ok();
    if is_sent {
        record.status = head.status().as_u16();
    }
    // To HEAD the answer is whole with its head.
    if machine.state().response == ResponseState::Body
        && let Ok(wrapping) = machine.wrap(body.len(), true, None, now)
    {
        wrapping.around(&[body.as_bytes()]).iter().for_each(|part| out.extend_from_slice(part));
        record.response_bytes = body.len() as u64;
    }
    let (context, id, peer) = (leg.context().clone(), leg.id(), leg.peer());
    let secured = leg.socket().secured().cloned();
    let mut refusal = Refusal { context, record, id, peer, secured, request, is_whole: false };
    // Every refusal ends its connection; dropped meanwhile, it was not sent.
    refusal.is_whole = is_sent && leg.farewell(alarm, watch).await;
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::error::HandlerError;

    struct Nobody;

    impl<S: Socket> Handler<S> for Nobody {
        async fn handle(&self, _: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
            Ok(())
        }
    }

    fn future_size<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Every idle client has one of these in the allocation of its task, to which tokio adds 104 bytes. With a socket of 48
    /// bytes, as a proxy has, that fits into 512. What does not takes a block of 768: the allocator meets a task's alignment
    /// with a larger block where its size is no power of two.
    #[test]
    fn an_idle_connection_is_small() {
        let task = future_size(serve::<TcpStream, Nobody>) - size_of::<TcpStream>() + 48 + 104;
        assert!(task <= 512, "a connection's task has {task} bytes");
    }
}
