//! One HTTP/2 stream as a machine: what is common to both roles.

use std::marker::PhantomData;
use std::sync::Arc;

use http::{HeaderMap, Method};
use sheave_lifecycle::byte_floor::Allowance;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::time::Time;

use crate::config::ConnectionConfig;
use crate::error::{Misuse, ProtocolError};
use crate::fields::Fields;
use crate::framing::BodyLength;
use crate::h2_code::ErrorCode;
use crate::h2_head;
use crate::role::Role;
use crate::state::{ResponseState, State, Step};

mod client;
mod server;

/// The sans-IO state of one exchange in a stream of HTTP/2. RFC 9113 §8
///
/// It is to a stream what [`Connection`](crate::connection::Connection) is to a connection of HTTP/1, by the same table of
/// states, with the same deadlines and bounds. Frames, windows and compression belong to a framing layer beside it; heads go
/// through it in the types of the `http` crate, and of bodies only the lengths do.
///
/// What ends it is an [`Intent`], as for a connection: `Close` when both halves are done, `Linger` where an answer may still
/// be given, `Abort` where nothing may. [`Self::reset_code`] says what is to be told to the peer when it is given up.
///
/// A 2xx to CONNECT makes it a tunnel: from there on both directions are raw bytes. RFC 9113 §8.5, RFC 8441
#[derive(Debug)]
pub struct Stream<R: Role> {
    config: Arc<ConnectionConfig>,
    state: State,
    method: Method,
    expectation: Expectation,
    /// Interim responses that were received.
    informational: usize,
    incoming: Content,
    outgoing: Content,
    /// Whether the peer ended its direction, and did not only say all that it had to.
    peer_has_ended: bool,
    /// What the peer reset it with.
    peer_code: Option<ErrorCode>,
    /// Since when the peer owes a response.
    since: Time,
    /// When the peer last moved, or we began to wait for it.
    progress: Time,
    /// What is left of the time for which the body that comes in may be too slow.
    allowance: Option<Allowance>,
    /// Since when the peer's window holds back what we have to send.
    held_back: Option<Time>,
    /// Since it is a tunnel.
    tunnel: Option<Time>,
    end: Option<(Intent, Phase)>,
    role: PhantomData<R>,
}

/// How much content may still come, or be sent.
#[derive(Clone, Copy, Debug)]
struct Content {
    /// What is left of a declared length.
    left: Option<u64>,
    /// Bytes so far.
    len: u64,
}

impl Content {
    const NONE: Self = Self { left: Some(0), len: 0 };

    const fn of(length: BodyLength) -> Self {
        let left = match length {
            BodyLength::None => Some(0),
            BodyLength::Known(len) => Some(len),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        Self { left, len: 0 }
    }
}

/// What became of `Expect: 100-continue`. RFC 9110 §10.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expectation {
    None,
    Awaited,
    Met,
}

impl<R: Role> Stream<R> {
    fn begin(config: Arc<ConnectionConfig>, method: Method, now: Time) -> Self {
        Self {
            config,
            state: State::START,
            method,
            expectation: Expectation::None,
            informational: 0,
            incoming: Content::NONE,
            outgoing: Content::NONE,
            peer_has_ended: false,
            peer_code: None,
            since: now,
            progress: now,
            allowance: None,
            held_back: None,
            tunnel: None,
            end: None,
            role: PhantomData,
        }
    }

    /// Where the exchange stands. Its persistence is always `Close`: a stream carries one.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it is held to.
    pub fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    /// Whether it has become a tunnel; also when that has ended.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Whether all that the peer has to say came: END_STREAM.
    pub fn peer_has_ended(&self) -> bool {
        self.peer_has_ended
    }

    /// What the peer reset it with, if it did.
    pub fn peer_code(&self) -> Option<ErrorCode> {
        self.peer_code
    }

    /// What RST_STREAM is to say now that the stream is given up; `None` where none is to be sent, because it goes on, both
    /// directions have ended, or the peer was first. RFC 9113 §5.4.2, §8.1
    pub fn reset_code(&self) -> Option<ErrorCode> {
        let (intent, _) = self.end?;
        let has_sent_all = R::end_of_sending(self.state).is_none() && self.state.is_over() && self.held_back.is_none();
        if self.peer_code.is_some() || (has_sent_all && self.peer_has_ended) {
            return None;
        }
        match intent.reason().map(|reason| ErrorCode::of_stream(reason, self.is_tunnel())) {
            // RFC 9113 §8.1: a server has no more use for a request; a client gives up its own.
            Some(ErrorCode::None) if R::SIDE == Side::Upstream => Some(ErrorCode::Cancel),
            code => code,
        }
    }

    /// Counts the content of a DATA frame, padding not included.
    ///
    /// # Errors
    /// [`ProtocolError::ContentLengthMismatch`] when it is not what was declared (RFC 9113 §8.1.1),
    /// [`ProtocolError::UnaskedBytes`] where there can be none, [`ProtocolError::BodyTooLarge`].
    pub fn receive_data(&mut self, len: usize, is_end: bool, now: Time) -> Result<(), ProtocolError> {
        self.count_data(len, is_end, now).map_err(|error| self.break_off(error))
    }

    fn count_data(&mut self, len: usize, is_end: bool, now: Time) -> Result<(), ProtocolError> {
        let Some(step) = R::end_of_receiving(self.state) else {
            return Err(ProtocolError::UnaskedBytes);
        };
        if len > 0 && self.expectation == Expectation::Awaited {
            self.expectation = Expectation::Met;
        }
        if !self.is_tunnel() {
            self.incoming.len = self.incoming.len.saturating_add(len as u64);
            if let Some(left) = &mut self.incoming.left {
                *left = left.checked_sub(len as u64).ok_or(ProtocolError::ContentLengthMismatch)?;
            }
            if let Some(limit) = self.config.limits.max_body_bytes
                && self.incoming.len > limit
            {
                return Err(ProtocolError::BodyTooLarge { limit });
            }
        }
        if is_end {
            self.end_receiving(step, now)?;
        }
        Ok(())
    }

    /// Takes the trailer fields that end the peer's direction.
    ///
    /// # Errors
    /// [`ProtocolError`] for fields that may not stand there (RFC 9113 §8.1), or when content is missing.
    pub fn receive_trailers(&mut self, map: &HeaderMap, now: Time) -> Result<Fields, ProtocolError> {
        let read = match R::end_of_receiving(self.state) {
            // RFC 9113 §8.5: nothing but DATA in a tunnel.
            Some(_) if self.is_tunnel() => Err(ProtocolError::UnaskedBytes),
            Some(step) => h2_head::read_trailers(map, &self.config.limits)
                .and_then(|fields| self.end_receiving(step, now).map(|()| fields)),
            None => Err(ProtocolError::UnaskedBytes),
        };
        read.map_err(|error| self.break_off(error))
    }

    fn end_receiving(&mut self, step: Step, now: Time) -> Result<(), ProtocolError> {
        if !self.is_tunnel() && self.incoming.left.is_some_and(|left| left > 0) {
            return Err(ProtocolError::ContentLengthMismatch);
        }
        self.peer_has_ended = true;
        self.stride(step);
        self.since = self.since.max(now);
        self.settle();
        Ok(())
    }

    /// The peer reset the stream. [`Self::peer_code`] is what it said.
    ///
    /// # Errors
    /// What it had not said by then, it never will: [`ProtocolError::TruncatedHead`] or [`ProtocolError::TruncatedBody`], where
    /// its message was not whole. RFC 9113 §8.1
    pub fn receive_reset(&mut self, code: ErrorCode) -> Result<(), ProtocolError> {
        self.peer_code.get_or_insert(code);
        self.end_with(Intent::Abort(CloseReason::PeerClosed));
        match (R::end_of_receiving(self.state), R::SIDE, self.state.response) {
            (Some(_), ..) => Err(ProtocolError::TruncatedBody),
            (None, Side::Upstream, ResponseState::Idle | ResponseState::Owed) => Err(ProtocolError::TruncatedHead),
            _ => Ok(()),
        }
    }

    /// Counts content that is being sent; `is_end` says that it is the last, so that END_STREAM goes with it or with the
    /// trailers that follow it.
    ///
    /// A message without content has ended with its head; then `is_end` without content does nothing.
    ///
    /// # Errors
    /// [`Misuse`] when no content is being sent, or it is not what was declared. Nothing is counted then.
    pub fn send_data(&mut self, len: usize, is_end: bool, now: Time) -> Result<(), Misuse> {
        let Some(step) = R::end_of_sending(self.state) else {
            return if len == 0 { Ok(()) } else { Err(Misuse::ContentNotAllowed) };
        };
        let bytes = len as u64;
        if !self.is_tunnel() {
            let left = match self.outgoing.left {
                None => None,
                Some(left) => match left.checked_sub(bytes) {
                    None => return Err(Misuse::BodyTooLong { excess: bytes - left }),
                    Some(missing @ 1..) if is_end => return Err(Misuse::BodyTooShort { missing }),
                    rest => rest,
                },
            };
            self.outgoing = Content { left, len: self.outgoing.len.saturating_add(bytes) };
        } else if len > 0 {
            // A byte either way shows that the tunnel is of use.
            self.progress = now;
        }
        if is_end {
            self.stride(step);
            self.since = now;
            self.settle();
        }
        Ok(())
    }

    /// Trailer fields, to be sent behind all content.
    ///
    /// # Errors
    /// [`Misuse::ForbiddenTrailer`], [`Misuse::TooManyFields`]; [`Misuse::TrailersWithoutChunked`] in a tunnel.
    pub fn trailers(&self, fields: &Fields) -> Result<HeaderMap, Misuse> {
        if self.is_tunnel() {
            return Err(Misuse::TrailersWithoutChunked);
        }
        h2_head::write_trailers(fields)
    }

    /// How much of the content being sent has not been given yet; `None` where its length was not declared.
    pub fn unsent(&self) -> Option<u64> {
        R::end_of_sending(self.state).and(self.outgoing.left)
    }

    /// The peer's window holds back what we have to send: its time to open it counts from here, if it does not already.
    pub fn hold_back(&mut self, now: Time) {
        self.held_back.get_or_insert(now);
    }

    /// The peer opened its window, or there is nothing left to send.
    pub fn let_go(&mut self) {
        self.held_back = None;
    }

    fn stride(&mut self, step: Step) {
        match self.state.step(step) {
            Ok(state) => self.state = state,
            Err(_) => self.end_with(Intent::Abort(CloseReason::Bug("impossible-step"))),
        }
    }

    fn end_with(&mut self, intent: Intent) {
        if self.end.is_none() {
            self.end = Some((intent, R::phase(self.state, 1)));
        }
    }

    fn break_off(&mut self, error: ProtocolError) -> ProtocolError {
        let reason = match error {
            ProtocolError::UnaskedBytes => CloseReason::UnaskedBytes,
            error => CloseReason::Protocol(error.label()),
        };
        self.end_with(if error.resets_stream() { Intent::Abort(reason) } else { R::end_after_error(reason) });
        error
    }

    /// From here on the bytes of both directions are another protocol's.
    fn become_tunnel(&mut self, now: Time) {
        self.stride(Step::Switched);
        self.tunnel = Some(now);
        self.allowance = None;
        self.progress = now;
    }

    /// After each step: the exchange may be over.
    fn settle(&mut self) {
        if self.state.is_over() {
            let reason = if self.is_tunnel() { CloseReason::Upgraded } else { CloseReason::Agreed };
            self.end_with(Intent::Close(reason));
        }
    }

    /// What the peer owes.
    fn owed(&self) -> Option<Deadline> {
        let timeouts = &self.config.timeouts;
        match R::awaits(self.state)? {
            Timer::Response => Some(Deadline { at: self.since.after(timeouts.response), timer: Timer::Response }),
            timer => {
                let stops = Deadline { at: self.progress.after(timeouts.body), timer };
                let drips = self
                    .allowance
                    .map(|allowance| Deadline { at: self.progress.after(allowance.left()), timer: Timer::BodyRate });
                Deadline::earlier(Some(stops), drips)
            }
        }
    }

    fn tunnel_deadline(&self, since: Time, is_waiting: bool) -> Option<Deadline> {
        let timeouts = &self.config.timeouts;
        let idle = Deadline { at: self.progress.after(timeouts.tunnel_idle), timer: Timer::TunnelIdle };
        let age = timeouts.tunnel_age.map(|age| Deadline { at: since.after(age), timer: Timer::TunnelAge });
        Deadline::earlier(is_waiting.then_some(idle), age)
    }
}

/// Its deadlines are those of one exchange. Unlike a connection's, they include the one for writing ([`Timer::Write`]): it is
/// the stream's own window that holds back.
impl<R: Role> Machine for Stream<R> {
    fn phase(&self) -> Phase {
        self.end.map_or_else(|| R::phase(self.state, 1), |(_, phase)| phase)
    }

    fn exchanges(&self) -> u64 {
        1
    }

    fn deadline(&self, is_waiting: bool) -> Option<Deadline> {
        let window = self.config.http2.window_timeout;
        let write = self.held_back.map(|since| Deadline { at: since.after(window), timer: Timer::Write });
        match self.end {
            // All was given, and not all let out.
            Some((Intent::Close(_), _)) => return write,
            Some(_) => return None,
            None => {}
        }
        let owed = match self.tunnel {
            Some(since) => self.tunnel_deadline(since, is_waiting),
            None if is_waiting => self.owed(),
            None => None,
        };
        Deadline::earlier(owed, write)
    }

    fn intent(&self) -> Intent {
        self.end.map_or(Intent::Continue, |(intent, _)| intent)
    }

    fn progressed(&mut self, now: Time) {
        self.progress = now;
    }

    fn received(&mut self, len: usize, was_awaited: bool, now: Time) {
        if let Some(allowance) = self.allowance {
            let left = if was_awaited { allowance.spend(now.since(self.progress)) } else { allowance };
            self.allowance = self.config.timeouts.body_floor().map(|floor| left.earn(len, &floor));
        }
        self.progress = now;
    }

    fn expired(&mut self, timer: Timer) {
        let intent = R::end_after_timeout(self.state, timer);
        match &mut self.end {
            // It was not the end after all.
            Some((end @ Intent::Close(_), _)) if self.held_back.is_some() => *end = intent,
            _ => self.end_with(intent),
        }
    }

    fn end(&mut self, intent: Intent) {
        self.end_with(intent);
    }
}
