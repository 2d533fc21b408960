//! What a server holds its clients to.

use std::time::Duration;

use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::limit::OverLimit;
use sheave_net::leg::LingerPlan;
use sheave_proto::config::{ConnectionConfig, Timeouts};

use crate::admission::SharedLimits;

/// What a server holds its clients to. Every timeout and limit is on but the exchange's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ServerConfig {
    /// Sizes, phases' deadlines and the number of requests of each connection.
    pub connection: ConnectionConfig,
    /// From accept to a connection that can carry HTTP: its PROXY header, and the TLS handshake. Where there is neither, it
    /// means nothing. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Handshakes under way at a time, of each server (each worker has one); whoever is beyond waits for its turn, within
    /// the handshake's deadline, or is closed, as `over_limit` says. Default: 4,096; at least one.
    ///
    /// A handshake that is over at once, by what was here already, needs no place.
    pub max_handshakes: usize,
    /// Whether a client may begin with HTTP/2 on a connection without TLS because it knows that we speak it (RFC 9113 §3.3);
    /// it costs those of HTTP/1 nothing. Otherwise its preface is answered with 505. Default: true.
    ///
    /// Behind TLS, ALPN alone decides, as the RFC asks: a preface that was not agreed on is answered with 505. There is no
    /// `Upgrade: h2c`, which RFC 9113 dropped. What HTTP/2 connections are held to is
    /// [`ConnectionConfig::http2`](sheave_proto::config::ConnectionConfig::http2).
    pub prior_knowledge: bool,
    /// How long a client that is owed bytes may take none. Default: 30 s.
    pub write_timeout: Duration,
    /// How a lingering close ends.
    pub linger: LingerPlan,
    /// One exchange as a whole, from its head's last byte to its response's last. Default: `None`, which is off.
    pub exchange_timeout: Option<Duration>,
    /// Connections at a time. Default: 100,000; at least one. While somebody waits for a place, responses say `close`, and
    /// connections that are idle give way, the idle longest first.
    pub max_connections: usize,
    /// Limits that count over all workers of a process, where there are several.
    pub shared: SharedLimits,
    /// What becomes of whoever is beyond a limit. Default: connections wait in the kernel's backlog.
    pub over_limit: OverLimit,
    /// How a drain goes.
    pub drain: DrainPlan,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 4096,
            prior_knowledge: true,
            write_timeout: Duration::from_secs(30),
            linger: LingerPlan::default(),
            exchange_timeout: None,
            max_connections: 100_000,
            shared: SharedLimits::default(),
            over_limit: OverLimit::default(),
            drain: DrainPlan::default(),
        }
    }
}

impl ServerConfig {
    /// What a client is held to that is only to be told that there is no place for it: it has as long to ask as it would
    /// have to read the answer.
    pub(crate) fn for_those_turned_away(&self) -> ConnectionConfig {
        let Timeouts { first_byte, head, .. } = self.connection.timeouts;
        let patience = self.linger.timeout;
        let timeouts =
            Timeouts { first_byte: first_byte.min(patience), head: head.min(patience), ..self.connection.timeouts };
        ConnectionConfig { timeouts, ..self.connection }
    }
}
