//! One exchange answered by a service: its future, the request's body and the response's, in one task.

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::time::Time;
use sheave_net::socket::Socket;
use sheave_proto::batch::Batch;
use sheave_proto::fields::Fields;
use sheave_proto::framing::{BodyLength, request_body};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::version::Version;

use crate::body::{BodyError, Part, RequestBody};
use crate::callee::{Callee, Once};
use crate::error::HandlerError;
use crate::exchange::{Exchange, Expired};
use crate::http_types::{fill, head_of, own_head, spare_map, trailers_of};
use crate::interim::Interim;
use crate::slot::{Demand, Slot};
use crate::upgrade::{Protocol, Upgrading};

/// How long a body that is still held after the response's end may go without being asked for.
const HELD_FOR: Duration = Duration::from_secs(5);

/// How many pieces of one part of a response go into one write without being copied.
const MAX_PIECES: usize = 16;

/// Nothing, with room for our own and for what a router adds: a table that grows when it has just been made costs as much
/// as reading a line or two.
static ROOMY: LazyLock<Extensions> = LazyLock::new(|| {
    let mut extensions = Extensions::new();
    extensions.insert(0_u8);
    extensions.insert(0_u16);
    extensions.insert(0_u32);
    extensions.insert(0_u64);
    extensions.clear();
    extensions
});

/// Answers `exchange` with what `service` makes of its request.
///
/// The request has a [`ConnectionInfo`](crate::connection_info::ConnectionInfo) among its extensions, and an
/// [`OnUpgrade`](crate::upgrade::OnUpgrade) where the client asks for one, over HTTP/2 with the [`Protocol`] that it wants to
/// speak.
/// All is done in this one task: what the service asks of the request's body is read while its future is polled, and while
/// its response is sent. A part of the response is asked for when the client has taken the one before. Where the client
/// fails, whoever reads the body is told, the service is polled once more, and dropped.
///
/// # Errors
/// What the service says; [`HandlerError::Failed`] when its response contradicts itself (`content-length-mismatch`) or its
/// body fails (`body-failed`); [`HandlerError::Client`].
///
/// # Cancel safety
/// Dropped, it drops the service's future, and ends the request's body with [`BodyError::ExchangeOver`].
pub async fn converse<S, F, B>(
    exchange: &mut Exchange<'_, S>,
    service: impl FnOnce(Request<RequestBody>) -> F,
) -> Result<(), HandlerError>
where
    S: Socket,
    F: Future<Output = Result<Response<B>, HandlerError>>,
    B: Body,
{
    converse_with(exchange, Once(service)).await
}

/// As [`converse`], with a service that has to be waited for, returns something that becomes a response, or
/// [wants an `Interim`](Callee::wants_interim) with each request.
///
/// # Errors
/// As for [`converse`].
///
/// # Cancel safety
/// As for [`converse`].
pub async fn converse_with<S: Socket, C: Callee>(
    exchange: &mut Exchange<'_, S>,
    mut callee: C,
) -> Result<(), HandlerError> {
    let feeder = Feeder::of(exchange, callee.wants_interim());
    let mut turn = Turn { now: None, has_slept: false };
    poll_fn(|cx| feeder.poll_beside(cx, exchange, &mut turn, |cx, _, _| callee.poll_ready(cx))).await??;
    let mut way = Way { length: BodyLength::None, upgrading: None, switch: None };
    let Some(request) = feeder.request(exchange, &mut way, callee.wants_interim()) else { return Ok(()) };
    let body = {
        // In a box of its own, made there: with whatever the service waits for, the exchange's would be of a size that an
        // allocator has not at hand.
        let mut call = Box::into_pin(Box::write(Box::new_uninit(), callee.call(request)));
        poll_fn(|cx| {
            let begun = feeder.poll_beside(cx, exchange, &mut turn, |cx, exchange, turn| {
                let output = ready!(call.as_mut().poll(cx));
                // Here, where it is: handed on by one future after the other, it would be moved by each.
                Poll::Ready(C::reply(output).and_then(|response| feeder.begin(exchange, turn, response, &mut way)))
            });
            if let Poll::Ready(Err(_)) = begun {
                // What its future holds may want to know that the body has failed: for its log, or to clean up.
                let _ = call.as_mut().poll(cx);
            }
            begun
        })
        .await??
    };
    // In boxes, so that those who do not switch, and those who are finished, have no place for it.
    if let Some(switching) = way.switching(exchange) {
        drop(body);
        return switching.await;
    }
    let mut response = Sending { body: pin!(body), length: way.length, has_begun: false };
    poll_fn(|cx| feeder.poll_beside(cx, exchange, &mut turn, |cx, it, turn| response.poll_send(cx, it, turn.now(it))))
        .await??;
    match exchange.is_settled() {
        true => Ok(()),
        false => Box::pin(feeder.finish(exchange)).await,
    }
}

/// Whether a response with `status` makes the connection a tunnel. RFC 9110 §7.8, §9.3.6
fn switches(method: &Method, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || *method == Method::CONNECT && status.is_success()
}

/// The time that the task has been awake, for which it looks at the clock once, and only if it must know.
struct Turn {
    now: Option<Time>,
    has_slept: bool,
}

impl Turn {
    fn now<S: Socket>(&mut self, exchange: &Exchange<'_, S>) -> Time {
        *self.now.get_or_insert_with(|| exchange.clock().now())
    }
}

/// How a response goes on once its head is written, apart from its body.
struct Way {
    length: BodyLength,
    /// What becomes of the connection if it is to switch.
    upgrading: Option<Upgrading>,
    /// It is to: with this head, which is not written yet. Seldom: in a box, so that there is a place for it and no more.
    switch: Option<Box<ResponseHead>>,
}

impl Way {
    /// What is left to do where it is to switch. Nothing comes of an upgrade that it is not to.
    fn switching<'e, 'c, S: Socket>(
        &mut self,
        exchange: &'e mut Exchange<'c, S>,
    ) -> Option<Pin<Box<impl Future<Output = Result<(), HandlerError>> + use<'e, 'c, S>>>> {
        let (upgrading, head) = (self.upgrading.take(), self.switch.take());
        Some(Box::pin(upgrading?.switch(exchange, head?)))
    }
}

/// The connection's side of what was given away with a request: its body, and the way for interim responses. Nothing where
/// there is neither. Dropped, it ends that body.
struct Feeder {
    slot: Option<Arc<Slot>>,
}

impl Drop for Feeder {
    fn drop(&mut self) {
        // Nobody is to be told where nobody holds it any more.
        if let Some(slot) = self.slot.as_ref().filter(|slot| Arc::strong_count(slot) > 1) {
            slot.fail(BodyError::ExchangeOver);
        }
    }
}

impl Feeder {
    fn of<S: Socket>(exchange: &Exchange<'_, S>, wants_interim: bool) -> Self {
        let has_body = !exchange.has_whole_request();
        let slot = (has_body || wants_interim).then(|| Arc::new(Slot::new(has_body)));
        Self { slot }
    }

    /// The request of `exchange`. `None` for one that `http` cannot hold,
    /// which is answered.
    ///
    /// Not where it is called: of what was lent there, the future would keep a place to its end.
    fn request<S: Socket>(
        &self,
        exchange: &mut Exchange<'_, S>,
        way: &mut Way,
        wants_interim: bool,
    ) -> Option<Request<RequestBody>> {
        let mut request = Request::new(self.body(exchange));
        if let Err(answer) = fill(&mut request, exchange) {
            exchange.answer(&answer);
            return None;
        }
        way.upgrading = self.extend(&mut request, exchange, wants_interim);
        Some(request)
    }

    /// The body of the request of `exchange`.
    fn body<S: Socket>(&self, exchange: &Exchange<'_, S>) -> RequestBody {
        let slot = match &self.slot {
            Some(slot) if !exchange.has_whole_request() => slot.clone(),
            _ => return RequestBody::empty(),
        };
        let len = match request_body(exchange.request()) {
            Ok(BodyLength::Known(len)) => Some(len),
            _ => None,
        };
        RequestBody::of(slot, len)
    }

    /// Gives the request what belongs to its exchange alone. Says what becomes of the connection if it is to switch.
    fn extend<S: Socket>(
        &self,
        request: &mut Request<RequestBody>,
        exchange: &Exchange<'_, S>,
        wants_interim: bool,
    ) -> Option<Upgrading> {
        let extensions = request.extensions_mut();
        *extensions = ROOMY.clone();
        extensions.insert(exchange.connection_info());
        if let Some(slot) = self.slot.as_ref().filter(|_| wants_interim) {
            extensions.insert(Interim::of(slot.clone()));
        }
        let (upgrading, on_upgrade) = Upgrading::of(exchange)?;
        if let Some(protocol) = exchange.request().protocol() {
            extensions.insert(Protocol::new(protocol));
        }
        extensions.insert(on_upgrade);
        Some(upgrading)
    }

    /// Writes the head of the service's response. Gives its body, if any is to follow.
    fn begin<S: Socket, B: Body>(
        &self,
        exchange: &mut Exchange<'_, S>,
        turn: &mut Turn,
        response: Response<B>,
        way: &mut Way,
    ) -> Result<Option<B>, HandlerError> {
        let (parts, body) = response.into_parts();
        let method = exchange.request().method();
        let is_switch = way.upgrading.is_some() && switches(method, parts.status);
        let (mut head, length) = head_of(&parts, &body.size_hint(), method)?;
        // RFC 9110 §10.1.1: a client that was not asked for its content may never send it.
        let is_uninvited = exchange.awaits_continue();
        self.send_interim(exchange)?;
        if is_switch {
            way.switch = Some(Box::new(own_head(&head).map_err(|error| HandlerError::Failed(error.label()))?));
            return Ok(None);
        }
        // However long the service has taken.
        let now = exchange.look();
        turn.now = Some(now);
        exchange.send_mapped(&mut head, length, now)?;
        spare_map(parts.headers);
        if let Some(slot) = self.slot.as_ref().filter(|_| is_uninvited) {
            slot.fail(BodyError::ExchangeOver);
        }
        way.length = length;
        Ok((!exchange.has_answered()).then_some(body))
    }

    /// What the body's reader wants, which the task is woken for if it is not there yet.
    fn demand(&self, cx: &Context<'_>) -> Demand {
        self.slot.as_ref().map_or(Demand::Over, |slot| slot.demand(cx))
    }

    /// This task looks by itself before it sleeps again.
    fn is_awake(&self) {
        if let Some(slot) = &self.slot {
            slot.is_awake();
        }
    }

    /// Does `work`, and brings the body what it asks for; again as long as that leads to more.
    fn poll_beside<S: Socket, T>(
        &self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, S>,
        turn: &mut Turn,
        mut work: impl FnMut(&mut Context<'_>, &mut Exchange<'_, S>, &mut Turn) -> Poll<T>,
    ) -> Poll<Result<T, HandlerError>> {
        if turn.has_slept {
            self.is_awake();
        }
        let now = loop {
            if let Poll::Ready(done) = work(cx, exchange, turn) {
                return Poll::Ready(Ok(done));
            }
            let now = turn.now(exchange);
            self.send_interim(exchange)?;
            match self.poll_feed(cx, exchange, now) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break now,
            }
        };
        (turn.now, turn.has_slept) = (None, true);
        let _ = exchange.poll_flush(cx, now)?;
        self.poll_expired(cx, exchange, now, None).map(|_| Err(HandlerError::Client))
    }

    /// Brings the body what it asks for. Ready when this task has asked, and can go on.
    fn poll_feed<S: Socket>(
        &self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, S>,
        now: Time,
    ) -> Poll<Result<(), HandlerError>> {
        while let Some(slot) = self.slot.as_ref().filter(|slot| slot.demand(cx) == Demand::More) {
            if exchange.awaits_continue() {
                exchange.send_head(&mut ResponseHead::new(StatusCode::CONTINUE), BodyLength::None)?;
                let _ = exchange.poll_flush(cx, now)?;
            }
            let part = match exchange.poll_body_with(cx, now, part_of) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(part)) => part,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail(exchange, error))),
            };
            if (!part.data.is_empty() || part.is_end) && slot.put(cx, part) {
                return Poll::Ready(Ok(()));
            }
        }
        // What is read ahead meanwhile, up to a bound, is how a client that is gone is seen.
        exchange.rest();
        exchange.poll_gone(cx, now).map(|error| Err(self.fail(exchange, error)))
    }

    /// Waits for the client's deadline and another. Tells the body's reader of the client's.
    fn poll_expired<S: Socket>(
        &self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, S>,
        now: Time,
        other: Option<Deadline>,
    ) -> Poll<Expired> {
        let expired = ready!(exchange.poll_deadline(cx, now, other));
        if matches!(expired, Expired::Client) {
            self.fail(exchange, HandlerError::Client);
        }
        Poll::Ready(expired)
    }

    /// Tells the body's reader that the client has failed.
    fn fail<S: Socket>(&self, exchange: &Exchange<'_, S>, error: HandlerError) -> HandlerError {
        let label = exchange.record.error.unwrap_or(error.label());
        if let Some(slot) = &self.slot {
            slot.fail(match exchange.refusal.map(|answer| answer.status) {
                Some(StatusCode::PAYLOAD_TOO_LARGE) => BodyError::TooLarge,
                Some(StatusCode::REQUEST_TIMEOUT) => BodyError::TimedOut(label),
                _ => BodyError::Client(label),
            });
        }
        error
    }

    /// Sends the interim responses that the service has given.
    fn send_interim<S: Socket>(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let Some(slot) = &self.slot else { return Ok(()) };
        for (status, fields) in slot.take_interim().into_iter().flatten() {
            if exchange.can_answer() {
                let mut head = ResponseHead::new(status);
                *head.fields_mut() = fields_of(&fields)?;
                exchange.send_head(&mut head, BodyLength::None)?;
            }
        }
        Ok(())
    }

    /// Waits until the client has the response, and serves whoever still holds the body and asks for it.
    async fn finish<S: Socket>(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        exchange.flush().await?;
        if exchange.has_whole_request() {
            return Ok(());
        }
        let mut resting = None;
        poll_fn(|cx| {
            let now = exchange.clock().now();
            self.is_awake();
            loop {
                if self.demand(cx) == Demand::More {
                    resting = None;
                }
                match self.poll_feed(cx, exchange, now) {
                    _ if exchange.has_whole_request() => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending => break,
                }
            }
            match self.demand(cx) {
                Demand::Over => return Poll::Ready(Ok(())),
                Demand::More => {}
                Demand::Rest => {
                    resting.get_or_insert(now);
                }
            }
            let held = resting.map(|since: Time| Deadline { at: since.after(HELD_FOR), timer: Timer::BodyRead });
            self.poll_expired(cx, exchange, now, held).map(|expired| match expired {
                Expired::Client => Err(HandlerError::Client),
                Expired::Other => Ok(()),
            })
        })
        .await
    }
}

/// One read's worth of a body, out of the buffer that all connections share.
fn part_of(batch: Batch<'_, RequestHead>) -> Part {
    let data = match batch.data[..] {
        [piece] => Bytes::copy_from_slice(piece),
        _ => {
            let mut data = BytesMut::with_capacity(batch.len());
            batch.data.iter().for_each(|piece| data.extend_from_slice(piece));
            data.freeze()
        }
    };
    Part { data, is_end: batch.is_end, trailers: trailers_of(batch.trailers) }
}

fn fields_of(fields: &HeaderMap) -> Result<Fields, HandlerError> {
    Fields::try_from(fields).map_err(|error| HandlerError::Failed(error.label()))
}

/// A response's body on its way, if it has one.
struct Sending<'b, B> {
    body: Pin<&'b mut Option<B>>,
    length: BodyLength,
    has_begun: bool,
}

impl<B: Body> Sending<'_, B> {
    /// Sends what is there. Ready when the response is whole, though the client may not have taken all of it.
    fn poll_send<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, S>,
        now: Time,
    ) -> Poll<Result<(), HandlerError>> {
        while let Some(mut body) = self.body.as_mut().as_pin_mut() {
            // The head waits for the first of the body, which is often here: one write for both.
            if self.has_begun {
                ready!(exchange.poll_flush(cx, now))?;
            }
            match ready!(body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(exchange.send_body(cx, now, &[], true, None)),
                Some(Err(_)) => return Poll::Ready(Err(HandlerError::Failed("body-failed"))),
                Some(Ok(frame)) => {
                    let is_end = body.is_end_stream();
                    self.send_frame(cx, exchange, now, frame, is_end)?;
                }
            }
            self.has_begun = true;
            if exchange.has_answered() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_frame<S: Socket>(
        &self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_, S>,
        now: Time,
        frame: Frame<B::Data>,
        is_end: bool,
    ) -> Result<(), HandlerError> {
        match frame.into_data() {
            Ok(data) => send_data(cx, exchange, now, data, is_end),
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return Ok(()) };
                // RFC 9112 §7.1.2: trailers need chunks, which HTTP/1.0 does not know. RFC 9110 §6.5.1: they may be left out.
                let has_room = self.length == BodyLength::Chunked && exchange.peer_version() > Version::Http10
                    || exchange.peer_version() == Version::Http2;
                let trailers = if has_room { Some(fields_of(&trailers)?) } else { None };
                exchange.send_body(cx, now, &[], true, trailers.as_ref())
            }
        }
    }
}

/// Sends a part of a body without copying it, unless it has very many pieces.
fn send_data<S: Socket>(
    cx: &mut Context<'_>,
    exchange: &mut Exchange<'_, S>,
    now: Time,
    mut data: impl Buf,
    is_end: bool,
) -> Result<(), HandlerError> {
    let len = data.remaining();
    if len == 0 {
        return if is_end { exchange.send_body(cx, now, &[], true, None) } else { Ok(()) };
    }
    if data.chunk().len() == len {
        return exchange.send_body(cx, now, &[data.chunk()], is_end, None);
    }
    let mut slices = [IoSlice::new(&[]); MAX_PIECES];
    let count = data.chunks_vectored(&mut slices);
    let pieces: [&[u8]; MAX_PIECES] = std::array::from_fn(|at| slices.get(at).map_or(&[][..], |slice| &**slice));
    let pieces = pieces.get(..count).unwrap_or_default();
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() == len {
        return exchange.send_body(cx, now, pieces, is_end, None);
    }
    let whole = data.copy_to_bytes(len);
    exchange.send_body(cx, now, &[&whole], is_end, None)
}
