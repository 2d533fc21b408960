//! One exchange of a request of the caller's for a response: both directions move whenever the caller asks for a part.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_net::socket::Socket;
use sheave_proto::batch::Batch;
use sheave_proto::error::Misuse;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::ResponseHead;
use sheave_proto::version::Version;

use crate::call::Call;
use crate::content::{BoxError, Content, Cursor, Part};
use crate::error::{CallError, ClientError};
use crate::failure::ErrorKind;
use crate::informational::OnInformational;
use crate::upgraded::Upgraded;

/// Bytes of content that are given to the connection at a time: it copies what the kernel does not take.
const PIECE_BYTES: usize = 64 * 1024;

/// A request under way and the response owed. Dropped, its connection is closed.
pub(crate) struct Conversation<S: Socket> {
    call: Call<S>,
    content: Content,
    cursor: Cursor,
    /// What came of the content and was not given to the connection yet.
    part: Option<Part>,
    /// What came of the response last. It stays here, and is taken apart here: it is larger than a line or two.
    arrived: Arrived,
    /// Whether there is a place for trailers behind it.
    takes_trailers: bool,
    /// The content waits for a 100 until then.
    awaits_continue: Option<Time>,
    /// The deadline of the whole.
    until: Option<Time>,
    on_informational: Option<OnInformational>,
    clock: Clock,
    /// The present moment, while the task that has looked at the clock is still awake.
    now: Option<Time>,
    alarm: Alarm,
}

/// What one read brought of a response.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) head: Option<ResponseHead>,
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<Fields>,
    pub(crate) is_end: bool,
}

/// Why it broke off, and how far it had come.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection failed, or the origin.
    Call(CallError, Progress),
    /// The request's content failed.
    Content(BoxError, Progress),
    /// The whole took too long.
    Late(Progress),
}

impl<S: Socket> Conversation<S> {
    /// Goes on with `call`, whose head has been written at this moment.
    pub(crate) fn begin(
        call: Call<S>,
        (content, length): (Content, BodyLength),
        (clock, now): (Clock, Time),
        until: Option<Time>,
        awaits_continue: Option<Time>,
        on_informational: Option<OnInformational>,
    ) -> Self {
        let (cursor, now, alarm) = (Cursor::default(), Some(now), Alarm::default());
        // RFC 9112 §7.1.2: in HTTP/1, trailers need chunks.
        let takes_trailers = length == BodyLength::Chunked || call.version() == Version::Http2;
        Self {
            call,
            content,
            cursor,
            part: None,
            arrived: Arrived::default(),
            takes_trailers,
            awaits_continue,
            until,
            on_informational,
            clock,
            now,
            alarm,
        }
    }

    /// The connection.
    pub(crate) fn call(&self) -> &Call<S> {
        &self.call
    }

    /// What came last of the response.
    pub(crate) fn arrived(&self) -> &Arrived {
        &self.arrived
    }

    /// What came last of the response, to be taken.
    pub(crate) fn arrived_mut(&mut self) -> &mut Arrived {
        &mut self.arrived
    }

    /// Whether what came is a 417, and the content can be sent again: without asking.
    pub(crate) fn is_refused_expectation(&self) -> bool {
        let status = self.arrived.head.as_ref().map(ResponseHead::status);
        status == Some(StatusCode::EXPECTATION_FAILED) && self.content.is_replayable()
    }

    /// Nobody wants the rest of the response: the connection is closed.
    pub(crate) fn give_up(self) -> Content {
        self.content
    }

    /// The response is whole: the connection is kept, if it can be.
    pub(crate) fn finish(self) -> Content {
        self.call.finish();
        self.content
    }

    /// Whether the connection has switched to another protocol. What follows is its, and nothing to be asked for here.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.call.is_tunnel()
    }

    /// What it has switched to, with the bytes of it that are here; `None` where the request's content was not whole.
    pub(crate) fn into_upgraded(self, unread: Bytes) -> Option<Upgraded<S>> {
        let is_whole = self.content.is_none() || self.cursor.is_over() && self.part.is_none();
        is_whole.then(|| Upgraded::new(self.call, unread, self.clock))
    }

    /// It broke off: the connection is closed for that reason.
    pub(crate) fn end(self, broken: &Broken) -> Content {
        match broken {
            // Those by which the connection itself ended have their reason already.
            Broken::Call(error, _) => self.call.abandon(error.close_reason()),
            Broken::Late(_) => self.call.abandon(CloseReason::TimedOut(Timer::Exchange)),
            Broken::Content(..) => drop(self.call),
        }
        self.content
    }

    /// Ready when the next part of the response, never nothing, [has arrived](Self::arrived). Meanwhile the request goes on.
    pub(crate) fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let now = self.now.take().unwrap_or_else(|| self.clock.now());
        loop {
            if let Poll::Ready(broken) = self.poll_send(cx, now) {
                return Poll::Ready(Err(broken));
            }
            let mut is_continued = false;
            let read = self.call.poll_response_with(cx, now, |batch| {
                // RFC 9110 §15.2: any interim response says that the origin is there; only a 100 asks for content.
                if let Some(shown) = &self.on_informational {
                    shown.show(&batch.interim);
                }
                is_continued = batch.interim.iter().any(|head| head.status() == StatusCode::CONTINUE);
                self.arrived.put(batch);
            });
            match read {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Call(error, self.call.progress()))),
                Poll::Ready(Ok(())) => {}
            }
            if is_continued {
                self.awaits_continue = None;
            }
            if self.arrived.is_something() {
                // Until the caller asks again, the origin is not to blame for silence.
                self.call.rest();
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_deadline(cx, now).map(Err)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Broken> {
        let due = self.call.deadline();
        let next = [due.map(|due| due.at), self.until, self.awaits_continue].into_iter().flatten().min();
        if self.alarm.poll(cx, self.clock, now, next).is_pending() {
            return Poll::Pending;
        }
        let now = self.clock.now();
        if due.is_some_and(|due| due.has_passed(now)) {
            let progress = self.call.progress();
            return Poll::Ready(Broken::Call(self.call.expire(), progress));
        }
        if self.until.is_some_and(|until| until <= now) {
            return Poll::Ready(Broken::Late(self.call.progress()));
        }
        // It was the time to ask for the content that is over: that goes on with the next look.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves the request on as far as it goes. Ready only when it broke off.
    fn poll_send(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Broken> {
        // The origin has had its time to ask for the content.
        self.awaits_continue = self.awaits_continue.filter(|until| *until > now);
        loop {
            if !self.call.is_sending() || self.awaits_continue.is_some() {
                // What cannot be written may be answered all the same.
                let _ = self.call.poll_flush(cx, now);
                return match self.call.local_fault() {
                    Some(fault) => Poll::Ready(Broken::Call(CallError::Io(fault), self.call.progress())),
                    None => Poll::Pending,
                };
            }
            // The head waits for the first bytes of the content, which are often here: one write for both.
            if self.call.has_sent_head() && self.call.poll_flush(cx, now).is_pending() {
                return Poll::Pending;
            }
            let mut part = match self.part.take() {
                Some(part) => part,
                None => match self.content.poll_part(cx, &mut self.cursor) {
                    Poll::Ready(Ok(part)) => part,
                    Poll::Ready(Err(error)) => return Poll::Ready(Broken::Content(error, self.call.progress())),
                    Poll::Pending => {
                        let _ = self.call.poll_flush(cx, now);
                        return Poll::Pending;
                    }
                },
            };
            let piece = part.data.split_to(part.data.len().min(PIECE_BYTES));
            let is_last = part.data.is_empty();
            let trailers = part.trailers.take_if(|_| is_last && self.takes_trailers);
            let Ok(trailers) = trailers.as_ref().map(Fields::try_from).transpose() else {
                return Poll::Ready(Broken::Call(CallError::Misuse(Misuse::InvalidField), self.call.progress()));
            };
            let is_end = part.is_end && is_last;
            let data = [&piece[..]];
            let data: &[&[u8]] = if piece.is_empty() { &[] } else { &data };
            if let Err(error) = self.call.send_body(cx, now, data, is_end, trailers.as_ref()) {
                return Poll::Ready(Broken::Call(error, self.call.progress()));
            }
            self.part = (!is_last).then_some(part);
        }
    }
}

impl Arrived {
    fn put(&mut self, batch: Batch<'_, ResponseHead>) {
        self.data = match &batch.data[..] {
            [] => Bytes::new(),
            [piece] => Bytes::copy_from_slice(piece),
            pieces => {
                let mut whole = BytesMut::with_capacity(batch.len());
                pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                whole.freeze()
            }
        };
        (self.head, self.trailers, self.is_end) = (batch.head, batch.trailers, batch.is_end);
    }

    fn is_something(&self) -> bool {
        self.head.is_some() || !self.data.is_empty() || self.is_end
    }
}

impl From<Broken> for ErrorKind {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Call(error, progress) => Self::Exchange(ClientError::Call(error, progress)),
            Broken::Content(error, progress) => Self::Content(error, progress),
            Broken::Late(progress) => Self::TimedOut(progress),
        }
    }
}
