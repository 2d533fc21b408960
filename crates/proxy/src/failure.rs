//! What a client is told when an origin fails: status, cause, and whether its request may have been acted on.

use http::StatusCode;
use sheave_client::call::CallError;
use sheave_client::pool::PoolError;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::errno::Errno;
use sheave_lifecycle::retry::Progress;
use sheave_server::answer::Answer;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No origin has an address: its name was never resolved.
    Unresolved,
    /// No connection came to be.
    Pool(PoolError),
    /// The exchange on a connection failed, so far on.
    Call(CallError, Progress),
}

impl Failure {
    /// How far the attempt had come.
    pub(crate) const fn progress(&self) -> Progress {
        match self {
            Self::Unresolved | Self::Pool(_) => Progress::Connecting,
            Self::Call(_, progress) => *progress,
        }
    }

    /// Whether another attempt at the same origin would meet the same: it is asked again only where there is another.
    pub(crate) const fn is_of_the_origin(&self) -> bool {
        matches!(self, Self::Unresolved | Self::Pool(_))
    }

    /// What the client is told, where nothing has been yet.
    pub(crate) fn answer(&self) -> Answer {
        let (status, cause) = match self {
            Self::Unresolved => (StatusCode::BAD_GATEWAY, "upstream-unresolved"),
            Self::Pool(PoolError::Dial(error)) => match error.reason() {
                _ if error.is_local_exhaustion() => (StatusCode::SERVICE_UNAVAILABLE, local_cause(error.fault())),
                CloseReason::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "upstream-connect-timeout"),
                CloseReason::PeerUnreachable(_) => (StatusCode::BAD_GATEWAY, "upstream-unreachable"),
                _ if error.fault().is_some_and(|fault| fault.errno == Errno::ECONNREFUSED) => {
                    (StatusCode::BAD_GATEWAY, "upstream-connect-refused")
                }
                _ => (StatusCode::BAD_GATEWAY, "upstream-connect-failed"),
            },
            Self::Pool(_) => (StatusCode::SERVICE_UNAVAILABLE, "upstream-connections-exhausted"),
            Self::Call(error, _) => (
                match error {
                    CallError::TimedOut(Timer::Response | Timer::BodyRead | Timer::Write | Timer::Exchange) => {
                        StatusCode::GATEWAY_TIMEOUT
                    }
                    _ => StatusCode::BAD_GATEWAY,
                },
                error.label(),
            ),
        };
        let mut answer = Answer::new(status, cause);
        answer.sent = Some(self.progress().sent());
        answer.retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        answer
    }
}

/// What this machine has run out of.
fn local_cause(fault: Option<sheave_lifecycle::errno::IoFault>) -> &'static str {
    match fault.map(|fault| fault.errno) {
        Some(Errno::EADDRNOTAVAIL) => "local-ports-exhausted",
        Some(Errno::EMFILE | Errno::ENFILE) => "local-descriptors-exhausted",
        _ => "local-memory-exhausted",
    }
}
