//! What is known of the connection that a request came on.

use std::net::SocketAddr;
use std::sync::Arc;

use sheave_lifecycle::observe::ConnectionId;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;

use crate::carrier::carried;
use crate::exchange::Exchange;

/// What is known of the connection that a request came on. Every `http::Request` that is made of an exchange has it among
/// its extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionInfo {
    /// The client's address; absent where it has none, as on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The address that the client connected to; as for `peer`.
    pub local: Option<SocketAddr>,
    /// The connection's number, unique in the process among those of clients.
    pub id: ConnectionId,
    /// Which exchange of its connection this is, from 1.
    pub exchange: u64,
    /// What TLS has agreed on; `None` without TLS.
    pub secured: Option<Arc<Secured>>,
}

impl<S: Socket> Exchange<'_, S> {
    /// What is known of the connection, as one value that outlives the exchange.
    pub fn connection_info(&self) -> ConnectionInfo {
        ConnectionInfo {
            peer: self.peer(),
            local: self.local(),
            id: self.connection_id(),
            exchange: self.number(),
            secured: carried!(&self.carrier, it => it.secured_for_long()),
        }
    }
}
