//! What the accept loops and all connections of a server share.

use std::sync::Arc;

use sheave_net::drain::Drain;
use sheave_net::leg::LegContext;
use sheave_proto::config::ConnectionConfig;

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
    /// Held by each connection's place, too, until its task has ended.
    pub(crate) live: Arc<Live>,
}
