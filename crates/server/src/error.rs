//! Why a handler could not answer.

use std::fmt;

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
