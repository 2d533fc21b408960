//! One exchange over HTTP/2, in a stream of a connection that carries others, too.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;
use sheave_proto::batch::Batch;
use sheave_proto::error::ProtocolError;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::h2_code::ErrorCode;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::role::Client;
use sheave_proto::state::{RequestState, ResponseState};
use sheave_proto::stream::Stream;
use smallvec::SmallVec;

use crate::error::CallError;
use crate::multiplexed::NotOpened;
use crate::reserved::Reserved;

/// How much of a response is shown at once at most: as much as a read of HTTP/1 brings.
const BATCH_BYTES: usize = 64 * 1024;

/// One exchange over HTTP/2. [`crate::call::Call`] says what its methods promise.
pub(crate) struct Http2<S: Socket> {
    reserved: Reserved<S>,
    address: SocketAddr,
    is_reused: bool,
    stream: Stream<Client>,
    /// Its number, once it was opened.
    id: Option<u32>,
    send: Option<SendStream<Bytes>>,
    response: Option<ResponseFuture>,
    receive: Option<RecvStream>,
    /// What of the request waits for the origin's windows.
    unsent: Bytes,
    owes: Owes,
    /// Nothing more can be sent, whatever still comes.
    is_mute: bool,
    is_waiting: bool,
}

/// What is to follow the content that waits.
#[derive(Debug)]
enum Owes {
    /// More of it, or nothing.
    Nothing,
    /// The stream's end.
    End,
    /// The stream's end, with these.
    Trailers(HeaderMap),
}

impl<S: Socket> Http2<S> {
    /// An exchange for which there is a place.
    pub(crate) fn new(reserved: Reserved<S>) -> Self {
        let connection = &reserved.connection;
        Self {
            address: connection.address,
            is_reused: connection.exchanges() > 0,
            stream: Stream::new(connection.config.clone(), reserved.now()),
            reserved,
            id: None,
            send: None,
            response: None,
            receive: None,
            unsent: Bytes::new(),
            owes: Owes::Nothing,
            is_mute: false,
            is_waiting: false,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connection_id(&self) -> ConnectionId {
        self.reserved.connection.id
    }

    pub(crate) fn secured(&self) -> Option<&Arc<Secured>> {
        self.reserved.connection.secured.as_ref()
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(crate) async fn settled(&mut self) {
        self.reserved.connection.settled().await;
    }

    pub(crate) fn takes_extended_connect(&self) -> bool {
        self.reserved.connection.takes_extended_connect()
    }

    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        target: &str,
        body: BodyLength,
        now: Time,
    ) -> Result<(), CallError> {
        let connection = &self.reserved.connection;
        let scheme = connection.scheme.clone();
        let (request, is_end) = self.stream.send_head(head, target, scheme, body, now).map_err(CallError::Misuse)?;
        match connection.open(request, head.protocol(), is_end, now) {
            Ok((response, send)) => {
                self.reserved.note_opened();
                self.id = Some(send.stream_id().as_u32());
                (self.response, self.send) = (Some(response), Some(send));
                Ok(())
            }
            Err(NotOpened::Misuse(misuse)) => Err(CallError::Misuse(misuse)),
            Err(NotOpened::Over) => Err(self.ended()),
        }
    }

    pub(crate) fn send_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        data: &[&[u8]],
        is_end: bool,
        trailers: Option<&Fields>,
    ) -> Result<(), CallError> {
        let len: usize = data.iter().map(|piece| piece.len()).sum();
        let was_sending = self.is_in_body();
        let trailers = trailers.map(|fields| self.stream.trailers(fields)).transpose().map_err(CallError::Misuse)?;
        self.stream.send_data(len, is_end, now).map_err(CallError::Misuse)?;
        if self.is_mute || !was_sending {
            return Ok(());
        }
        if len > 0 {
            let mut unsent = BytesMut::with_capacity(self.unsent.len() + len);
            unsent.extend_from_slice(&self.unsent);
            data.iter().for_each(|piece| unsent.extend_from_slice(piece));
            self.unsent = unsent.freeze();
        }
        if is_end {
            self.owes = trailers.map_or(Owes::End, Owes::Trailers);
        }
        let _ = self.poll_flush(cx, now);
        Ok(())
    }

    /// Gives the framing layer what the origin's windows let out: no more, so that no more than that waits in it.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<()> {
        loop {
            let Some(send) = self.send.as_mut().filter(|_| !self.is_mute) else { return Poll::Ready(()) };
            if self.unsent.is_empty() {
                let sent = match std::mem::replace(&mut self.owes, Owes::Nothing) {
                    Owes::Nothing => Ok(()),
                    Owes::End => send.send_data(Bytes::new(), true),
                    Owes::Trailers(map) => send.send_trailers(map),
                };
                self.is_mute |= sent.is_err();
                self.stream.let_go();
                return Poll::Ready(());
            }
            send.reserve_capacity(self.unsent.len());
            let room = send.capacity();
            if room == 0 {
                match send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    // It was reset, or its connection is over: the response, or what there is instead of it, says so.
                    Poll::Ready(Some(Err(_)) | None) => self.fall_mute(),
                    Poll::Pending => {
                        self.stream.hold_back(now);
                        return Poll::Pending;
                    }
                }
                continue;
            }
            let piece = self.unsent.split_to(room.min(self.unsent.len()));
            let is_end = self.unsent.is_empty() && matches!(self.owes, Owes::End);
            if is_end {
                self.owes = Owes::Nothing;
            }
            self.stream.let_go();
            if send.send_data(piece, is_end).is_err() {
                self.fall_mute();
            }
        }
    }

    fn fall_mute(&mut self) {
        self.is_mute = true;
        (self.unsent, self.owes) = (Bytes::new(), Owes::Nothing);
        self.stream.let_go();
    }

    fn is_in_body(&self) -> bool {
        matches!(self.stream.state().request, RequestState::Body | RequestState::Tunnel)
    }

    pub(crate) fn is_sending(&self) -> bool {
        !self.is_mute && self.is_in_body()
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.stream.is_tunnel()
    }

    pub(crate) fn write_fault(&self) -> Option<IoFault> {
        match self.reserved.connection.ended()? {
            CloseReason::PeerReset(fault) | CloseReason::PeerUnreachable(fault) | CloseReason::Local(fault) => {
                Some(fault)
            }
            _ => None,
        }
    }

    pub(crate) fn local_fault(&self) -> Option<IoFault> {
        self.write_fault().filter(|fault| matches!(CloseReason::from_fault(*fault), CloseReason::Local(_)))
    }

    pub(crate) fn has_sent_head(&self) -> bool {
        self.id.is_some()
    }

    pub(crate) fn has_written_nothing(&self) -> bool {
        self.is_mute && self.progress().sent() == sheave_lifecycle::retry::Sent::No
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || !matches!(self.owes, Owes::Nothing)
    }

    pub(crate) fn poll_response_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, ResponseHead>) -> T,
    ) -> Poll<Result<T, CallError>> {
        let mut part = Part::default();
        let mut failed = None;
        if let Err(error) = self.gather(cx, now, &mut part) {
            failed = Some(error);
        }
        if part.is_nothing() {
            return match failed {
                Some(error) => Poll::Ready(Err(error)),
                None => {
                    if !self.is_waiting {
                        self.is_waiting = true;
                        self.stream.progressed(now);
                    }
                    Poll::Pending
                }
            };
        }
        let len: usize = part.data.iter().map(Bytes::len).sum();
        let shown = forward(Batch {
            interim: part.interim,
            head: part.head,
            data: part.data.iter().map(|piece| &piece[..]).collect(),
            is_end: part.is_end,
            trailers: part.trailers,
            error: None,
        });
        // It was passed on, or lies where nothing is added before it was.
        if let Some(receive) = self.receive.as_mut().filter(|_| len > 0) {
            let _ = receive.flow_control().release_capacity(len);
        }
        Poll::Ready(failed.map_or(Ok(shown), Err))
    }

    /// Takes what is here of the response.
    fn gather(&mut self, cx: &mut Context<'_>, now: Time, part: &mut Part) -> Result<(), CallError> {
        self.gather_head(cx, now, part)?;
        let mut len = 0;
        while len < BATCH_BYTES && !part.is_end && self.stream.state().response != ResponseState::Done {
            let Some(receive) = &mut self.receive else { return Ok(()) };
            let Poll::Ready(data) = receive.poll_data(cx) else { return Ok(()) };
            match data {
                Some(Ok(data)) => {
                    let is_end = receive.is_end_stream();
                    self.stream.received(data.len(), self.is_waiting, now);
                    self.stream.receive_data(data.len(), is_end, now).map_err(CallError::Protocol)?;
                    len += data.len();
                    part.is_end = is_end;
                    if data.has_remaining() {
                        part.data.push(data);
                    }
                }
                Some(Err(error)) => return Err(self.failed(&error)),
                None => return self.gather_trailers(cx, now, part),
            }
        }
        Ok(())
    }

    fn gather_head(&mut self, cx: &mut Context<'_>, now: Time, part: &mut Part) -> Result<(), CallError> {
        let Some(response) = &mut self.response else { return Ok(()) };
        while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            let interim = match interim {
                Ok(interim) => interim,
                Err(error) => return Err(self.failed(&error)),
            };
            let (parts, ()) = interim.into_parts();
            part.interim.push(self.stream.receive_response(&parts, false, now).map_err(CallError::Protocol)?);
        }
        let Poll::Ready(answered) = Future::poll(Pin::new(response), cx) else { return Ok(()) };
        self.response = None;
        let (parts, receive) = match answered {
            Ok(response) => response.into_parts(),
            Err(error) => return Err(self.failed(&error)),
        };
        let is_end = receive.is_end_stream();
        let head = self.stream.receive_response(&parts, is_end, now).map_err(CallError::Protocol)?;
        self.receive = Some(receive);
        (part.head, part.is_end) = (Some(head), is_end);
        Ok(())
    }

    fn gather_trailers(&mut self, cx: &mut Context<'_>, now: Time, part: &mut Part) -> Result<(), CallError> {
        let Some(receive) = &mut self.receive else { return Ok(()) };
        let Poll::Ready(trailers) = receive.poll_trailers(cx) else { return Ok(()) };
        match trailers {
            Ok(Some(map)) => {
                part.trailers = Some(self.stream.receive_trailers(&map, now).map_err(CallError::Protocol)?);
            }
            Ok(None) => self.stream.receive_data(0, true, now).map_err(CallError::Protocol)?,
            Err(error) => return Err(self.failed(&error)),
        }
        part.is_end = true;
        Ok(())
    }

    /// What an error of the framing layer means for this exchange.
    fn failed(&mut self, error: &h2::Error) -> CallError {
        let code = error.reason().map(|reason| ErrorCode::of(reason.into()));
        match code {
            Some(code) if error.is_reset() && error.is_remote() => {
                // What it cut off is told by what there is instead of it.
                let _ = self.stream.receive_reset(code);
                if code == ErrorCode::Http11Required && self.reserved.connection.has_choice {
                    self.reserved.require_http1();
                }
                CallError::Reset(code)
            }
            Some(code) if error.is_reset() => {
                let reason = CloseReason::Protocol(code.label());
                self.stream.abandon(reason);
                CallError::Ended(reason)
            }
            Some(code) if error.is_go_away() && error.is_remote() => {
                let _ = self.stream.receive_reset(code);
                if code == ErrorCode::Http11Required && self.reserved.connection.has_choice {
                    self.reserved.require_http1();
                }
                if self.was_passed_over() { CallError::GoAway(code) } else { self.ended() }
            }
            _ => self.ended(),
        }
    }

    /// Why there is no more to come: the connection has ended.
    fn ended(&self) -> CallError {
        let has_answered = self.stream.has_answered();
        match self.reserved.connection.ended() {
            // What came of the response is not all of it.
            Some(CloseReason::PeerClosed | CloseReason::Truncated | CloseReason::Agreed) | None if has_answered => {
                CallError::Protocol(ProtocolError::TruncatedBody)
            }
            Some(CloseReason::PeerClosed | CloseReason::Agreed) | None => CallError::Closed,
            Some(CloseReason::PeerReset(fault) | CloseReason::PeerUnreachable(fault) | CloseReason::Local(fault)) => {
                CallError::Io(fault)
            }
            Some(CloseReason::TimedOut(timer)) => CallError::TimedOut(timer),
            Some(reason) => CallError::Ended(reason),
        }
    }

    /// Whether the origin said that it acts on no stream as late as this. RFC 9113 §6.8
    fn was_passed_over(&self) -> bool {
        let goaway = self.reserved.connection.crossed().goaway;
        self.id.zip(goaway).is_some_and(|(id, goaway)| goaway.last_stream < id)
    }

    pub(crate) fn rest(&mut self) {
        self.is_waiting = false;
    }

    pub(crate) fn has_whole_response(&self) -> bool {
        !matches!(self.stream.state().response, ResponseState::Owed | ResponseState::Body | ResponseState::Tunnel)
    }

    pub(crate) fn ends_by_close(&self) -> bool {
        false
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.stream.deadline(self.is_waiting)
    }

    pub(crate) fn expire(&mut self) -> CallError {
        let timer = self.deadline().map_or(Timer::Response, |due| due.timer);
        self.stream.expired(timer);
        self.reserved.doubt(timer);
        CallError::TimedOut(timer)
    }

    pub(crate) fn progress(&self) -> Progress {
        let Some(id) = self.id else { return Progress::Connected };
        if self.stream.has_answered() {
            return Progress::Answered;
        }
        match self.stream.peer_code() {
            Some(ErrorCode::RefusedStream) => return Progress::RefusedStream,
            // It speaks of every request in this version, and of none in the other.
            Some(ErrorCode::Http11Required) if self.reserved.connection.has_choice => return Progress::RefusedStream,
            _ => {}
        }
        if self.was_passed_over() {
            Progress::GoAwayAbove
        } else if self.reserved.connection.crossed().last_opened < id {
            // It waited for its turn: not a byte of it was given to the kernel.
            Progress::Connected
        } else {
            Progress::Written
        }
    }

    pub(crate) fn finish(mut self) {
        if self.is_in_body() || self.has_unsent() {
            self.stream.abandon(CloseReason::EarlyResponse);
            self.reset();
        }
    }

    pub(crate) fn abandon(mut self, reason: CloseReason) {
        self.stream.abandon(reason);
        self.reset();
    }

    /// Tells the origin that the stream is of no more use, unless both sides have ended it.
    fn reset(&mut self) {
        let owes = self.has_unsent() && self.stream.peer_code().is_none();
        let code = self.stream.reset_code().or(owes.then_some(ErrorCode::Cancel));
        if let (Some(code), Some(send)) = (code, &mut self.send) {
            send.send_reset(Reason::from(code.number()));
        }
        (self.unsent, self.owes) = (Bytes::new(), Owes::Nothing);
    }
}

impl<S: Socket> Drop for Http2<S> {
    fn drop(&mut self) {
        self.stream.end(Intent::Abort(CloseReason::Cancelled));
        self.reset();
        // Before the place: the framing layer forgets the stream first.
        (self.send, self.response, self.receive) = (None, None, None);
    }
}

/// What is here of a response.
#[derive(Default)]
struct Part {
    interim: Vec<ResponseHead>,
    head: Option<ResponseHead>,
    data: SmallVec<[Bytes; 8]>,
    is_end: bool,
    trailers: Option<Fields>,
}

impl Part {
    fn is_nothing(&self) -> bool {
        self.interim.is_empty() && self.head.is_none() && self.data.is_empty() && !self.is_end
    }
}
