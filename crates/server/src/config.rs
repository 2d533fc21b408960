//! What a server holds its clients to.

use std::time::Duration;

use sheave_lifecycle::drain::DrainPlan;
use sheave_net::leg::LingerPlan;
use sheave_proto::config::ConnectionConfig;

/// What a server holds its clients to. Every timeout and limit is on but the exchange's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ServerConfig {
    /// Sizes, phases' deadlines and the number of requests of each connection.
    pub connection: ConnectionConfig,
    /// How long a client that is owed bytes may take none. Default: 30 s.
    pub write_timeout: Duration,
    /// How a lingering close ends.
    pub linger: LingerPlan,
    /// One exchange as a whole, from its head's last byte to its response's last. Default: `None`, which is off.
    pub exchange_timeout: Option<Duration>,
    /// Connections at a time; those beyond wait in the kernel's backlog. Default: 100,000; at least one.
    pub max_connections: usize,
    /// How a drain goes.
    pub drain: DrainPlan,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            write_timeout: Duration::from_secs(30),
            linger: LingerPlan::default(),
            exchange_timeout: None,
            max_connections: 100_000,
            drain: DrainPlan::default(),
        }
    }
}
