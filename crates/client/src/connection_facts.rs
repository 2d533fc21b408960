//! What a caller can know of the connection that carried its response.

use std::net::SocketAddr;
use std::sync::Arc;

use sheave_lifecycle::observe::ConnectionId;
use sheave_net::secured::Secured;

/// What is known of the connection that carried a response.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionFacts {
    /// The origin's address.
    pub address: SocketAddr,
    /// The connection's number, as observers are told it.
    pub id: ConnectionId,
    /// Whether it had carried an exchange before.
    pub is_reused: bool,
    /// What TLS has agreed on; `None` without TLS.
    pub secured: Option<Arc<Secured>>,
    /// How many attempts were made, the one that was answered included.
    pub attempts: u32,
}
