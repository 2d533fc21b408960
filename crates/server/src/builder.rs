//! A server put together knob by knob, and checked once.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::limit::OverLimit;
use sheave_lifecycle::observe::{Observer, Silent};
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::into_listener::IntoListener;
use sheave_net::leg::LingerPlan;
use sheave_net::listen::Listener;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::h2_config::Http2Config;
use sheave_proto::limits::Limits;

use crate::admission::SharedLimits;
use crate::config::ServerConfig;
use crate::handler::Handler;
use crate::server::Server;

/// A server in the making: every field of [`ServerConfig`] by its own name, which is that of the proxy's option, with the
/// same unit and default. What is wrong is said once, by [`Self::build`].
#[derive(Clone)]
pub struct ServerBuilder {
    config: ServerConfig,
    observer: Arc<dyn Observer>,
    drain: Drain,
    clock: Option<Clock>,
}

/// What no server can be held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// It is zero, and would refuse everybody: a deadline that has always passed, a limit that leaves no room.
    Zero {
        /// The builder's method.
        knob: &'static str,
    },
    /// One knob leaves another no room.
    Exceeds {
        /// The builder's method.
        knob: &'static str,
        /// The one that it must not exceed.
        bound: &'static str,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { knob } => write!(f, "{knob} is zero, which would refuse everybody"),
            Self::Exceeds { knob, bound } => write!(f, "{knob} is more than {bound} allows"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Why a server did not begin to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// It cannot be built.
    Build(BuildError),
    /// The listening socket cannot be used.
    Listen(IoFault),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(_) => f.write_str("the server cannot be built"),
            Self::Listen(_) => f.write_str("the listening socket cannot be used"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Build(error) => Some(error),
            Self::Listen(fault) => Some(fault),
        }
    }
}

impl From<BuildError> for ServeError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl Default for ServerBuilder {
    fn default() -> Self {
        Self { config: ServerConfig::default(), observer: Arc::new(Silent), drain: Drain::default(), clock: None }
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $knob:ident: $kind:ty = $($field:ident).+;)+) => {
        impl ServerBuilder {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $knob(mut self, $knob: $kind) -> Self {
                    self.config.$($field).+ = $knob;
                    self
                }
            )+
        }
    };
}

knobs! {
    /// What each connection is held to, as a whole.
    connection: ConnectionConfig = connection;
    /// How large what clients send may be, as a whole.
    limits: Limits = connection.limits;
    /// How long clients may take for what they owe, as a whole.
    timeouts: Timeouts = connection.timeouts;
    /// What is peculiar to HTTP/2, as a whole.
    http2: Http2Config = connection.http2;
    /// Whether clients of HTTP/2 may ask for tunnels in streams, as for WebSockets (RFC 8441). Default: false. It is said to
    /// them, so turn it on where something answers.
    allows_extended_connect: bool = connection.http2.allows_extended_connect;
    /// From accept to a connection that can carry HTTP; see [`ServerConfig::handshake_timeout`]. Default: 10 s.
    handshake_timeout: Duration = handshake_timeout;
    /// From then to the first byte of the first request; see [`Timeouts::first_byte`]. Default: 30 s.
    first_byte_timeout: Duration = connection.timeouts.first_byte;
    /// From the first byte of a request's head to its last; see [`Timeouts::head`]. Default: 15 s.
    head_timeout: Duration = connection.timeouts.head;
    /// Between two reads of a request's body; see [`Timeouts::body`]. Default: 30 s.
    body_timeout: Duration = connection.timeouts.body;
    /// The slowest that a request's body may come, in bytes a second; see [`Timeouts::min_body_rate`]. Default: 240.
    min_body_rate: Option<NonZeroU64> = connection.timeouts.min_body_rate;
    /// Between two exchanges; see [`Timeouts::idle`]. Default: 75 s.
    idle_timeout: Duration = connection.timeouts.idle;
    /// Without a byte of a tunnel either way; see [`Timeouts::tunnel_idle`].
    tunnel_idle_timeout: Duration = connection.timeouts.tunnel_idle;
    /// How old a tunnel may become; see [`Timeouts::tunnel_age`].
    tunnel_max_age: Option<Duration> = connection.timeouts.tunnel_age;
    /// Bytes of a request's head; see [`Limits::max_head_bytes`]. Default: 32 KiB.
    max_head_bytes: usize = connection.limits.max_head_bytes;
    /// Bytes of a request line; see [`Limits::max_request_line_bytes`]. Default: 16 KiB.
    max_request_line_bytes: usize = connection.limits.max_request_line_bytes;
    /// Field lines of a head; see [`Limits::max_fields`]. Default: 128.
    max_fields: usize = connection.limits.max_fields;
    /// Bytes of a request's content; see [`Limits::max_body_bytes`]. Default: `None`, unbounded.
    max_body_bytes: Option<u64> = connection.limits.max_body_bytes;
    /// How many exchanges a connection may carry; see [`ConnectionConfig::max_requests`]. Default: 10,000.
    max_requests: u64 = connection.max_requests;
    /// How old a connection may become; see [`ConnectionConfig::max_age`]. Default: one hour.
    max_age: Option<Duration> = connection.max_age;
    /// Whether clients are told how long an idle connection stays open; see [`ConnectionConfig::announces_keep_alive`].
    /// Default: false.
    announces_keep_alive: bool = connection.announces_keep_alive;
    /// How long a client that is owed bytes may take none; see [`ServerConfig::write_timeout`]. Default: 30 s.
    write_timeout: Duration = write_timeout;
    /// How a lingering close ends; see [`LingerPlan`]. Default: 5 s or 1 MiB.
    linger: LingerPlan = linger;
    /// One exchange as a whole; see [`ServerConfig::exchange_timeout`]. Default: `None`, off.
    exchange_timeout: Option<Duration> = exchange_timeout;
    /// Connections at a time, over all listeners and cores; see [`ServerConfig::max_connections`]. Default: 100,000.
    max_connections: usize = max_connections;
    /// Connections at a time of one client; see [`SharedLimits::max_connections_per_client`]. Default: `None`, off.
    max_connections_per_client: Option<NonZeroU32> = shared.max_connections_per_client;
    /// New connections a second; see [`SharedLimits::accept_rate`]. Default: `None`, off.
    accept_rate: Option<NonZeroU32> = shared.accept_rate;
    /// Exchanges at a time; see [`SharedLimits::max_exchanges`]. Default: `None`, off.
    max_exchanges: Option<NonZeroU32> = shared.max_exchanges;
    /// The limits that count over all workers, as a whole.
    shared: SharedLimits = shared;
    /// What becomes of whoever is beyond a limit; see [`OverLimit`]. Default: connections wait.
    over_limit: OverLimit = over_limit;
    /// How a drain goes; see [`DrainPlan`]. Default: 200 ms quiet, 30 s of grace.
    drain: DrainPlan = drain;
}

impl ServerBuilder {
    /// All knobs at once.
    #[must_use]
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Who is told what becomes of connections and exchanges. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The drain that the server obeys, where several servers are to be drained as one. Default: one of its own.
    #[must_use]
    pub fn drained_by(mut self, drain: Drain) -> Self {
        self.drain = drain;
        self
    }

    /// The clock, where the handler has one, too, as a proxy has: both must be the same. Default: one that begins when the
    /// server is built.
    #[must_use]
    pub const fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A server that accepts nothing yet.
    ///
    /// # Errors
    /// [`BuildError`]: the first knob that is wrong.
    pub fn build<H>(self, handler: H) -> Result<Server<H>, BuildError> {
        check(&self.config)?;
        let clock = self.clock.unwrap_or_else(Clock::start);
        Ok(Server::new(handler, self.config, clock, self.observer, self.drain))
    }

    /// Serves what `listener` accepts until the process ends: for a first try. Whoever wants to drain keeps the server that
    /// [`Self::build`] gives, and calls [`Server::serve`]. Within a runtime.
    ///
    /// # Errors
    /// [`ServeError`]: a knob is wrong, or the socket.
    ///
    /// # Cancel safety
    /// As for [`Server::serve`].
    pub async fn serve<L, H>(self, listener: L, handler: H) -> Result<DrainReport, ServeError>
    where
        L: IntoListener,
        <L::Listener as Listener>::Socket: 'static,
        H: Handler<<L::Listener as Listener>::Socket>,
    {
        let server = self.build(handler)?;
        let listener = listener.into_listener().map_err(ServeError::Listen)?;
        Ok(server.serve(listener).await)
    }
}

/// Says what is wrong with a configuration.
fn check(config: &ServerConfig) -> Result<(), BuildError> {
    let ServerConfig { connection, handshake_timeout, write_timeout, exchange_timeout, max_connections, .. } = config;
    let ConnectionConfig { limits, timeouts, max_requests, .. } = connection;
    let is_zero = [
        ("handshake_timeout", handshake_timeout.is_zero()),
        ("first_byte_timeout", timeouts.first_byte.is_zero()),
        ("head_timeout", timeouts.head.is_zero()),
        ("body_timeout", timeouts.body.is_zero()),
        ("idle_timeout", timeouts.idle.is_zero()),
        ("tunnel_idle_timeout", timeouts.tunnel_idle.is_zero()),
        ("tunnel_max_age", timeouts.tunnel_age.is_some_and(|age| age.is_zero())),
        ("write_timeout", write_timeout.is_zero()),
        ("exchange_timeout", exchange_timeout.is_some_and(|timeout| timeout.is_zero())),
        ("max_connections", *max_connections == 0),
        ("max_requests", *max_requests == 0),
        ("max_head_bytes", limits.max_head_bytes == 0),
        ("max_request_line_bytes", limits.max_request_line_bytes == 0),
        ("max_fields", limits.max_fields == 0),
    ];
    if let Some((knob, _)) = is_zero.into_iter().find(|(_, is_zero)| *is_zero) {
        return Err(BuildError::Zero { knob });
    }
    if limits.max_request_line_bytes > limits.max_head_bytes {
        return Err(BuildError::Exceeds { knob: "max_request_line_bytes", bound: "max_head_bytes" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let zero = |knob| Err(BuildError::Zero { knob });
        let new = ServerBuilder::default;
        for (builder, expected) in [
            (new(), Ok(())),
            (new().idle_timeout(Duration::ZERO), zero("idle_timeout")),
            (new().exchange_timeout(Some(Duration::ZERO)), zero("exchange_timeout")),
            (new().exchange_timeout(None), Ok(())),
            (new().max_connections(0), zero("max_connections")),
            (new().max_requests(0), zero("max_requests")),
            (new().max_body_bytes(Some(0)), Ok(())),
            (
                new().max_head_bytes(4096),
                Err(BuildError::Exceeds { knob: "max_request_line_bytes", bound: "max_head_bytes" }),
            ),
            (new().max_head_bytes(4096).max_request_line_bytes(4096), Ok(())),
            (
                new().config(ServerConfig { write_timeout: Duration::ZERO, ..ServerConfig::default() }),
                zero("write_timeout"),
            ),
        ] {
            let text = format!("{builder:?}");
            assert_eq!(builder.build(()).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn nothing_asked_for_is_the_default() {
        assert_eq!(ServerBuilder::default().config, ServerConfig::default());
    }
}
