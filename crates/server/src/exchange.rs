//! A request in hand and the response owed.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::errno::Op;
use sheave_lifecycle::observe::{ConnectionId, MadeBy, Observer, UpstreamPart};
use sheave_lifecycle::retry::{Evidence, Sent};
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_net::leg::LegContext;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;
use sheave_proto::batch::Batch;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_proto::mapped_head::MappedHead;
use sheave_proto::version::Version;

use crate::answer::Answer;
use crate::carrier::{Carrier, Trouble, carried, is_answering, is_receiving};
use crate::date::date_at;
use crate::error::HandlerError;
use crate::guard::Course;
use crate::record::Record;

/// How long a client's going away may stay unnoticed, where the runtime had no need to watch it so far: its request was here
/// when it was accepted. Most exchanges are over by then, and with many of them the connection, which then has cost two calls to
/// the kernel less.
const UNWATCHED_FOR: Duration = Duration::from_millis(100);

/// A request in hand and the response owed. It borrows the connection, or the stream: no byte is copied to make it.
///
/// It is the same whichever version of HTTP its client speaks. There are two ways to use it. The `async` methods are for handlers that answer by themselves; the `poll_*` ones are
/// for relays, which wait for two connections at a time.
pub struct Exchange<'c, S: Socket> {
    pub(crate) carrier: Carrier<'c, S>,
    pub(crate) alarm: &'c mut Alarm,
    pub(crate) head: Box<RequestHead>,
    pub(crate) record: Record,
    /// What is answered instead, where nothing else was.
    pub(crate) refusal: Option<Answer>,
    /// Trailers that came with the last data, and were not asked for yet.
    pub(crate) trailers: Option<Fields>,
}

/// A part of a request's body.
#[derive(Debug)]
pub enum Frame {
    /// Content, never empty.
    Data(Bytes),
    /// Trailer fields; nothing follows.
    Trailers(Fields),
}

/// Whose deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expired {
    /// The client's. The exchange has taken note; its rest is [`HandlerError::Client`].
    Client,
    /// The other one, which the caller had handed in.
    Other,
}

impl<S: Socket> Exchange<'_, S> {
    /// The request's head.
    pub fn request(&self) -> &RequestHead {
        &self.head
    }

    /// The request's head, to be edited in place.
    pub fn request_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    /// The client's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        carried!(&self.carrier, it => it.peer())
    }

    /// The address that the client connected to.
    pub fn local(&self) -> Option<SocketAddr> {
        carried!(&self.carrier, it => it.local())
    }

    /// What TLS has agreed on with the client; `None` without TLS.
    pub fn secured(&self) -> Option<&Secured> {
        carried!(&self.carrier, it => it.secured())
    }

    /// The number of the client's connection.
    pub fn connection_id(&self) -> ConnectionId {
        carried!(&self.carrier, it => it.id())
    }

    /// Which exchange of its connection this is, from 1.
    pub fn number(&self) -> u64 {
        self.record.number
    }

    /// The process's clock.
    pub fn clock(&self) -> Clock {
        self.context().clock
    }

    /// The present moment, as it was looked at first in this turn of the exchange's task: the same for all that is done in it.
    /// What works for long without waiting looks at [`Self::clock`].
    pub fn now(&self) -> Time {
        self.course().now(self.clock())
    }

    /// Looks at the clock.
    pub(crate) fn look(&self) -> Time {
        self.course().look(self.clock())
    }

    fn course(&self) -> &Course {
        carried!(&self.carrier, it => it.course())
    }

    pub(crate) fn context(&self) -> &Arc<LegContext> {
        carried!(&self.carrier, it => it.context())
    }

    /// The version that the client speaks.
    pub fn peer_version(&self) -> Version {
        carried!(&self.carrier, it => it.peer_version())
    }

    /// Whether all of the request's body has been taken; in a tunnel, whether the client has ended its direction.
    pub fn has_whole_request(&self) -> bool {
        !is_receiving(carried!(&self.carrier, it => it.state()))
    }

    /// Whether no final response has begun, so that one can be chosen freely.
    pub fn can_answer(&self) -> bool {
        carried!(&self.carrier, it => it.can_answer())
    }

    /// Whether the client waits for a 100 before it sends its content. RFC 9110 §10.1.1
    pub fn awaits_continue(&self) -> bool {
        carried!(&self.carrier, it => it.awaits_continue())
    }

    /// Whether a response has been sent to its end; in a tunnel, whether our direction has ended.
    pub fn has_answered(&self) -> bool {
        !is_answering(carried!(&self.carrier, it => it.state()))
    }

    /// Whether it has become a tunnel; also when that has ended.
    pub fn is_tunnel(&self) -> bool {
        carried!(&self.carrier, it => it.is_tunnel())
    }

    /// The protocols to which the client offers to switch, as a list. `None` from clients of HTTP/1.0, and where
    /// `Connection` does not name `Upgrade`. RFC 9110 §7.8
    ///
    /// HTTP/2 has no Upgrade: what a client asks for there is [`RequestHead::protocol`].
    pub fn offered_protocols(&self) -> Option<&[u8]> {
        carried!(&self.carrier, it => it.offer())
    }

    // What is remembered for logs and counters.

    /// Notes which origin carried the exchange.
    pub fn note_upstream(&mut self, upstream: UpstreamPart) {
        self.record.upstream = Some(upstream);
    }

    /// Notes that another attempt was made upstream.
    pub fn note_attempt(&mut self) {
        self.record.attempts += 1;
    }

    /// Notes that the request is sent again, and on what evidence.
    pub fn note_retry(&mut self, evidence: Evidence) {
        self.record.retried = Some(evidence);
        self.context().observer.retried(evidence);
    }

    /// Notes what went wrong, by its stable label. The first one stays.
    pub fn note_error(&mut self, label: &'static str) {
        self.record.error.get_or_insert(label);
    }

    /// Notes whether an origin may have acted on the request.
    pub fn note_sent(&mut self, sent: Sent) {
        self.record.sent = sent;
    }

    // The request's body.

    /// Shows `forward` one read's worth of the request's body, or of what the client sends through a tunnel.
    ///
    /// Pending while none is there; never reads into the next request. Do not call it once
    /// [`Self::has_whole_request`].
    ///
    /// # Errors
    /// The client failed, left or broke a rule.
    pub fn poll_body_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, RequestHead>) -> T,
    ) -> Poll<Result<T, HandlerError>> {
        let mut len = 0;
        let forward = |batch: Batch<'_, RequestHead>| {
            len = batch.len() as u64;
            forward(batch)
        };
        let received = ready!(carried!(&mut self.carrier, it => it.poll_body(cx, now, forward)));
        self.record.request_bytes += len;
        Poll::Ready(received.map_err(|trouble| self.note_trouble(trouble)))
    }

    /// Watches a client whose request is whole: sees whether it fails, and keeps what it pipelines up to a bound.
    ///
    /// Pending as long as there is somebody to answer: a client that has only shut its writing side is. A stream that is
    /// reset ends the whole exchange, whatever it waits for: its handler is dropped.
    ///
    /// On a connection that was accepted with its request, the watch begins when the exchange has lasted for 100 ms.
    ///
    /// # Errors
    /// The client is gone.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<HandlerError> {
        if !carried!(&self.carrier, it => it.is_watched()) {
            let (clock, at) = (self.clock(), self.record.began.after(UNWATCHED_FOR));
            ready!(self.alarm.poll(cx, clock, now, Some(at)));
        }
        let trouble = ready!(carried!(&mut self.carrier, it => it.poll_gone(cx, now)));
        Poll::Ready(self.note_trouble(trouble))
    }

    /// Says that the client is not read from for now, because nothing more can be passed on. Its time stands still.
    pub fn rest(&mut self) {
        carried!(&mut self.carrier, it => it.rest());
    }

    /// The next part of the request's body; `None` after its end. Asks for it with a 100 if the client waits for one.
    ///
    /// # Errors
    /// The client failed, left, broke a rule or was too slow.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Frame>, HandlerError> {
        if self.has_whole_request() {
            return Ok(self.trailers.take().map(Frame::Trailers));
        }
        if self.awaits_continue() {
            self.send_head(&mut ResponseHead::new(StatusCode::CONTINUE), BodyLength::None)?;
        }
        poll_fn(|cx| {
            let now = self.look();
            ready!(self.poll_flush_or_expire(cx, now))?;
            loop {
                let part = self.poll_body_with(cx, now, |batch| {
                    let mut data = BytesMut::with_capacity(batch.len());
                    batch.data.iter().for_each(|piece| data.extend_from_slice(piece));
                    (data.freeze(), batch.is_end, batch.trailers)
                });
                let (data, is_end, trailers) = match part {
                    Poll::Pending => return self.poll_expired(cx, now).map(Err),
                    Poll::Ready(part) => part?,
                };
                if !data.is_empty() {
                    self.trailers = trailers;
                    return Poll::Ready(Ok(Some(Frame::Data(data))));
                }
                if is_end {
                    return Poll::Ready(Ok(trailers.map(Frame::Trailers)));
                }
            }
        })
        .await
    }

    // The response.

    /// Writes a response's head; a 1xx may precede the final one. It leaves with the first bytes of the body, or with a
    /// flush. `Date` is added where it lacks; `Connection` is written from the connection's state alone.
    ///
    /// # Errors
    /// [`HandlerError::Misuse`] when no response is owed, or the head contradicts itself.
    pub fn send_head(&mut self, head: &mut ResponseHead, body: BodyLength) -> Result<(), HandlerError> {
        let now = self.look();
        self.send_head_at(head, body, now)
    }

    /// As [`Self::send_head`], at a moment that is known: for a relay, which has looked at the clock.
    ///
    /// # Errors
    /// As for [`Self::send_head`].
    pub fn send_head_at(&mut self, head: &mut ResponseHead, body: BodyLength, now: Time) -> Result<(), HandlerError> {
        let clock = self.clock();
        if !head.status().is_informational() && !head.fields().contains(Known::Date) {
            // RFC 9110 §6.6.1: a server with a clock says the time.
            let _ = head.fields_mut().push_text(Known::Date, [date_at(clock, now).as_text()]);
        }
        carried!(&mut self.carrier, it => it.send_head(head, body, now))
            .map_err(|misuse| HandlerError::Misuse(misuse.label()))?;
        if !head.status().is_informational() {
            self.record.status = head.status().as_u16();
        }
        Ok(())
    }

    /// As [`Self::send_head_at`], out of a map.
    pub(crate) fn send_mapped(
        &mut self,
        head: &mut MappedHead<'_>,
        body: BodyLength,
        now: Time,
    ) -> Result<(), HandlerError> {
        head.set_date(date_at(self.clock(), now));
        carried!(&mut self.carrier, it => it.send_mapped(head, body, now))
            .map_err(|misuse| HandlerError::Misuse(misuse.label()))?;
        if !head.status().is_informational() {
            self.record.status = head.status().as_u16();
        }
        Ok(())
    }

    /// Answers that the connection is a tunnel from here on: with a 101 whose `Upgrade` names protocols that the client
    /// offered ([`Self::offered_protocols`]), or with a 2xx to CONNECT. RFC 9110 §7.8, §9.3.6
    ///
    /// It leaves with the first bytes of the tunnel, or with a flush. From then on what the client sends comes as the
    /// request's body does, bytes that are here already first, until it sends FIN; [`Self::send_body`] sends bytes as they
    /// are, and its end sends FIN. Where the request's own body has not been read to its end, that comes first. The
    /// exchange's deadline does not apply any more; those of tunnels do, and a drain gives it their grace. Done when both
    /// directions have ended; left before, the connection is reset. [`Self::tunnel`] is another way to use it.
    ///
    /// # Errors
    /// [`HandlerError::Misuse`] when no response is owed, or nobody asked for a tunnel. The response is owed still.
    pub fn switch(&mut self, head: &mut ResponseHead) -> Result<(), HandlerError> {
        let now = self.look();
        carried!(&mut self.carrier, it => it.switch(head, now))
            .map_err(|misuse| HandlerError::Misuse(misuse.label()))?;
        self.record.status = head.status().as_u16();
        self.record.switched = Some(now);
        let context = self.context();
        context.observer.switched(self.connection_id());
        Ok(())
    }

    /// Writes body: what is owed, then `data`, then the end if `is_end`. What the client does not take at once is kept;
    /// pass on nothing more before [`Self::poll_flush`] is ready.
    ///
    /// # Errors
    /// [`HandlerError::Client`] when the client is gone, [`HandlerError::Misuse`] when this is not what was declared.
    pub fn send_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        data: &[&[u8]],
        is_end: bool,
        trailers: Option<&Fields>,
    ) -> Result<(), HandlerError> {
        let len: usize = data.iter().map(|piece| piece.len()).sum();
        let sent = carried!(&mut self.carrier, it => it.send_body(cx, now, data, is_end, trailers))
            .map_err(|misuse| HandlerError::Misuse(misuse.label()))?;
        self.record.response_bytes += len as u64;
        sent.map_err(|trouble| self.note_trouble(trouble))
    }

    /// Ready when nothing is owed to the client any more; after the end of our direction of a tunnel that is a FIN, too.
    ///
    /// In HTTP/2 it is ready when the client's window has let all of it out. Up to
    /// [`max_send_buffer_bytes`](sheave_proto::h2_config::Http2Config::max_send_buffer_bytes) of it may not have left yet.
    ///
    /// # Errors
    /// The client is gone.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), HandlerError>> {
        let flushed = ready!(carried!(&mut self.carrier, it => it.poll_flush(cx, now)));
        Poll::Ready(flushed.map_err(|trouble| self.note_trouble(trouble)))
    }

    /// Answers with `head` and a body that is here as a whole. `Content-Length` is set.
    ///
    /// # Errors
    /// As for [`Self::send_head`] and [`Self::send_body`].
    ///
    /// # Cancel safety
    /// What was written stays written; the response is cut off visibly if not all was.
    pub async fn respond(&mut self, head: &mut ResponseHead, body: &[u8]) -> Result<(), HandlerError> {
        // One look at the clock is enough for what is here as a whole.
        let now = self.look();
        self.send_head_at(head, BodyLength::Known(body.len() as u64), now)?;
        let mut body = Some(body);
        poll_fn(|cx| {
            let now = if body.is_some() { now } else { self.look() };
            if let Some(body) = body.take()
                && !self.has_answered()
            {
                let data = [body];
                self.send_body(cx, now, if body.is_empty() { &[] } else { &data }, true, None)?;
            }
            // HEAD, 204 and 304 end with their head.
            self.poll_flush_or_expire(cx, now)
        })
        .await
    }

    /// Sends a piece of the body, and waits until the client has taken it; `is_end` says that it is the last.
    ///
    /// After a head that can have no body (HEAD, 204, 304) it does nothing.
    ///
    /// # Errors
    /// As for [`Self::send_body`]; also when the client takes nothing for too long.
    ///
    /// # Cancel safety
    /// As for [`Self::respond`].
    pub async fn send(&mut self, piece: &[u8], is_end: bool) -> Result<(), HandlerError> {
        if self.has_answered() {
            return Ok(());
        }
        let mut piece = Some(piece);
        poll_fn(|cx| {
            let now = self.look();
            if let Some(piece) = piece.take() {
                let data = [piece];
                self.send_body(cx, now, if piece.is_empty() { &[] } else { &data }, is_end, None)?;
            }
            self.poll_flush_or_expire(cx, now)
        })
        .await
    }

    /// Waits until the client has taken all that is owed.
    ///
    /// # Errors
    /// The client is gone, or takes nothing for too long.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn flush(&mut self) -> Result<(), HandlerError> {
        // Mostly all has left, and the clock need not be asked. A tunnel may owe a FIN.
        if !self.is_tunnel() && !carried!(&self.carrier, it => it.has_unsent()) {
            return Ok(());
        }
        poll_fn(|cx| {
            let now = self.look();
            self.poll_flush_or_expire(cx, now)
        })
        .await
    }

    /// Answers with an error of our own, if no response has begun. It leaves with the next flush.
    ///
    /// After a 400, 408 or 431 the connection closes, and the answer says so.
    pub fn answer(&mut self, answer: &Answer) {
        if !self.can_answer() {
            return;
        }
        self.note_error(answer.cause);
        self.record.made_by = MadeBy::Us;
        // A client that is not understood, or not in time, may not mean the next request as we would read it.
        if matches!(
            answer.status,
            StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        ) {
            carried!(&mut self.carrier, it => it.make_last());
        }
        let (mut head, body) = answer.render(Some(&self.head));
        if self.send_head(&mut head, BodyLength::Known(body.len() as u64)).is_err() || self.has_answered() {
            return;
        }
        let now = self.look();
        // The head that declared this length has just been written.
        if carried!(&mut self.carrier, it => it.add_whole_body(body.as_bytes(), now)).is_ok() {
            self.record.response_bytes += body.len() as u64;
        }
    }

    /// The response that is under way cannot be completed: it is cut off so that nobody takes it for whole.
    pub fn truncate(&mut self, reason: CloseReason) {
        carried!(&mut self.carrier, it => it.truncate(reason));
    }

    // Deadlines.

    /// The client's next deadline.
    pub fn deadline(&self) -> Option<Deadline> {
        carried!(&self.carrier, it => it.deadline())
    }

    /// Waits for the client's deadline and another, whichever comes first.
    pub fn poll_deadline(&mut self, cx: &mut Context<'_>, now: Time, other: Option<Deadline>) -> Poll<Expired> {
        let clock = self.clock();
        loop {
            let own = self.deadline();
            let next = Deadline::earlier(own, other);
            ready!(self.alarm.poll(cx, clock, now, next.map(|next| next.at)));
            // The alarm knows better than `now`, which was looked at a while ago, that a deadline has passed: the first one.
            match own {
                Some(own) if other.is_none_or(|other| own.at <= other.at) => {
                    if self.expire(own.timer, own.at.max(now)) {
                        return Poll::Ready(Expired::Client);
                    }
                }
                _ => return Poll::Ready(Expired::Other),
            }
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<HandlerError> {
        self.poll_deadline(cx, now, None).map(|_| HandlerError::Client)
    }

    fn poll_flush_or_expire(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), HandlerError>> {
        match self.poll_flush(cx, now) {
            Poll::Pending => {
                // Nothing is read meanwhile: the time that the client has for its request stands still.
                self.rest();
                self.poll_expired(cx, now).map(Err)
            }
            ready => ready,
        }
    }

    fn expire(&mut self, timer: Timer, now: Time) -> bool {
        if !carried!(&mut self.carrier, it => it.expire(timer, now)) {
            return false;
        }
        self.note_refusal(Answer::new(StatusCode::REQUEST_TIMEOUT, CloseReason::TimedOut(timer).label()));
        true
    }

    fn note_refusal(&mut self, answer: Answer) {
        self.note_error(answer.cause);
        self.refusal.get_or_insert(answer);
    }

    pub(crate) fn note_trouble(&mut self, trouble: Trouble) -> HandlerError {
        match trouble {
            Trouble::Broken(error) => self.note_refusal(Answer::to_error(error)),
            Trouble::Fault(op, label) => {
                self.record.is_cut_off |= op == Op::Write;
                self.note_error(label);
            }
            Trouble::Gone(label) => self.note_error(label),
        }
        HandlerError::Client
    }
}
