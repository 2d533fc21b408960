//! One HTTP/1 connection as a machine: what is common to both roles.

use std::ops::Deref;
use std::sync::Arc;

use bytes::BytesMut;
use http::Method;
use sheave_lifecycle::byte_floor::Allowance;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;

use crate::body::{BodyEvent, BodyReader, BodyWriter, Frame};
use crate::config::ConnectionConfig;
use crate::error::{Misuse, ProtocolError};
use crate::few::Few;
use crate::fields::Fields;
use crate::framing::BodyLength;
use crate::role::Role;
use crate::state::{Persistence, RequestState, State, Step};
use crate::version::Version;

mod client;
mod server;

/// A part of a message, in the order of the wire. `'b` is the buffer of the read that brought it.
#[derive(Debug)]
pub enum Event<'b, H> {
    /// An interim response (1xx) came. Client role only.
    Informational(H),
    /// The head is whole. Where no body follows, no `End` does: see [`Connection::state`].
    Head(H),
    /// A piece of the body, or of what the peer sends through a tunnel; never empty.
    Data(&'b [u8]),
    /// The body is whole; the trailer fields, if it had any. In a tunnel, the peer's direction has ended.
    End(Option<Fields>),
}

/// The sans-IO state of one HTTP/1 connection. RFC 9112.
///
/// Received bytes go through `receive`, which keeps none but an unfinished head. To send, `send_head`, [`Self::frame`]
/// and `finish` write what frames the body; the body's bytes themselves go past it, to the socket.
///
/// It decides, alone, when a message begins and ends, whether the connection persists, what `Connection` says, which
/// deadline runs and how the connection ends. It never waits and never reads a clock.
///
/// A 101 that answers an Upgrade, or a 2xx to CONNECT, makes it a tunnel: from there on each direction is one body of raw
/// bytes, which ends with FIN, and no byte is read as HTTP. RFC 9110 §7.8, §9.3.6
#[derive(Debug)]
pub struct Connection<R: Role> {
    config: Arc<ConnectionConfig>,
    state: State,
    reader: R::Reader,
    /// Where there is a body; in a box, as most requests have none and no idle connection has one.
    body_in: Option<Box<BodyIn>>,
    body_out: Option<BodyWriter>,
    exchange: Exchange,
    /// Where the request offered to switch to another protocol, or that was done.
    switch: Option<Box<Switch>>,
    /// Interim responses to this request that were received.
    informational: u16,
    exchanges: u32,
    /// Since when the peer owes what it owes: a head, a first byte, a response.
    since: Time,
    /// When the peer last moved, or we began to wait for it.
    progress: Time,
    /// From when on the next response is the last.
    retires_at: Option<Time>,
    peer_has_ended: bool,
    is_draining: bool,
    /// Nothing for as long as the connection is of use.
    end: Option<Box<(Intent, Phase)>>,
}

/// What stands around one read's worth of body on the wire.
#[derive(Debug)]
pub struct Wrapping {
    frame: Option<Frame>,
    tail: BytesMut,
}

impl Wrapping {
    /// `data` with what stands around it, ready for one vectored write.
    #[inline]
    pub fn around<'a>(&'a self, data: &'a [&'a [u8]]) -> Wrapped<'a> {
        match &self.frame {
            None if self.tail.is_empty() => Wrapped::Bare(&[]),
            Some(frame) if frame.is_bare() && self.tail.is_empty() => Wrapped::Bare(data),
            frame => Wrapped::Framed(self.parts(frame.as_ref(), data)),
        }
    }

    fn parts<'a>(&'a self, frame: Option<&'a Frame>, data: &[&'a [u8]]) -> Few<&'a [u8], 12> {
        let mut parts = Few::new();
        if let Some(frame) = frame {
            parts.push(&*frame.prefix);
            parts.extend_from_slice(data);
            parts.push(frame.suffix);
        }
        if !self.tail.is_empty() {
            parts.push(&self.tail[..]);
        }
        parts
    }
}

/// Body with what stands around it, read as a slice of pieces. Only chunks have anything around them.
#[derive(Debug)]
pub enum Wrapped<'a> {
    /// The body as it is.
    Bare(&'a [&'a [u8]]),
    /// The body among the pieces.
    Framed(Few<&'a [u8], 12>),
}

impl<'a> Deref for Wrapped<'a> {
    type Target = [&'a [u8]];

    #[inline]
    fn deref(&self) -> &[&'a [u8]] {
        match self {
            Self::Bare(data) => data,
            Self::Framed(parts) => parts,
        }
    }
}

/// What must be remembered of the exchange that is under way. Idle connections carry it as well, so it is written small.
#[derive(Debug)]
struct Exchange {
    asked: Asked,
    /// The version of the peer's message.
    peer: Version,
    expectation: Expectation,
    /// The peer said, or its version implied, that it sends no further request.
    peer_said_close: bool,
    /// The response's body ends with the connection.
    ends_by_close: bool,
}

/// A body that comes in.
#[derive(Debug)]
struct BodyIn {
    reader: BodyReader,
    /// What is left of the time for which it may be too slow, where it has a floor.
    allowance: Option<Allowance>,
}

/// What of a request's method decides whether a response can have content.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Head,
    Connect,
    Other,
}

impl Asked {
    fn by(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }

    /// A method for which the same holds.
    fn method(self) -> &'static Method {
        static METHODS: [Method; 3] = [Method::HEAD, Method::CONNECT, Method::GET];
        &METHODS[self as usize]
    }
}

/// The way to another protocol.
#[derive(Debug, Default)]
struct Switch {
    /// The protocols that the request offered to switch to, as a list.
    offer: Option<Box<[u8]>>,
    tunnel: Option<Tunnel>,
}

impl Switch {
    fn offering(offer: Option<Box<[u8]>>) -> Option<Box<Self>> {
        offer.map(|offer| Box::new(Self { offer: Some(offer), tunnel: None }))
    }
}

/// A connection that carries another protocol.
#[derive(Debug)]
struct Tunnel {
    /// When it became one.
    since: Time,
    /// Whether our FIN has been sent.
    is_shut: bool,
}

/// What became of `Expect: 100-continue`. RFC 9110 §10.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expectation {
    /// The client sends its content without being asked.
    None,
    /// The client waits for a 100, or for its own patience to end.
    Awaited,
    /// A 100 was sent, or content came without one.
    Met,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            asked: Asked::Other,
            peer: Version::Http11,
            expectation: Expectation::None,
            peer_said_close: false,
            ends_by_close: false,
        }
    }
}

impl<R: Role> Connection<R> {
    /// A connection on which nothing has happened.
    pub fn new(config: Arc<ConnectionConfig>, now: Time) -> Self {
        Self {
            retires_at: config.retires_at(now),
            config,
            state: State::START,
            reader: R::Reader::default(),
            body_in: None,
            body_out: None,
            exchange: Exchange::default(),
            switch: None,
            informational: 0,
            exchanges: 0,
            since: now,
            progress: now,
            peer_has_ended: false,
            is_draining: false,
            end: None,
        }
    }

    /// Where the exchange stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether nothing is in flight and another exchange may begin.
    pub fn is_idle(&self) -> bool {
        self.state.is_idle() && self.end.is_none()
    }

    /// Whether it has become a tunnel; also when that has ended.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel().is_some()
    }

    /// Whether our direction of a tunnel has ended, and the peer is to be told by FIN once all that is owed is written.
    /// Ask again after [`Self::note_shut`].
    pub fn owes_fin(&self) -> bool {
        self.tunnel().is_some_and(|tunnel| !tunnel.is_shut) && R::end_of_sending(self.state).is_none()
    }

    /// Our FIN has been sent.
    pub fn note_shut(&mut self) {
        if let Some(tunnel) = self.switch.as_mut().and_then(|switch| switch.tunnel.as_mut()) {
            tunnel.is_shut = true;
        }
    }

    /// What it is held to.
    pub fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    /// From now on every exchange is the last, and every head that is written from here on says so.
    pub fn start_drain(&mut self) {
        self.is_draining = true;
    }

    /// The bytes that must stand before and after `len` bytes of body.
    ///
    /// # Errors
    /// [`Misuse`] when no body is being sent, or when more would be sent than was declared.
    pub fn frame(&mut self, len: usize) -> Result<Frame, Misuse> {
        self.body_out.as_mut().ok_or(Misuse::ContentNotAllowed)?.frame(len)
    }

    /// Ends the body that is being sent, or our direction of a tunnel. What it writes stands behind all that was framed
    /// before; the end of a tunnel's direction is told by FIN, see [`Self::owes_fin`].
    ///
    /// A message without body has ended with its head; then this does nothing.
    ///
    /// # Errors
    /// [`Misuse`] when less was framed than was declared, or trailers do not fit the framing.
    pub fn finish(&mut self, trailers: Option<&Fields>, out: &mut BytesMut, now: Time) -> Result<(), Misuse> {
        let Some(step) = R::end_of_sending(self.state) else { return Ok(()) };
        self.body_out.as_mut().ok_or(Misuse::WrongState)?.finish(trailers, out)?;
        self.stride(step);
        self.since = now;
        if R::end_of_sending(self.state).is_some() {
            // Behind the body of a request that was answered early with a 101 the tunnel begins.
            self.body_out = Some(BodyWriter::new(BodyLength::UntilClose));
        }
        self.settle(now);
        Ok(())
    }

    /// What must stand around `len` bytes of body, and behind them where they are the last.
    ///
    /// # Errors
    /// As for [`Self::frame`] and [`Self::finish`].
    pub fn wrap(&mut self, len: usize, is_end: bool, trailers: Option<&Fields>, now: Time) -> Result<Wrapping, Misuse> {
        let frame = if len == 0 { None } else { Some(self.frame(len)?) };
        if self.is_tunnel() {
            // A byte either way shows that the tunnel is of use.
            self.progress = now;
        }
        let mut tail = BytesMut::new();
        if is_end {
            self.finish(trailers, &mut tail, now)?;
        }
        Ok(Wrapping { frame, tail })
    }

    /// How much of the body being sent has not been framed yet; `None` where its length was not declared.
    pub fn unframed(&self) -> Option<u64> {
        self.body_out.as_ref()?.remaining()
    }

    #[inline(always)]
    fn step(&mut self, step: Step) -> Result<(), Misuse> {
        self.state = self.state.step(step).map_err(|_| Misuse::WrongState)?;
        Ok(())
    }

    /// A step that this state is known to allow.
    #[inline(always)]
    fn stride(&mut self, step: Step) {
        if self.step(step).is_err() {
            self.stumble();
        }
    }

    #[cold]
    fn stumble(&mut self) {
        self.end_with(Intent::Abort(CloseReason::Bug("impossible-step")));
    }

    fn end_with(&mut self, intent: Intent) {
        if self.end.is_none() {
            self.end = Some(Box::new((intent, R::phase(self.state, self.exchanges()))));
        }
    }

    /// The protocols that the request offered to switch to, as a list.
    fn offered(&self) -> Option<&[u8]> {
        self.switch.as_deref()?.offer.as_deref()
    }

    /// Since it is a tunnel.
    fn tunnel(&self) -> Option<&Tunnel> {
        self.switch.as_deref()?.tunnel.as_ref()
    }

    /// From here on the bytes of both directions are another protocol's; the client's, once its request is whole.
    fn become_tunnel(&mut self, now: Time) {
        self.stride(Step::Switched);
        self.switch.get_or_insert_default().tunnel = Some(Tunnel { since: now, is_shut: false });
        if let Some(body) = &mut self.body_in {
            body.allowance = None;
        }
        self.progress = now;
    }

    fn tunnel_deadline(&self, tunnel: &Tunnel, is_waiting: bool) -> Option<Deadline> {
        let timeouts = &self.config.timeouts;
        let idle = Deadline { at: self.progress.after(timeouts.tunnel_idle), timer: Timer::TunnelIdle };
        let age = timeouts.tunnel_age.map(|age| Deadline { at: tunnel.since.after(age), timer: Timer::TunnelAge });
        Deadline::earlier(is_waiting.then_some(idle), age)
    }

    fn is_last(&self) -> bool {
        self.is_draining || self.exchanges >= self.max_requests()
    }

    fn max_requests(&self) -> u32 {
        u32::try_from(self.config.max_requests).unwrap_or(u32::MAX)
    }

    fn is_old(&self, now: Time) -> bool {
        self.retires_at.is_some_and(|at| at <= now)
    }

    fn persists(&self) -> bool {
        self.state.persistence == Persistence::KeepAlive
    }

    /// After each step: the exchange may be over, and with it the connection.
    fn settle(&mut self, now: Time) {
        if self.state.is_idle() {
            self.since = now;
            self.body_in = None;
            self.body_out = None;
            if self.peer_has_ended {
                self.stride(Step::CloseAgreed);
            }
        }
        if self.state.is_over() && self.is_tunnel() {
            // Both sides have said FIN, so none waits for anything.
            self.end.get_or_insert_with(|| Box::new((Intent::Close(CloseReason::Upgraded), Phase::Tunnel)));
        } else if self.state.is_over() {
            let is_idle = self.state.request == RequestState::Idle;
            let reason = if is_idle && self.peer_has_ended {
                CloseReason::PeerClosed
            } else if self.exchanges >= self.max_requests() {
                CloseReason::MaxRequests
            } else if R::RETIRES && self.is_old(now) && !self.exchange.peer_said_close {
                CloseReason::MaxAge
            } else {
                CloseReason::Agreed
            };
            // A peer that learns of the end by our last head may have sent more, and an RST would destroy that head.
            let is_expected = self.peer_has_ended || self.exchange.peer_said_close;
            self.end_with(if is_expected { Intent::Close(reason) } else { Intent::Linger(reason) });
        }
    }

    /// What the peer sent cannot be read: nothing more of it will be.
    fn break_off(&mut self, error: ProtocolError) -> ProtocolError {
        self.end_with(R::end_after_error(match error {
            ProtocolError::TruncatedHead | ProtocolError::TruncatedBody => CloseReason::Truncated,
            ProtocolError::UnaskedBytes => CloseReason::UnaskedBytes,
            _ => CloseReason::Protocol(error.label()),
        }));
        error
    }

    /// The body of a message that is so framed, if it has one.
    fn begin_body(&self, length: BodyLength) -> Result<Option<Box<BodyIn>>, ProtocolError> {
        if !has_body(length) {
            return Ok(None);
        }
        let reader = BodyReader::new(length, &self.config.limits)?;
        Ok(Some(Box::new(BodyIn { reader, allowance: None })))
    }

    fn receive_body<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<BodyEvent<'b>>, ProtocolError> {
        match &mut self.body_in {
            Some(body) => body.reader.receive(input),
            None => Err(ProtocolError::UnaskedBytes),
        }
    }
}

/// Takes all there is.
fn take_all<'b>(input: &mut &'b [u8]) -> &'b [u8] {
    std::mem::take(input)
}

/// Whether so framed a message has content to wait for or to write.
const fn has_body(length: BodyLength) -> bool {
    !matches!(length, BodyLength::None | BodyLength::Known(0))
}

impl<R: Role> Machine for Connection<R> {
    fn phase(&self) -> Phase {
        self.end.as_ref().map_or_else(|| R::phase(self.state, self.exchanges()), |end| end.1)
    }

    fn exchanges(&self) -> u64 {
        u64::from(self.exchanges)
    }

    fn deadline(&self, is_waiting: bool) -> Option<Deadline> {
        if self.end.is_some() {
            return None;
        }
        if let Some(tunnel) = self.tunnel() {
            return self.tunnel_deadline(tunnel, is_waiting);
        }
        let timeouts = &self.config.timeouts;
        let (since, timeout, timer) = match self.state.request {
            _ if self.state.is_idle() => {
                let (timeout, timer) = R::idle_timer(timeouts, self.exchanges());
                // The peer can begin the next exchange once it has been sent the end of the last: when it is waited for.
                (self.since.max(self.progress), timeout, timer)
            }
            RequestState::Head => (self.since, timeouts.head, Timer::HeadRead),
            _ if !is_waiting => return None,
            _ => match R::awaits(self.state)? {
                Timer::Response => (self.since, timeouts.response, Timer::Response),
                timer => {
                    let stops = Deadline { at: self.progress.after(timeouts.body), timer };
                    let drips = self.body_in.as_ref().and_then(|body| body.allowance).map(|allowance| Deadline {
                        at: self.progress.after(allowance.left()),
                        timer: Timer::BodyRate,
                    });
                    return Deadline::earlier(Some(stops), drips);
                }
            },
        };
        Some(Deadline { at: since.after(timeout), timer })
    }

    fn intent(&self) -> Intent {
        self.end.as_ref().map_or(Intent::Continue, |end| end.0)
    }

    fn progressed(&mut self, now: Time) {
        self.progress = now;
    }

    fn received(&mut self, len: usize, was_awaited: bool, now: Time) {
        if let Some(body) = &mut self.body_in
            && let Some(allowance) = body.allowance
        {
            let left = if was_awaited { allowance.spend(now.since(self.progress)) } else { allowance };
            body.allowance = self.config.timeouts.body_floor().map(|floor| left.earn(len, &floor));
        }
        self.progress = now;
    }

    fn expired(&mut self, timer: Timer) {
        self.end_with(R::end_after_timeout(self.state, timer));
    }

    fn end(&mut self, intent: Intent) {
        self.end_with(intent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Client, Server};

    /// Every connection has one, whatever it does.
    #[test]
    fn is_small() {
        assert!(size_of::<Connection<Server>>() <= 104, "{}", size_of::<Connection<Server>>());
        assert!(size_of::<Connection<Client>>() <= 96, "{}", size_of::<Connection<Client>>());
        // The allocator is asked for an alignment as well, and so gives a block of 96 bytes for less than those alone.
        assert!(size_of::<BodyIn>() < 96, "{}", size_of::<BodyIn>());
    }
}
