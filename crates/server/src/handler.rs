//! What answers requests.

use std::fmt;
use std::future::Future;

use sheave_net::socket::Socket;

use crate::exchange::Exchange;

/// Answers requests. One handler serves all connections of a server.
pub trait Handler<S: Socket>: Send + Sync + 'static {
    /// Answers the request of `exchange`.
    ///
    /// What it leaves undone is done for it: a response that was not begun becomes a 500, one that was begun and not
    /// ended is cut off visibly, a body that was not read is read and thrown away up to a bound.
    ///
    /// # Errors
    /// The reason why no proper answer could be given: the response is a 500, or cut off, and the reason is counted.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await point: the exchange's deadline passed, or a drain was forced.
    fn handle(&self, exchange: &mut Exchange<'_, S>) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Why a handler could not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandlerError {
    /// The client's connection failed or broke a rule; there is nobody to answer.
    Client,
    /// The response contradicts itself or came in the wrong order; the label says how.
    Misuse(&'static str),
    /// The handler's own reason; a stable label.
    Failed(&'static str),
}

impl HandlerError {
    /// A name that stays stable: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client-gone",
            Self::Misuse(label) | Self::Failed(label) => label,
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("the client is gone"),
            Self::Misuse(label) => write!(f, "the response is not well formed: {label}"),
            Self::Failed(label) => write!(f, "the handler failed: {label}"),
        }
    }
}

impl std::error::Error for HandlerError {}
