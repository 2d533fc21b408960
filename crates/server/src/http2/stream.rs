//! An exchange in a stream of HTTP/2: its machine, and the ends of the stream that the framing layer gave us.

use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::time::Time;
use sheave_net::leg::LegContext;
use sheave_net::secured::Secured;
use sheave_proto::batch::Batch;
use sheave_proto::error::Misuse;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_proto::mapped_head::MappedHead;
use sheave_proto::role::Server;
use sheave_proto::state::State;
use sheave_proto::stream::Stream;
use sheave_proto::version::Version;

use crate::carrier::{Trouble, is_answering};
use crate::guard::Course;
use crate::http_types::own_head;
use crate::http2::link::{Flushes, Link};

/// How many frames of content go into one batch.
const MAX_PIECES: usize = 8;

/// A client's RST_STREAM.
const RESET: &str = "stream-reset";

/// A stream's way to its client. Shared by whoever answers in it and whoever sees whether the client still wants the answer.
pub(crate) struct Outlet(Mutex<Ends>);

struct Ends {
    respond: SendResponse<Bytes>,
    /// Once the final head was given.
    body: Option<SendStream<Bytes>>,
}

impl Outlet {
    /// The way that the framing layer gave.
    pub(crate) fn new(respond: SendResponse<Bytes>) -> Self {
        Self(Mutex::new(Ends { respond, body: None }))
    }

    /// Both users are in one task, one after the other.
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when the stream was reset, or the connection is over, with what was said.
    pub(crate) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<ErrorCode> {
        let mut ends = self.lock();
        let reset = match &mut ends.body {
            Some(body) => body.poll_reset(cx),
            None => ends.respond.poll_reset(cx),
        };
        reset.map(|reset| reset.map_or(ErrorCode::Cancel, code_of))
    }

    /// Resets the stream; what was given for it and has not left is forgotten.
    pub(crate) fn reset(&self, code: ErrorCode) {
        self.lock().respond.send_reset(Reason::from(code.number()));
    }
}

/// What an error of the framing layer's says, as our own code.
pub(crate) fn code_of(reason: Reason) -> ErrorCode {
    ErrorCode::of(reason.into())
}

/// An exchange in a stream of HTTP/2.
pub(crate) struct Http2 {
    pub(crate) machine: Stream<Server>,
    pub(crate) link: Arc<Link>,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) course: Arc<Course>,
    incoming: RecvStream,
    /// Content that was shown, and whose room is given back when more is asked for.
    shown: usize,
    is_waiting: bool,
    /// Content that waits for the client's window.
    outbox: BytesMut,
    /// Whether the end is to follow it.
    owes_end: bool,
    trailers: Option<HeaderMap>,
    /// When something was last given to the connection, which may not have left.
    given: Option<Flushes>,
}

impl Http2 {
    /// An exchange that begins now.
    pub(crate) fn new(
        machine: Stream<Server>,
        link: Arc<Link>,
        incoming: RecvStream,
        outlet: Arc<Outlet>,
        now: Time,
    ) -> Self {
        Self {
            machine,
            link,
            outlet,
            course: Arc::new(Course::begin(now)),
            incoming,
            shown: 0,
            is_waiting: false,
            outbox: BytesMut::new(),
            owes_end: false,
            trailers: None,
            given: None,
        }
    }

    pub(crate) fn context(&self) -> &Arc<LegContext> {
        &self.link.context
    }

    pub(crate) fn course(&self) -> &Course {
        &self.course
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.link.peer
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.link.local
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.link.id
    }

    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.link.secured.as_deref()
    }

    pub(crate) fn secured_for_long(&self) -> Option<Arc<Secured>> {
        self.link.secured.clone()
    }

    pub(crate) fn peer_version(&self) -> Version {
        self.machine.peer_version()
    }

    pub(crate) fn state(&self) -> State {
        self.machine.state()
    }

    pub(crate) fn can_answer(&self) -> bool {
        self.machine.can_answer()
    }

    pub(crate) fn awaits_continue(&self) -> bool {
        self.machine.awaits_continue()
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.machine.is_tunnel()
    }

    /// HTTP/2 has no Upgrade: what a client asks for stands in the request's head. RFC 8441
    pub(crate) fn offer(&self) -> Option<&[u8]> {
        None
    }

    pub(crate) fn intent(&self) -> Intent {
        self.machine.intent()
    }

    pub(crate) fn end(&mut self, intent: Intent) {
        self.machine.end(intent);
    }

    /// A stream is always its exchange's alone; the connection is not the exchange's to end.
    pub(crate) fn make_last(&mut self) {}

    pub(crate) fn truncate(&mut self, reason: CloseReason) {
        self.machine.truncate(reason);
    }

    /// Gives up what is owed, for `reason`.
    pub(crate) fn give_up(&mut self, reason: CloseReason) {
        self.end(Intent::Abort(reason));
    }

    /// Why an exchange that is dropped amid its response was cut off, where it does not know better.
    pub(crate) fn cut_off_by(&self) -> CloseReason {
        self.link.fate().unwrap_or(CloseReason::Cancelled)
    }

    /// Whether something of the response has not left.
    pub(crate) fn has_unsent(&self) -> bool {
        self.owes_body() || self.given.is_some()
    }

    fn owes_body(&self) -> bool {
        !self.outbox.is_empty() || self.owes_end
    }

    pub(crate) fn rest(&mut self) {
        self.is_waiting = false;
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.machine.deadline(self.is_waiting)
    }

    /// A deadline of the client's has passed; whether it has, or is to be waited for anew.
    pub(crate) fn expire(&mut self, timer: Timer, now: Time) -> bool {
        // The window is the stream's own, the socket is everybody's: where that is slow, nobody is late with a window.
        if timer == Timer::Write && !self.link.has_kept_up(self.machine.config().http2.window_timeout, now) {
            self.machine.let_go();
            self.machine.hold_back(now);
            return false;
        }
        self.machine.expired(timer);
        self.machine.give_up_request();
        true
    }

    pub(crate) fn poll_body<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, RequestHead>) -> T,
    ) -> Poll<Result<T, Trouble>> {
        self.release();
        let mut pieces: [Bytes; MAX_PIECES] = Default::default();
        let mut count = 0;
        let mut is_end = false;
        let mut trailers = None;
        while count < MAX_PIECES && !is_end {
            match self.incoming.poll_data(cx) {
                Poll::Pending if count > 0 => break,
                Poll::Pending => {
                    if !self.is_waiting {
                        self.is_waiting = true;
                        self.machine.progressed(now);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(data))) => {
                    self.shown += data.len();
                    self.machine.received(data.len(), self.is_waiting, now);
                    is_end = self.incoming.is_end_stream();
                    self.machine.receive_data(data.len(), is_end, now).map_err(Trouble::Broken)?;
                    if !data.is_empty() {
                        pieces[count] = data;
                        count += 1;
                    }
                }
                // What came before is passed on first; this comes again.
                Poll::Ready(Some(Err(_)) | None) if count > 0 => break,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.cut(&error))),
                Poll::Ready(None) => {
                    is_end = true;
                    match self.incoming.poll_trailers(cx) {
                        // Content has ended, so that what follows is here.
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(Some(map))) => {
                            trailers = Some(self.machine.receive_trailers(&map, now).map_err(Trouble::Broken)?);
                        }
                        Poll::Ready(Ok(None)) => {
                            self.machine.receive_data(0, true, now).map_err(Trouble::Broken)?;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(self.cut(&error))),
                    }
                }
            }
        }
        let data = pieces[..count].iter().map(|piece| &**piece).collect();
        let batch = Batch { interim: Default::default(), head: None, data, is_end, trailers, error: None };
        Poll::Ready(Ok(forward(batch)))
    }

    /// What was shown has been passed on: there is room for as much again.
    fn release(&mut self) {
        let shown = mem::take(&mut self.shown);
        if shown > 0 {
            // Fails where the stream is over, and then nobody needs the room.
            let _ = self.incoming.flow_control().release_capacity(shown);
        }
    }

    /// The connection is read all the time.
    pub(crate) fn is_watched(&self) -> bool {
        true
    }

    /// Whether the client has reset the stream is seen by whoever runs the exchange.
    pub(crate) fn poll_gone(&mut self, _: &mut Context<'_>, _: Time) -> Poll<Trouble> {
        Poll::Pending
    }

    /// The client has reset the stream, or is gone.
    fn was_reset(&mut self, code: ErrorCode) -> Trouble {
        // What it had not said by then, it never will: whoever waits for it is told by the trouble alone.
        let _ = self.machine.receive_reset(code);
        self.outbox = BytesMut::new();
        Trouble::Gone(match self.link.fate() {
            Some(reason) => reason.label(),
            None if code.is_provoked() => code.label(),
            None => RESET,
        })
    }

    /// Whoever runs the exchange has seen that nobody waits for it any more.
    pub(crate) fn gone(&mut self) -> Trouble {
        let mut cx = Context::from_waker(Waker::noop());
        self.lost(&mut cx)
    }

    fn cut(&mut self, error: &h2::Error) -> Trouble {
        self.was_reset(error.reason().map_or(ErrorCode::Cancel, code_of))
    }

    pub(crate) fn send_head(&mut self, head: &ResponseHead, body: BodyLength, now: Time) -> Result<(), Misuse> {
        let (response, is_end) = self.machine.send_head(head, body, now)?;
        let is_interim = head.status().is_informational();
        self.respond(response, is_interim, is_end);
        Ok(())
    }

    pub(crate) fn send_mapped(&mut self, head: &MappedHead<'_>, body: BodyLength, now: Time) -> Result<(), Misuse> {
        let mut own = own_head(head).map_err(|_| Misuse::InvalidField)?;
        if let Some(date) = head.date() {
            let _ = own.fields_mut().push_text(Known::Date, [date.as_text()]);
        }
        self.send_head(&own, body, now)
    }

    pub(crate) fn switch(&mut self, head: &ResponseHead, now: Time) -> Result<(), Misuse> {
        let response = self.machine.switch(head, now)?;
        self.respond(response, false, false);
        self.course.set_tunnel();
        Ok(())
    }

    fn respond(&mut self, response: http::Response<()>, is_interim: bool, is_end: bool) {
        let mut ends = self.outlet.lock();
        let sent = if is_interim {
            ends.respond.send_informational(response).map(|()| None)
        } else {
            ends.respond.send_response(response, is_end).map(Some)
        };
        match sent {
            Ok(body) => {
                ends.body = body.or(ends.body.take());
                drop(ends);
                self.given = Some(self.link.flushes());
            }
            // The stream is over: whoever runs the exchange sees that it was reset. Nothing can be sent in it.
            Err(_) => {
                drop(ends);
                self.machine.end(Intent::Abort(CloseReason::PeerClosed));
            }
        }
    }

    pub(crate) fn send_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        data: &[&[u8]],
        is_end: bool,
        trailers: Option<&Fields>,
    ) -> Result<Result<(), Trouble>, Misuse> {
        self.take_body(data, is_end, trailers, now)?;
        Ok(match self.pour(cx, now) {
            Poll::Ready(Err(trouble)) => Err(trouble),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        })
    }

    fn take_body(&mut self, data: &[&[u8]], is_end: bool, trailers: Option<&Fields>, now: Time) -> Result<(), Misuse> {
        let len = data.iter().map(|piece| piece.len()).sum();
        let trailers = match trailers {
            Some(fields) if is_end && !fields.is_empty() => Some(self.machine.trailers(fields)?),
            _ => None,
        };
        let is_answering = is_answering(self.state());
        self.machine.send_data(len, is_end, now)?;
        self.outbox.reserve(len);
        data.iter().for_each(|piece| self.outbox.extend_from_slice(piece));
        self.owes_end = is_end && is_answering;
        self.trailers = trailers;
        Ok(())
    }

    /// Adds the whole body of an answer of our own; it leaves with the next flush.
    pub(crate) fn add_whole_body(&mut self, body: &[u8], now: Time) -> Result<(), Misuse> {
        self.take_body(&[body], true, None, now)
    }

    /// Gives the connection what the client's window lets out. Ready when nothing is left to give.
    fn pour(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), Trouble>> {
        if !self.owes_body() {
            return Poll::Ready(Ok(()));
        }
        // What is given up is not waited for.
        if let Intent::Abort(reason) = self.intent() {
            return Poll::Ready(Err(Trouble::Gone(reason.label())));
        }
        let outlet = self.outlet.clone();
        let mut ends = outlet.lock();
        let Some(body) = &mut ends.body else { return Poll::Ready(Err(Trouble::Gone(RESET))) };
        while !self.outbox.is_empty() {
            body.reserve_capacity(self.outbox.len());
            let mut room = body.capacity();
            if room == 0 {
                room = match body.poll_capacity(cx) {
                    Poll::Pending => {
                        self.machine.hold_back(now);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(room))) => room,
                    Poll::Ready(Some(Err(_)) | None) => {
                        drop(ends);
                        return Poll::Ready(Err(self.lost(cx)));
                    }
                };
            }
            self.machine.let_go();
            let piece = self.outbox.split_to(room.min(self.outbox.len())).freeze();
            let is_last = self.outbox.is_empty() && self.owes_end && self.trailers.is_none();
            if body.send_data(piece, is_last).is_err() {
                drop(ends);
                return Poll::Ready(Err(self.lost(cx)));
            }
            self.given = Some(self.link.flushes());
            self.owes_end &= !is_last;
        }
        self.outbox = BytesMut::new();
        if mem::take(&mut self.owes_end) {
            let ended = match self.trailers.take() {
                Some(trailers) => body.send_trailers(trailers),
                None => body.send_data(Bytes::new(), true),
            };
            if ended.is_err() {
                drop(ends);
                return Poll::Ready(Err(self.lost(cx)));
            }
            self.given = Some(self.link.flushes());
        }
        Poll::Ready(Ok(()))
    }

    /// The framing layer takes nothing more for this stream.
    fn lost(&mut self, cx: &mut Context<'_>) -> Trouble {
        let code = match self.outlet.poll_reset(cx) {
            Poll::Ready(code) => code,
            Poll::Pending => ErrorCode::Cancel,
        };
        self.was_reset(code)
    }

    /// Ready when the connection has all that is owed. It keeps no more of it than its bound.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), Trouble>> {
        self.pour(cx, now)
    }

    /// Ready when the kernel has all that was given to the connection.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(since) = self.given {
            ready!(self.link.poll_flushed(cx, since));
            self.given = None;
        }
        Poll::Ready(())
    }

    /// What is left of a request that was answered is not waited for: the stream says so. RFC 9113 §8.1
    pub(crate) fn leave_rest(&mut self, _: u64, _: u64) -> bool {
        self.end(Intent::Linger(if self.is_tunnel() { CloseReason::Upgraded } else { CloseReason::EarlyResponse }));
        true
    }

    /// Says to the client that the stream was given up, where it must be said at once: what has not left is lost.
    ///
    /// A response that is whole is left to leave; the framing layer says behind it that no more of the request is wanted.
    pub(crate) fn reset_if_given_up(&mut self) {
        match self.machine.reset_code() {
            Some(ErrorCode::None) | None => {}
            Some(code) => {
                self.outlet.reset(code);
                self.given = None;
            }
        }
    }
}
