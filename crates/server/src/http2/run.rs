//! One stream, from its request's head to its end, as a future within its connection's task.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::Request;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::limit::Limit;
use sheave_lifecycle::observe::MadeBy;
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::socket::Socket;
use sheave_proto::error::ProtocolError;
use sheave_proto::framing::BodyLength;
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::known::Known;
use sheave_proto::stream::Stream;

use crate::answer::Answer;
use crate::carrier::Carrier;
use crate::date::date_at;
use crate::error::HandlerError;
use crate::exchange::Exchange;
use crate::guard::{self, Guarded};
use crate::handler::Handler;
use crate::http2::link::Link;
use crate::http2::stream::{Http2, Outlet};
use crate::record::{Record, Refusal};
use crate::shared::Shared;

/// A stream that has ended.
pub(crate) struct Ended {
    /// The end of a drain's grace cut it off.
    pub(crate) was_forced: bool,
}

/// A stream that a client opened.
pub(crate) struct Opened {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
    /// Which exchange of its connection it is, from 1.
    pub(crate) number: u64,
    /// When.
    pub(crate) at: Time,
    pub(crate) link: Arc<Link>,
}

/// Serves one stream. One that a limit refuses is answered with 503.
///
/// Its handler runs under guard, and ends when the client resets the stream: neighbours notice nothing of either.
pub(crate) async fn run<S: Socket, H: Handler<S>>(
    opened: Opened,
    refused_by: Option<Limit>,
    shared: &Shared<H>,
) -> Ended {
    let Opened { request, respond, number, at: began, link } = opened;
    let clock = shared.context.clock;
    let (parts, incoming) = request.into_parts();
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    let is_end = incoming.is_end_stream();
    let outlet = Arc::new(Outlet::new(respond));
    let (machine, head) = match Stream::open(shared.connection.clone(), &parts, protocol, is_end, began) {
        Ok(opened) => opened,
        Err(error) => {
            let mut refusal = Refusal {
                context: link.context.clone(),
                record: Record::new(began, number),
                id: link.id,
                peer: link.peer,
                secured: link.secured.clone(),
                request: None,
                is_whole: false,
            };
            refusal.record.made_by = MadeBy::Us;
            refusal.record.error = Some(error.label());
            if error.resets_stream() {
                outlet.reset(ErrorCode::Protocol);
                return Ended { was_forced: false };
            }
            let machine = Stream::unread(shared.connection.clone(), &parts.method, is_end, began);
            let mut stream = Http2::new(machine, link, incoming, outlet.clone(), began);
            return refuse(&mut stream, error, &mut refusal, shared).await;
        }
    };
    drop(parts);
    let mut stream = Http2::new(machine, link.clone(), incoming, outlet.clone(), began);
    let course = stream.course.clone();
    let (mut alarm, mut guard_alarm, mut watch) = (Alarm::default(), Alarm::default(), shared.drain.watch());
    let mut exchange = Exchange {
        carrier: Carrier::Http2(&mut stream),
        alarm: &mut alarm,
        head: Box::new(head),
        record: Record::new(began, number),
        refusal: None,
        trailers: None,
    };
    let deadline = shared.config.exchange_timeout.map(|timeout| began.after(timeout));
    let gone = |cx: &mut std::task::Context<'_>| outlet.poll_reset(cx).map(drop);
    // The framing layer learns of a write that failed by none of its own.
    let unwanted = |cx: &mut std::task::Context<'_>| match link.fate() {
        Some(_) => std::task::Poll::Ready(()),
        None => gone(cx),
    };
    let place = if refused_by.is_none() { shared.admission.exchange() } else { None };
    let end = match (refused_by, &place) {
        (Some(limit), _) => {
            exchange.answer(&Answer::over(limit));
            Guarded::Done(Ok(()))
        }
        (None, Some(_)) => {
            let handling = pin!(shared.handler.handle(&mut exchange));
            guard::run(handling, clock, deadline, &course, &mut guard_alarm, &mut watch, unwanted).await
        }
        (None, None) => exchange.turn_away(shared.config.over_limit.decide(Limit::Exchanges)),
    };
    exchange.end_as(&end);
    let mut was_forced = matches!(end, Guarded::Forced);
    if !matches!(end, Guarded::Forced | Guarded::TurnedAway | Guarded::Gone) {
        let mut rest = {
            let finishing = pin!(exchange.finish(0));
            guard::run(finishing, clock, deadline, &course, &mut guard_alarm, &mut watch, gone).await
        };
        if matches!(rest, Guarded::Done(Ok(()))) {
            // All is on its way; what stops it there is the connection's to see to.
            let leaving = pin!(exchange.left());
            rest = guard::run(leaving, clock, None, &course, &mut guard_alarm, &mut watch, gone).await;
        }
        match rest {
            Guarded::Forced => {
                was_forced = true;
                exchange.note_error(CloseReason::DrainForced.label());
                exchange.truncate(CloseReason::DrainForced);
            }
            Guarded::TimedOut => exchange.give_up_rest(),
            Guarded::Gone => exchange.note_gone(),
            Guarded::Done(_) | Guarded::Panicked | Guarded::TurnedAway => {}
        }
    }
    drop(place);
    drop(exchange);
    stream.reset_if_given_up();
    Ended { was_forced }
}

/// Answers a request whose head is not acceptable, and can be told so.
async fn refuse<H>(stream: &mut Http2, error: ProtocolError, refusal: &mut Refusal<'_>, shared: &Shared<H>) -> Ended {
    let clock = shared.context.clock;
    let now = clock.now();
    let (mut head, body) = Answer::to_error(error).render(None);
    let _ = head.fields_mut().push_text(Known::Date, [date_at(clock, now).as_text()]);
    let length = BodyLength::Known(body.len() as u64);
    if stream.send_head(&head, length, now).is_ok() {
        refusal.record.status = head.status().as_u16();
        if stream.add_whole_body(body.as_bytes(), now).is_ok() {
            refusal.record.response_bytes = body.len() as u64;
        }
        let (mut alarm, mut guard_alarm, mut watch) = (Alarm::default(), Alarm::default(), shared.drain.watch());
        let (outlet, course) = (stream.outlet.clone(), stream.course.clone());
        let gone = |cx: &mut std::task::Context<'_>| outlet.poll_reset(cx).map(drop);
        let end = {
            let leaving = pin!(stream.leave(&mut alarm));
            guard::run(leaving, clock, None, &course, &mut guard_alarm, &mut watch, gone).await
        };
        refusal.is_whole = matches!(end, Guarded::Done(Ok(())));
        if matches!(end, Guarded::Forced) {
            stream.truncate(CloseReason::DrainForced);
            stream.reset_if_given_up();
            return Ended { was_forced: true };
        }
    }
    stream.reset_if_given_up();
    Ended { was_forced: false }
}

impl<S: Socket> Exchange<'_, S> {
    /// Waits until the kernel has all of the response. Its connection sees to it that this is not for ever.
    async fn left(&mut self) -> Result<(), HandlerError> {
        if let Carrier::Http2(stream) = &mut self.carrier {
            std::future::poll_fn(|cx| stream.poll_left(cx)).await;
        }
        Ok(())
    }
}

impl Http2 {
    /// Waits until all that is owed has left.
    async fn leave(&mut self, alarm: &mut Alarm) -> Result<(), HandlerError> {
        std::future::poll_fn(|cx| {
            let clock = self.context().clock;
            let now = clock.now();
            if self.poll_flush(cx, now).map_err(|_| HandlerError::Client)?.is_ready() {
                return self.poll_left(cx).map(Ok);
            }
            let Some(deadline) = self.deadline() else { return std::task::Poll::Pending };
            std::task::ready!(alarm.poll(cx, clock, now, Some(deadline.at)));
            if self.expire(deadline.timer, deadline.at.max(now)) {
                return std::task::Poll::Ready(Err(HandlerError::Client));
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await
    }
}
