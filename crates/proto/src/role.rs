//! The two roles of a connection: what differs between receiving requests and receiving responses.

use std::fmt::Debug;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::machine::Intent;
use sheave_lifecycle::phase::{Phase, Side};

use crate::config::Timeouts;
use crate::head::{RequestHead, ResponseHead};
use crate::read_head::{RequestReader, ResponseReader};
use crate::state::{RequestState, ResponseState, State, Step};

/// A role: [`Server`] or [`Client`], and no other.
pub trait Role: private::Sealed + Debug + Sized + 'static {
    /// Reads the heads that come in.
    type Reader: Default + Debug;
    /// The heads that come in.
    type Head: Debug;
    /// Whether its connections are held to an age.
    const RETIRES: bool;
    /// On which side of a relay its connections are.
    const SIDE: Side;

    /// Where a connection stands.
    fn phase(state: State, exchanges: u64) -> Phase;
    /// What runs while nothing is in flight.
    fn idle_timer(timeouts: &Timeouts, exchanges: u64) -> (Duration, Timer);
    /// What the peer owes while an exchange is under way.
    fn awaits(state: State) -> Option<Timer>;
    /// The step that ends the message that is being sent, if its body is being sent.
    fn end_of_sending(state: State) -> Option<Step>;
    /// The step that ends the message, or the direction of a tunnel, that is being received, if its head has been.
    fn end_of_receiving(state: State) -> Option<Step>;
    /// What becomes of a connection whose peer broke a rule.
    fn end_after_error(reason: CloseReason) -> Intent;
    /// What becomes of a connection whose peer is late.
    fn end_after_timeout(state: State, timer: Timer) -> Intent;
}

mod private {
    pub trait Sealed {}
    impl Sealed for super::Server {}
    impl Sealed for super::Client {}
}

/// Receives requests, sends responses.
#[derive(Debug)]
pub struct Server;

/// Sends requests, receives responses.
#[derive(Debug)]
pub struct Client;

impl Role for Server {
    type Reader = RequestReader;
    type Head = RequestHead;
    const RETIRES: bool = true;
    const SIDE: Side = Side::Downstream;

    fn phase(state: State, exchanges: u64) -> Phase {
        match (state.request, state.response) {
            (RequestState::Tunnel, _) | (_, ResponseState::Tunnel) => Phase::Tunnel,
            (RequestState::Head, _) => Phase::Head,
            (RequestState::Idle, _) if exchanges == 0 => Phase::FirstByte,
            (RequestState::Idle, _) => Phase::Idle,
            (RequestState::Body, ResponseState::Idle | ResponseState::Owed) => Phase::Request,
            (RequestState::Done, ResponseState::Idle | ResponseState::Owed) => Phase::Waiting,
            (RequestState::Done, ResponseState::Done) => Phase::Idle,
            (_, ResponseState::Body | ResponseState::Done) => Phase::Response,
        }
    }

    fn idle_timer(timeouts: &Timeouts, exchanges: u64) -> (Duration, Timer) {
        if exchanges == 0 { (timeouts.first_byte, Timer::FirstByte) } else { (timeouts.idle, Timer::Idle) }
    }

    fn awaits(state: State) -> Option<Timer> {
        (state.request == RequestState::Body).then_some(Timer::BodyRead)
    }

    fn end_of_sending(state: State) -> Option<Step> {
        matches!(state.response, ResponseState::Body | ResponseState::Tunnel).then_some(Step::ResponseEnded)
    }

    fn end_of_receiving(state: State) -> Option<Step> {
        matches!(state.request, RequestState::Body | RequestState::Tunnel).then_some(Step::RequestEnded)
    }

    fn end_after_error(reason: CloseReason) -> Intent {
        match reason {
            // Half a request and a FIN: nobody waits for an answer.
            CloseReason::Truncated => Intent::Close(reason),
            _ => Intent::Linger(reason),
        }
    }

    fn end_after_timeout(state: State, timer: Timer) -> Intent {
        let reason = CloseReason::TimedOut(timer);
        match (timer, state.response) {
            (Timer::FirstByte | Timer::Idle, _) => Intent::Close(reason),
            // A FIN would say that the other side has ended, which it has not.
            (Timer::TunnelIdle | Timer::TunnelAge, _) => Intent::Abort(reason),
            // A peer that does not read would not read an answer either.
            (Timer::Write, _) => Intent::Abort(reason),
            // A response is owed, and none has begun: 408 or 504 can be said.
            (_, ResponseState::Idle | ResponseState::Owed) => Intent::Linger(reason),
            (_, ResponseState::Body | ResponseState::Tunnel) => Intent::Abort(reason),
            (_, ResponseState::Done) => Intent::Linger(reason),
        }
    }
}

impl Role for Client {
    type Reader = ResponseReader;
    type Head = ResponseHead;
    /// Whoever keeps connections to be used again knows their age better.
    const RETIRES: bool = false;
    const SIDE: Side = Side::Upstream;

    fn phase(state: State, exchanges: u64) -> Phase {
        match (state.request, state.response) {
            (RequestState::Tunnel, _) | (_, ResponseState::Tunnel) => Phase::Tunnel,
            (_, ResponseState::Idle) if exchanges == 0 => Phase::Idle,
            (_, ResponseState::Idle) | (RequestState::Done, ResponseState::Done) => Phase::Parked,
            (RequestState::Done, ResponseState::Owed) => Phase::Waiting,
            (_, ResponseState::Owed) => Phase::Request,
            (_, ResponseState::Body | ResponseState::Done) => Phase::Response,
        }
    }

    fn idle_timer(timeouts: &Timeouts, _: u64) -> (Duration, Timer) {
        (timeouts.idle, Timer::Idle)
    }

    fn awaits(state: State) -> Option<Timer> {
        match (state.request, state.response) {
            (_, ResponseState::Body) => Some(Timer::BodyRead),
            (RequestState::Done, ResponseState::Owed) => Some(Timer::Response),
            _ => None,
        }
    }

    fn end_of_sending(state: State) -> Option<Step> {
        matches!(state.request, RequestState::Body | RequestState::Tunnel).then_some(Step::RequestEnded)
    }

    fn end_of_receiving(state: State) -> Option<Step> {
        matches!(state.response, ResponseState::Body | ResponseState::Tunnel).then_some(Step::ResponseEnded)
    }

    fn end_after_error(reason: CloseReason) -> Intent {
        Intent::Abort(reason)
    }

    fn end_after_timeout(_: State, timer: Timer) -> Intent {
        let reason = CloseReason::TimedOut(timer);
        // An RST lets a busy origin notice that nobody waits any more.
        if timer == Timer::Idle { Intent::Close(reason) } else { Intent::Abort(reason) }
    }
}
