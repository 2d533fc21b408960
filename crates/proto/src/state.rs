//! The states of an exchange, and the one table of steps between them.

use std::fmt;

/// The request's half, whichever role looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RequestState {
    /// Not one byte of it.
    Idle,
    /// Part of its head.
    Head,
    /// Its head, and part of its body.
    Body,
    /// It is whole, and what the client sends behind it is another protocol's.
    Tunnel,
    /// All of it, or all that there will be.
    Done,
}

/// The response's half, whichever role looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResponseState {
    /// None is owed.
    Idle,
    /// One is owed; interim ones (1xx) may have gone by.
    Owed,
    /// Its final head, and part of its body.
    Body,
    /// It was a 101, or a 2xx to CONNECT, and what the server sends behind it is another protocol's.
    Tunnel,
    /// All of it.
    Done,
}

/// Whether the connection outlives the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Persistence {
    /// Unless something comes up. RFC 9112 §9.3.
    KeepAlive,
    /// This exchange is the last. Never taken back.
    Close,
}

/// What happens to an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// The first byte of a request's head was received.
    HeadBegun,
    /// A request's head is whole.
    RequestHead {
        /// Whether a body follows.
        has_body: bool,
    },
    /// The request's body is whole, or the client's direction of a tunnel has ended.
    RequestEnded,
    /// The request cannot be read further; it may still be answered.
    RequestBroken,
    /// An interim response.
    Informational,
    /// The final response's head.
    ResponseHead {
        /// Whether a body follows.
        has_body: bool,
    },
    /// The final response's head, with which the connection becomes a tunnel: a 101, or a 2xx to CONNECT.
    Switched,
    /// The response's body is whole, or the server's direction of a tunnel has ended.
    ResponseEnded,
    /// A side says, or the version, the framing or a limit implies, that this exchange is the last.
    CloseAgreed,
}

/// A step that the state does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The state.
    pub state: State,
    /// The step.
    pub step: Step,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not allowed in {}", self.step, self.state)
    }
}

impl std::error::Error for Refused {}

/// Where an exchange stands. Both roles keep it; they differ only in who causes which step.
///
/// ```text
///  request      Idle ──HeadBegun──► Head ──RequestHead──► Body ──RequestEnded──► Done
///                 └───────────RequestHead──────────────────┴──(no body)──────────►│
///                                                                                 │ both done and
///  response     Idle ──RequestHead──► Owed ──ResponseHead──► Body ──ResponseEnded─► Done   KeepAlive:
///                                     ▲  └┐                   └──(no body)────────►│        back to Idle
///                                     └───┘ Informational
///
///  persistence  KeepAlive ──CloseAgreed, RequestBroken, Switched──► Close
///
///  tunnel       Done/Owed ──Switched──────────────────────► Tunnel/Tunnel ──RequestEnded──► Done/Tunnel ─┐ ResponseEnded
///               Body/Owed ──Switched──► Body/Tunnel             ▲       └───ResponseEnded─► Tunnel/Done ─┤ RequestEnded
///                                         └─────RequestEnded────┘                                Done/Done
/// ```
///
/// The response may run ahead of the request's end (an early response), never ahead of its head. Both halves done on a
/// connection that persists is the idle state again; on one that does not, the connection is over.
///
/// A server may switch before the request's body is whole; the client may not speak the other protocol before it is, so
/// its direction becomes a tunnel only then. RFC 9110 §7.8
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The request's half.
    pub request: RequestState,
    /// The response's half.
    pub response: ResponseState,
    /// Whether another exchange may follow.
    pub persistence: Persistence,
}

impl State {
    /// A connection on which nothing has happened.
    pub const START: Self =
        Self { request: RequestState::Idle, response: ResponseState::Idle, persistence: Persistence::KeepAlive };

    /// A connection that never was anything but a tunnel.
    pub const TUNNEL: Self =
        Self { request: RequestState::Tunnel, response: ResponseState::Tunnel, persistence: Persistence::Close };

    /// The state after `step`.
    ///
    /// # Errors
    /// [`Refused`] when the table has no such step; the state stays.
    // Where it is taken the step is known, and little of the table is left.
    #[inline(always)]
    pub const fn step(self, step: Step) -> Result<Self, Refused> {
        use RequestState as Q;
        use ResponseState as A;
        let Self { request, response, persistence } = self;
        if matches!((request, persistence, step), (Q::Idle, Persistence::Close, _))
            && !matches!(step, Step::CloseAgreed)
        {
            return Err(Refused { state: self, step });
        }
        let (request, response, persistence) = match (step, request, response) {
            // A request may only begin when the one before has been answered. RFC 9112 §9.3.2
            (Step::HeadBegun, Q::Idle, A::Idle) => (Q::Head, A::Idle, persistence),
            (Step::RequestHead { has_body: true }, Q::Idle | Q::Head, A::Idle) => (Q::Body, A::Owed, persistence),
            (Step::RequestHead { has_body: false }, Q::Idle | Q::Head, A::Idle) => (Q::Done, A::Owed, persistence),
            (Step::RequestEnded, Q::Body, A::Owed | A::Body | A::Done) => (Q::Done, response, persistence),
            (Step::RequestEnded, Q::Body, A::Tunnel) => (Q::Tunnel, response, persistence),
            (Step::RequestEnded, Q::Tunnel, A::Tunnel | A::Done) => (Q::Done, response, persistence),
            // What cannot be read is answered, unless the answer is under way already, and nothing after it is read.
            (Step::RequestBroken, Q::Idle | Q::Head, A::Idle) => (Q::Done, A::Owed, Persistence::Close),
            (Step::RequestBroken, Q::Body, A::Owed | A::Body | A::Tunnel | A::Done) => {
                (Q::Done, response, Persistence::Close)
            }
            (Step::Informational, Q::Body | Q::Done, A::Owed) => (request, A::Owed, persistence),
            (Step::ResponseHead { has_body: true }, Q::Body | Q::Done, A::Owed) => (request, A::Body, persistence),
            (Step::ResponseHead { has_body: false }, Q::Body | Q::Done, A::Owed) => (request, A::Done, persistence),
            (Step::Switched, Q::Done, A::Owed) => (Q::Tunnel, A::Tunnel, Persistence::Close),
            (Step::Switched, Q::Body, A::Owed) => (Q::Body, A::Tunnel, Persistence::Close),
            (Step::ResponseEnded, Q::Body | Q::Done, A::Body) => (request, A::Done, persistence),
            (Step::ResponseEnded, Q::Tunnel | Q::Done, A::Tunnel) => (request, A::Done, persistence),
            (Step::CloseAgreed, _, _) => (request, response, Persistence::Close),
            _ => return Err(Refused { state: self, step }),
        };
        Ok(match (request, response, persistence) {
            (Q::Done, A::Done, Persistence::KeepAlive) => Self::START,
            _ => Self { request, response, persistence },
        })
    }

    /// Whether nothing is in flight and another exchange may begin.
    pub const fn is_idle(self) -> bool {
        matches!(
            self,
            Self { request: RequestState::Idle, response: ResponseState::Idle, persistence: Persistence::KeepAlive }
        )
    }

    /// Whether both halves are done, or none began, and nothing may follow.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self {
                request: RequestState::Done | RequestState::Idle,
                response: ResponseState::Done | ResponseState::Idle,
                persistence: Persistence::Close
            }
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{:?}", self.request, self.response, self.persistence)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    const STEPS: [Step; 11] = [
        Step::HeadBegun,
        Step::RequestHead { has_body: false },
        Step::RequestHead { has_body: true },
        Step::RequestEnded,
        Step::RequestBroken,
        Step::Informational,
        Step::ResponseHead { has_body: false },
        Step::ResponseHead { has_body: true },
        Step::Switched,
        Step::ResponseEnded,
        Step::CloseAgreed,
    ];

    /// All states that can be reached from the start, in the order in which they are found.
    fn reachable() -> Vec<State> {
        let mut found = vec![State::START];
        let mut next = 0;
        while let Some(state) = found.get(next).copied() {
            for after in STEPS.iter().filter_map(|step| state.step(*step).ok()) {
                if !found.contains(&after) {
                    found.push(after);
                }
            }
            next += 1;
        }
        found
    }

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for state in reachable() {
            for step in STEPS {
                if let Ok(after) = state.step(step) {
                    writeln!(table, "{state:<24} {:<30} → {after}", format!("{step:?}")).expect("a string takes all");
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn close_is_never_taken_back_and_no_response_precedes_its_request() {
        for state in reachable() {
            for after in STEPS.iter().filter_map(|step| state.step(*step).ok()) {
                assert!(state.persistence == Persistence::KeepAlive || after.persistence == Persistence::Close);
            }
            let begun = matches!(state.request, RequestState::Body | RequestState::Tunnel | RequestState::Done);
            assert!(state.response == ResponseState::Idle || begun, "{state}");
            assert!(!(state.is_idle() && state.is_over()));
        }
    }

    #[test]
    fn a_tunnel_ends_only_by_the_end_of_both_directions() {
        let tunnels = reachable()
            .into_iter()
            .filter(|state| state.request == RequestState::Tunnel || state.response == ResponseState::Tunnel);
        let mut count = 0;
        for state in tunnels {
            count += 1;
            assert!(state.persistence == Persistence::Close && !state.is_over(), "{state}");
            // No message begins in it, whatever its bytes look like.
            for step in [Step::HeadBegun, Step::RequestHead { has_body: false }, Step::ResponseHead { has_body: false }]
            {
                assert!(state.step(step).is_err(), "{state}: {step:?}");
            }
        }
        assert_eq!(count, 4, "both directions, each of them alone, and one that waits for the request's body");
        assert!(reachable().contains(&State::TUNNEL));
    }
}
