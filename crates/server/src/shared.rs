//! What the accept loops and all connections of a server share.

use std::sync::Arc;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::Fate;
use sheave_lifecycle::limit::Limit;
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;
use sheave_net::drain::Drain;
use sheave_net::leg::LegContext;
use sheave_proto::config::ConnectionConfig;
use sheave_proto::connection::Connection;
use sheave_proto::role::Server;
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::config::ServerConfig;
use crate::live::Live;

/// What the accept loops and all connections of a server share.
pub(crate) struct Shared<H> {
    pub(crate) handler: H,
    pub(crate) config: ServerConfig,
    pub(crate) connection: Arc<ConnectionConfig>,
    /// For those that are turned away.
    pub(crate) hurried: Arc<ConnectionConfig>,
    pub(crate) context: Arc<LegContext>,
    pub(crate) drain: Drain,
    pub(crate) admission: Admission,
    /// Places for handshakes under way.
    pub(crate) handshakes: Semaphore,
    pub(crate) live: Arc<Live>,
}

impl<H> Shared<H> {
    /// A connection of HTTP/1 on which nothing has happened; in a hurry where `refused_by` has turned it away.
    pub(crate) fn begin(&self, refused_by: Option<Limit>, now: Time) -> Connection<Server> {
        let config = if refused_by.is_some() { &self.hurried } else { &self.connection };
        Connection::new(config.clone(), now)
    }

    /// Counts what became of a connection, where a drain wants to know.
    pub(crate) fn count(&self, (reason, phase): (CloseReason, Phase)) {
        if self.drain.is_draining() {
            self.drain.count(Fate::of(reason, phase.is_busy()));
        }
    }
}
