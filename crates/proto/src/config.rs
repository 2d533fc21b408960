//! What a connection of either role is held to.

use std::time::Duration;

use crate::limits::Limits;

/// How long a peer may take for what it owes. Every one is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Server: from accept to the first byte of the first request. Default: 30 s.
    ///
    /// Browsers open connections in advance; ending them after this is benign.
    pub first_byte: Duration,
    /// Server: from the first byte of a request's head to its last. Default: 15 s.
    pub head: Duration,
    /// Both: between two reads of a message's body. Default: 30 s for requests; a client's user sets it for responses.
    ///
    /// Time in which the relay itself does not read, because the other side takes no more, does not count.
    pub body: Duration,
    /// Both: between two exchanges. Default: 75 s.
    pub idle: Duration,
    /// Client: from the request's last byte to the final response's head. Default: 60 s.
    pub response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            response: Duration::from_secs(60),
        }
    }
}

/// What a connection is held to; shared by all of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionConfig {
    /// How large what it sends may be.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How many exchanges it may carry. Default: 10,000; never less than one.
    pub max_requests: u64,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self { limits: Limits::default(), timeouts: Timeouts::default(), max_requests: 10_000 }
    }
}
