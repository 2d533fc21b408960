//! What a client holds origins to, and how many connections it keeps.

use std::time::Duration;

use sheave_lifecycle::keep_alive::KeepAlivePolicy;
use sheave_net::dial::DialPlan;
use sheave_net::leg::LingerPlan;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::h2_config::Http2Config;

use crate::total::Total;

/// What a client holds origins to. Every timeout and limit is on.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Sizes, phases' deadlines and the number of requests of each connection.
    ///
    /// `timeouts.idle` is how long a connection is parked at most; default here: 30 s.
    /// `timeouts.body` is the longest silence amid a response's body; default here: 60 s.
    /// `max_age` is how old a connection may become before it is parked no more, and closed while it is.
    /// `http2.max_concurrent_streams` is how many requests share a connection of HTTP/2 at most, where its origin does not
    /// allow fewer; default: 100. A further connection is opened before requests wait.
    pub connection: ConnectionConfig,
    /// How long an origin that is sent bytes may take none. Default: 30 s.
    pub write_timeout: Duration,
    /// How connections are opened, and how long that may take.
    pub dial: DialPlan,
    /// How long what lies between TCP and HTTP may take, where something does: TLS, a PROXY header. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Up to which age parked connections are reused, by what is learned of each address.
    pub keep_alive: KeepAlivePolicy,
    /// Whether the kernel is asked whether a parked connection is alive before it is reused. Default: true. Without it, a
    /// connection that its origin has closed is handed out until the next sweep finds it: to show what the check is for.
    pub check_before_reuse: bool,
    /// Parked connections per address. Default: 1,024. Zero parks none.
    pub max_idle: usize,
    /// Connections per address, parked and busy. Default: 10,000; at least one.
    pub max_connections: usize,
    /// Connections over all addresses, and over all pools that share it. Default: unbounded, so that the cap of each
    /// address is what counts.
    pub total: Total,
    /// Requests that may wait for each address while there are as many connections as may be. Default: 1,024. Zero lets
    /// none wait.
    pub max_queue: usize,
    /// How long each waits at most. Default: 5 s. Zero lets none wait for long enough.
    pub queue_timeout: Duration,
    /// Connections that are kept parked to each address of the origins that the pool follows, fresh ones where there are
    /// too few, within the caps. Default: none.
    pub prewarm: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let timeouts = Timeouts { idle: Duration::from_secs(30), body: Duration::from_secs(60), ..Timeouts::default() };
        Self {
            connection: ConnectionConfig {
                timeouts,
                http2: Http2Config::towards_origins(),
                ..ConnectionConfig::default()
            },
            write_timeout: Duration::from_secs(30),
            dial: DialPlan::default(),
            handshake_timeout: Duration::from_secs(10),
            keep_alive: KeepAlivePolicy::default(),
            check_before_reuse: true,
            max_idle: 1024,
            max_connections: 10_000,
            total: Total::unbounded(),
            max_queue: 1024,
            queue_timeout: Duration::from_secs(5),
            prewarm: 0,
        }
    }
}

impl ClientConfig {
    /// Connections to origins are closed without lingering: nobody there waits for a last word of ours.
    pub(crate) fn linger(&self) -> LingerPlan {
        LingerPlan { timeout: Duration::ZERO, max_bytes: 0 }
    }
}
