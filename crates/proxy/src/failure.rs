//! What a client is told when an origin fails: status, cause, and whether its request may have been acted on.

use http::StatusCode;
use sheave_client::error::{CallError, PoolError};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::retry::Progress;
use sheave_server::answer::Answer;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No origin has an address: its name was never resolved.
    Unresolved,
    /// What is asked for leads nowhere where it may lead.
    NotAllowed,
    /// No connection came to be.
    Pool(PoolError),
    /// The exchange on a connection failed, so far on.
    Call(CallError, Progress),
}

impl Failure {
    /// How far the attempt had come.
    pub(crate) const fn progress(&self) -> Progress {
        match self {
            Self::Unresolved | Self::NotAllowed => Progress::Connecting,
            Self::Pool(error) => error.progress(),
            Self::Call(_, progress) => *progress,
        }
    }

    /// Whether another attempt at the same origin would meet the same: it is asked again only where there is another.
    pub(crate) const fn is_of_the_origin(&self) -> bool {
        matches!(self, Self::Unresolved | Self::NotAllowed | Self::Pool(_))
    }

    /// Whether the request has waited for a connection for as long as anybody waits.
    pub(crate) const fn is_of_the_queue(&self) -> bool {
        matches!(self, Self::Pool(PoolError::QueueTimedOut))
    }

    /// What the client is told, where nothing has been yet.
    pub(crate) fn answer(&self) -> Answer {
        let (status, cause) = match self {
            Self::Unresolved => (StatusCode::BAD_GATEWAY, "upstream-unresolved"),
            Self::NotAllowed => (StatusCode::FORBIDDEN, "connect-not-allowed"),
            Self::Pool(error) => {
                let status = match error {
                    PoolError::Dial(error) if error.is_local_exhaustion() => StatusCode::SERVICE_UNAVAILABLE,
                    PoolError::Dial(error) => match error.reason() {
                        CloseReason::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
                        _ => StatusCode::BAD_GATEWAY,
                    },
                    PoolError::Handshake(failed) if failed.is_local_exhaustion() => StatusCode::SERVICE_UNAVAILABLE,
                    PoolError::Handshake(failed) => match failed.reason() {
                        CloseReason::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
                        _ => StatusCode::BAD_GATEWAY,
                    },
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                (status, error.label())
            }
            Self::Call(error, _) => (
                match error {
                    CallError::TimedOut(
                        Timer::Response | Timer::BodyRead | Timer::Write | Timer::Exchange | Timer::Ping,
                    ) => StatusCode::GATEWAY_TIMEOUT,
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
