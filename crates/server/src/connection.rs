//! One connection from accept to close: request after request, each ended properly, and one reason at the end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::drain::Farewell;
use sheave_lifecycle::limit::{Limit, Overflow};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::{ConnectionId, MadeBy};
use sheave_lifecycle::phase::Phase;
use sheave_net::alarm::Alarm;
use sheave_net::drain::DrainWatch;
use sheave_net::leg::LegContext;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::RequestHead;
use sheave_proto::state::{Persistence, ResponseState};

use crate::accepting::Admitted;
use crate::answer::Answer;
use crate::error::HandlerError;
use crate::exchange::{Exchange, ServerLeg};
use crate::guard::{self, Guarded, IsTunnel};
use crate::handler::Handler;
use crate::handshake::{Arrived, arrive};
use crate::record::Record;
use crate::request::{Next, next_request};
use crate::shared::Shared;

/// Serves one connection to its end, and says how it ended. One that a limit refuses gets its first request answered with
/// 503, and no other.
///
/// Its future is what an idle connection costs, so it holds what that needs, and all that has more to remember is boxed for
/// as long as it lasts: one allocation for a request, which the allocator has just been given back, instead of 7 KiB for
/// each connection.
pub(crate) async fn serve<S: Socket, H: Handler<S>>(
    admitted: Box<Admitted<S>>,
    shared: Arc<Shared<H>>,
) -> (CloseReason, Phase) {
    let mut alarm = Alarm::default();
    let mut watch = shared.drain.watch();
    let Arrived { mut leg, refused_by, client } =
        match Box::pin(arrive(*admitted, &shared, &mut alarm, &mut watch)).await {
            Ok(arrived) => arrived,
            Err(ended) => return ended,
        };
    let mut farewell = Farewell::default();
    while leg.machine().intent() == Intent::Continue {
        match next_request(&mut leg, &mut alarm, &mut watch).await {
            Next::Request(head) if let Some(limit) = refused_by => {
                let machine = leg.machine_mut();
                machine.start_drain();
                machine.end(Intent::Linger(CloseReason::Refused(limit.label())));
                Box::pin(refuse(&mut leg, &Answer::over(limit), Some(&head), &mut alarm, &mut watch)).await;
            }
            Next::Request(head) => {
                Box::pin(exchange(&mut leg, head, &shared, &mut alarm, &mut watch, &mut farewell)).await;
            }
            Next::Refused(answer) => Box::pin(refuse(&mut leg, &answer, None, &mut alarm, &mut watch)).await,
            Next::Over => break,
        }
    }
    let ended = Box::pin(leg.close(&mut alarm, &mut watch)).await;
    drop(client);
    ended
}

/// One exchange, from the request's head to the moment in which the next may begin.
async fn exchange<S: Socket, H: Handler<S>>(
    leg: &mut ServerLeg<S>,
    head: RequestHead,
    shared: &Shared<H>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
    farewell: &mut Farewell,
) {
    let clock = shared.context.clock;
    let began = clock.now();
    let number = leg.machine().exchanges();
    leg.tell_moved();
    let tunnel = IsTunnel::default();
    let mut exchange = Exchange {
        leg,
        tunnel: &tunnel,
        alarm,
        drain: shared.drain.clone(),
        farewell,
        head,
        record: Record::new(began, number),
        refusal: None,
        trailers: None,
    };
    let deadline = shared.config.exchange_timeout.map(|timeout| began.after(timeout));
    let mut guard_alarm = Alarm::default();
    let place = shared.admission.exchange();
    let end = match &place {
        Some(_) => {
            let handler = pin!(shared.handler.handle(&mut exchange));
            guard::run(handler, clock, deadline, &tunnel, &mut guard_alarm, watch).await
        }
        None => exchange.turn_away(shared.config.over_limit.decide(Limit::Exchanges)),
    };
    exchange.end_as(&end);
    if !matches!(end, Guarded::Forced | Guarded::TurnedAway) {
        let finished = {
            let rest = pin!(exchange.finish(shared.context.linger.max_bytes));
            guard::run(rest, clock, deadline, &tunnel, &mut guard_alarm, watch).await
        };
        match finished {
            Guarded::Forced => {
                exchange.note_error(CloseReason::DrainForced.label());
                exchange.truncate(CloseReason::DrainForced);
            }
            Guarded::TimedOut => exchange.give_up_rest(),
            Guarded::Done(_) | Guarded::Panicked | Guarded::TurnedAway => {}
        }
    }
    drop(place);
    drop(exchange);
    leg.tell_moved();
}

/// However an exchange ends, also by its task being dropped in the middle of it, it is told once how.
impl<S: Socket> Drop for Exchange<'_, S> {
    fn drop(&mut self) {
        let is_whole = self.has_answered() && !self.leg.has_unsent() && !self.record.is_cut_off;
        if !is_whole {
            self.note_error(CloseReason::Cancelled.label());
        }
        // However a tunnel ended, the request that asked for it was answered.
        let is_answered = is_whole || self.is_tunnel();
        let context = self.leg.context();
        let took = context.clock.now().since(self.record.began);
        let (id, peer) = (self.connection_id(), self.peer());
        let encryption = self.leg.socket().secured().map(Secured::told);
        self.record.tell(&*context.observer, id, peer, encryption, Some(&self.head), is_answered, took);
    }
}

impl<S: Socket> Exchange<'_, S> {
    /// There is no room for this exchange: it is answered, or its connection closed.
    fn turn_away(&mut self, overflow: Overflow) -> Guarded {
        let limit = Limit::Exchanges;
        self.leg.context().observer.refused(limit.label());
        if overflow == Overflow::Close {
            self.note_error(limit.label());
            self.leg.machine_mut().end(Intent::Close(CloseReason::Refused(limit.label())));
            return Guarded::TurnedAway;
        }
        self.answer(&Answer::over(limit));
        Guarded::Done(Ok(()))
    }

    /// The exchange's deadline passed when its response had been given in whole, but not taken, or not asked for.
    fn give_up_rest(&mut self) {
        let reason = CloseReason::TimedOut(Timer::Exchange);
        self.note_error("exchange-timeout");
        if self.leg.has_unsent() {
            self.leg.give_up(reason);
        }
        self.leg.machine_mut().end(Intent::Linger(reason));
    }

    /// What the handler left undone is done for it.
    fn end_as(&mut self, end: &Guarded) {
        let (cause, status, reason) = match end {
            Guarded::Done(Ok(())) => ("no-response", StatusCode::INTERNAL_SERVER_ERROR, CloseReason::HandlerFailed),
            // RST, or a peer that takes nothing: there is nobody to answer.
            Guarded::Done(Err(HandlerError::Client)) if matches!(self.leg.machine().intent(), Intent::Abort(_)) => {
                return;
            }
            Guarded::Done(Err(HandlerError::Client)) => {
                let refusal = self.refusal.unwrap_or(Answer::new(StatusCode::BAD_REQUEST, "client-gone"));
                self.answer_or_truncate(&refusal, CloseReason::OtherSide);
                return;
            }
            Guarded::Done(Err(error)) => (error.label(), StatusCode::INTERNAL_SERVER_ERROR, CloseReason::HandlerFailed),
            Guarded::Panicked => ("handler-panicked", StatusCode::INTERNAL_SERVER_ERROR, CloseReason::HandlerPanicked),
            Guarded::TimedOut => {
                ("exchange-timeout", StatusCode::GATEWAY_TIMEOUT, CloseReason::TimedOut(Timer::Exchange))
            }
            Guarded::TurnedAway => return,
            Guarded::Forced => {
                self.leg.machine_mut().end(Intent::Abort(CloseReason::DrainForced));
                self.note_error("drain-forced");
                return;
            }
        };
        let is_panic = matches!(end, Guarded::Panicked);
        if self.has_answered() && !is_panic {
            return;
        }
        if is_panic {
            self.leg.machine_mut().make_last();
            self.leg.machine_mut().end(Intent::Linger(reason));
        }
        self.answer_or_truncate(&Answer::new(status, cause), reason);
    }

    fn answer_or_truncate(&mut self, answer: &Answer, reason: CloseReason) {
        if self.can_answer() {
            self.answer(answer);
        } else if !self.has_answered() {
            self.note_error(answer.cause);
            self.truncate(reason);
        }
    }

    /// Writes what is owed, and reads what is left of the request, up to a bound.
    async fn finish(&mut self, max_discarded: u64) -> Result<(), HandlerError> {
        self.flush().await?;
        self.leg.rest();
        let mut discarded = 0;
        while !self.has_whole_request() && self.leg.machine().intent() == Intent::Continue {
            // RFC 9112 §9.6: where nothing follows it, or where it is long, the rest is neither read nor waited for. It
            // may never come, from a client that waits for a 100; but the answer must arrive.
            if self.is_tunnel() {
                // We have ended our direction of a tunnel, and nobody listens to the client's any more.
                self.leg.machine_mut().end(Intent::Linger(CloseReason::Upgraded));
                break;
            }
            let is_last = self.leg.machine().state().persistence == Persistence::Close;
            if is_last || discarded > max_discarded {
                self.leg.machine_mut().end(Intent::Linger(CloseReason::EarlyResponse));
                break;
            }
            discarded += poll_fn(|cx| {
                let now = self.clock().now();
                match self.poll_body_with(cx, now, |batch| batch.len() as u64) {
                    Poll::Pending => self.poll_deadline(cx, now, None).map(|_| Err(HandlerError::Client)),
                    ready => ready,
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// Answers something that is no request, or is not looked at: the connection ends with it.
async fn refuse<S: Socket>(
    leg: &mut ServerLeg<S>,
    answer: &Answer,
    request: Option<&RequestHead>,
    alarm: &mut Alarm,
    watch: &mut DrainWatch,
) {
    let clock = leg.context().clock;
    let now = clock.now();
    let (mut head, body) = answer.render(request);
    let mut record = Record::new(now, leg.machine().exchanges());
    record.made_by = MadeBy::Us;
    record.error = Some(answer.cause);
    let date = sheave_proto::date::imf_fixdate(clock.unix_seconds());
    let _ = head.fields_mut().push(sheave_proto::known::Known::Date, &date);
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

/// A request that was refused, told when it is dropped.
struct Refusal<'r> {
    context: Arc<LegContext>,
    record: Record,
    id: ConnectionId,
    peer: Option<SocketAddr>,
    secured: Option<Secured>,
    request: Option<&'r RequestHead>,
    is_whole: bool,
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        let took = self.context.clock.now().since(self.record.began);
        let encryption = self.secured.as_ref().map(Secured::told);
        let observer = &*self.context.observer;
        self.record.tell(observer, self.id, self.peer, encryption, self.request, self.is_whole, took);
    }
}
