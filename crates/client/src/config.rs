//! What a client holds origins to, and how many connections it keeps.

use std::time::Duration;

use sheave_net::dial::DialPlan;
use sheave_net::leg::LingerPlan;
use sheave_proto::config::{ConnectionConfig, Timeouts};

/// What a client holds origins to. Every timeout and limit is on.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Sizes, phases' deadlines and the number of requests of each connection.
    ///
    /// `timeouts.idle` is how long a connection is parked at most; default here: 30 s.
    /// `timeouts.body` is the longest silence amid a response's body; default here: 60 s.
    pub connection: ConnectionConfig,
    /// How long an origin that is sent bytes may take none. Default: 30 s.
    pub write_timeout: Duration,
    /// How connections are opened, and how long that may take.
    pub dial: DialPlan,
    /// Parked connections per address. Default: 1,024. Zero parks none.
    pub max_idle: usize,
    /// Connections per address, parked and busy. Default: 10,000; at least one.
    pub max_connections: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let timeouts = Timeouts { idle: Duration::from_secs(30), body: Duration::from_secs(60), ..Timeouts::default() };
        Self {
            connection: ConnectionConfig { timeouts, max_requests: u64::MAX, ..ConnectionConfig::default() },
            write_timeout: Duration::from_secs(30),
            dial: DialPlan::default(),
            max_idle: 1024,
            max_connections: 10_000,
        }
    }
}

impl ClientConfig {
    /// Connections to origins are closed without lingering: nobody there waits for a last word of ours.
    pub(crate) fn linger(&self) -> LingerPlan {
        LingerPlan { timeout: Duration::ZERO, max_bytes: 0 }
    }
}
