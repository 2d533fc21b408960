//! A client put together knob by knob, and checked once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, USER_AGENT};
use sheave_lifecycle::keep_alive::KeepAlivePolicy;
use sheave_lifecycle::observe::{Observer, Silent};
use sheave_lifecycle::retry::RetryPolicy;
use sheave_net::clock::Clock;
use sheave_net::dial::{Connect, DialPlan};
use sheave_net::dial_tls::TlsConnector;
use sheave_net::endpoint::Protocols;
use sheave_net::lookup::{Lookup, SystemLookup};
use sheave_net::resolve::ResolvePlan;
use sheave_net::stream::KernelStream;
use sheave_net::tcp_connect::TcpConnector;
use sheave_net::tls::client::ClientTls;
use sheave_net::tls::stream::Stream;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::limits::Limits;

use crate::client::Client;
use crate::config::ClientConfig;
use crate::decode::Decoding;
use crate::origins::AnyLookup;
use crate::redirect::RedirectPolicy;
use crate::total::Total;

/// What a client connects by, unless it is told otherwise: TCP, and TLS on it.
pub type SystemConnector = TlsConnector<TcpConnector>;

/// A connection of the [`SystemConnector`].
pub type SystemSocket = Stream<KernelStream>;

/// A client in the making. Every timeout and limit is on; names that users of Go and reqwest know are kept.
///
/// The environment is not read: a client uses no proxy (`HTTP_PROXY` and its like mean nothing to it).
#[derive(Clone)]
pub struct ClientBuilder<C = SystemConnector> {
    connector: C,
    config: ClientConfig,
    settings: Settings,
    tls: Option<ClientTls>,
    lookup: AnyLookup,
    resolve: ResolvePlan,
    observer: Arc<dyn Observer>,
    clock: Option<Clock>,
    wrong: Option<BuildError>,
}

/// What holds for every request of a client.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) redirect: RedirectPolicy,
    pub(crate) decode: Decoding,
    pub(crate) retry: RetryPolicy,
    pub(crate) trust_idempotency_key: bool,
    pub(crate) continue_timeout: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_collected_bytes: usize,
    pub(crate) headers: HeaderMap,
    pub(crate) protocols: Protocols,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            redirect: RedirectPolicy::default(),
            decode: Decoding { is_on: true },
            retry: RetryPolicy::default(),
            trust_idempotency_key: false,
            continue_timeout: Duration::from_secs(1),
            timeout: None,
            max_collected_bytes: 64 * 1024 * 1024,
            headers: HeaderMap::new(),
            protocols: Protocols::Either,
        }
    }
}

/// What no client can be held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// It is zero, and would let nothing succeed: a deadline that has always passed, a limit that leaves no room.
    Zero {
        /// The builder's method.
        knob: &'static str,
    },
    /// It is no header that can be sent.
    Header {
        /// The builder's method.
        knob: &'static str,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { knob } => write!(f, "{knob} is zero, with which no request could succeed"),
            Self::Header { knob } => write!(f, "{knob} is no header that can be sent"),
        }
    }
}

impl std::error::Error for BuildError {}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::with(SystemConnector::default())
    }
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $knob:ident: $kind:ty = $($field:ident).+;)+) => {
        impl<C> ClientBuilder<C> {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $knob(mut self, $knob: $kind) -> Self {
                    self.$($field).+ = $knob;
                    self
                }
            )+
        }
    };
}

knobs! {
    /// One exchange as a whole: the name's lookup, the connection, every redirect and retry, and the last byte of the
    /// response. Default: `None`, off; each phase has its own.
    timeout: Option<Duration> = settings.timeout;
    /// From the call to an established connection, over all addresses; see [`DialPlan::connect_timeout`]. Default: 5 s.
    connect_timeout: Duration = config.dial.connect_timeout;
    /// From then to the end of the TLS handshake; see [`ClientConfig::handshake_timeout`]. Default: 10 s.
    handshake_timeout: Duration = config.handshake_timeout;
    /// From the request's last byte to the response's head; see [`Timeouts::response`]. Default: 60 s.
    response_timeout: Duration = config.connection.timeouts.response;
    /// Between two reads of a response's content that is asked for; see [`Timeouts::body`]. Default: 60 s.
    body_timeout: Duration = config.connection.timeouts.body;
    /// How long an origin that is sent bytes may take none; see [`ClientConfig::write_timeout`]. Default: 30 s.
    write_timeout: Duration = config.write_timeout;
    /// How long content waits for the 100 that was asked for. Default: 1 s.
    continue_timeout: Duration = settings.continue_timeout;
    /// How long a connection is parked at most; see [`Timeouts::idle`]. Default: 30 s.
    idle_timeout: Duration = config.connection.timeouts.idle;
    /// Parked connections to each address; see [`ClientConfig::max_idle`]. Default: 1,024. Zero parks none.
    max_idle_per_host: usize = config.max_idle;
    /// Connections to each address, parked and busy; see [`ClientConfig::max_connections`]. Default: 10,000.
    max_conns_per_host: usize = config.max_connections;
    /// Requests that may wait for each address while there are as many connections as may be; see
    /// [`ClientConfig::max_queue`]. Default: 1,024. Zero lets none wait.
    max_queue_per_host: usize = config.max_queue;
    /// How long each waits at most; see [`ClientConfig::queue_timeout`]. Default: 5 s.
    queue_timeout: Duration = config.queue_timeout;
    /// Connections over all addresses, and over all clients that are given the same; see [`ClientConfig::total`]. Default:
    /// unbounded.
    total: Total = config.total;
    /// How old a connection may become before it is parked no more; see [`ConnectionConfig::max_age`]. Default: one hour.
    max_age: Option<Duration> = config.connection.max_age;
    /// Up to which age parked connections are reused, by what is learned of each address; see [`KeepAlivePolicy`].
    keep_alive: KeepAlivePolicy = config.keep_alive;
    /// How connections are opened; see [`DialPlan`].
    dial: DialPlan = config.dial;
    /// How large what origins send may be; see [`Limits`].
    limits: Limits = config.connection.limits;
    /// How long they may take, as a whole; see [`Timeouts`].
    timeouts: Timeouts = config.connection.timeouts;
    /// What each connection is held to, as a whole; see [`ConnectionConfig`].
    connection: ConnectionConfig = config.connection;
    /// All knobs of the pool at once.
    config: ClientConfig = config;
    /// How much of a response's content is collected by [`Response::bytes`](crate::response::Response::bytes) and its like.
    /// Default: 64 MiB.
    max_collected_bytes: usize = settings.max_collected_bytes;
    /// Which redirects are followed. Default: ten in a row, none from `https` to `http`.
    redirect: RedirectPolicy = settings.redirect;
    /// How often requests are sent again, on evidence alone; see [`RetryPolicy`]. Default: up to three attempts, and one
    /// retry for five requests.
    retry: RetryPolicy = settings.retry;
    /// Whether `Idempotency-Key` vouches for a request, so that it is sent again after its connection broke. Default: false:
    /// only the origin knows whether it keeps that promise.
    trust_idempotency_key: bool = settings.trust_idempotency_key;
    /// Whether encoded content is asked for and decoded, as far as the features `gzip`, `brotli` and `zstd` have it.
    /// Default: true.
    decode: bool = settings.decode.is_on;
    /// Which versions of HTTP are spoken. Default: what origins choose over TLS (ALPN), HTTP/2 first; HTTP/1 without TLS.
    http_versions: Protocols = settings.protocols;
    /// Headers that every request has which does not have its own. Default: none.
    default_headers: HeaderMap = settings.headers;
    /// When names are looked up; see [`ResolvePlan`].
    resolve_plan: ResolvePlan = resolve;
    /// Who is told what becomes of connections. Default: nobody.
    observer: Arc<dyn Observer> = observer;
}

impl<C> ClientBuilder<C> {
    /// A client that connects by `connector`.
    pub(crate) fn with(connector: C) -> Self {
        Self {
            connector,
            config: ClientConfig::default(),
            settings: Settings::default(),
            tls: None,
            lookup: AnyLookup::new(SystemLookup),
            resolve: ResolvePlan::default(),
            observer: Arc::new(Silent),
            clock: None,
            wrong: None,
        }
    }

    /// Connects by something else: with other options, from another address, over a network of a test's making.
    #[must_use]
    pub fn connector<D: Connect>(self, connector: D) -> ClientBuilder<D> {
        let Self { config, settings, tls, lookup, resolve, observer, clock, wrong, .. } = self;
        ClientBuilder { connector, config, settings, tls, lookup, resolve, observer, clock, wrong }
    }

    /// How `https` is secured. Default: the system's roots, read once, when the first such URL is asked; that takes some
    /// milliseconds.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Looks names up. Default: the system's resolver.
    #[must_use]
    pub fn resolver(mut self, lookup: impl Lookup) -> Self {
        self.lookup = AnyLookup::new(lookup);
        self
    }

    /// The clock, where several parts of a program are to share one. Default: one of its own.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A header that every request has which does not have its own.
    #[must_use]
    pub fn default_header<K, V>(mut self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => {
                self.settings.headers.append(name, value);
            }
            _ => self.wrong = Some(BuildError::Header { knob: "default_header" }),
        }
        self
    }

    /// What `User-Agent` says. Default: nothing is said.
    #[must_use]
    pub fn user_agent<V: TryInto<HeaderValue>>(mut self, value: V) -> Self {
        match value.try_into() {
            Ok(value) => {
                self.settings.headers.insert(USER_AGENT, value);
            }
            Err(_) => self.wrong = Some(BuildError::Header { knob: "user_agent" }),
        }
        self
    }
}

impl<C: Connect + 'static> ClientBuilder<C> {
    /// The client.
    ///
    /// # Errors
    /// [`BuildError`] with the first knob that no client can be held to.
    pub fn build(self) -> Result<Client<C>, BuildError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let (config, timeouts) = (&self.config, &self.config.connection.timeouts);
        for (knob, is_zero) in [
            ("timeout", self.settings.timeout == Some(Duration::ZERO)),
            ("connect_timeout", config.dial.connect_timeout.is_zero()),
            ("handshake_timeout", config.handshake_timeout.is_zero()),
            ("response_timeout", timeouts.response.is_zero()),
            ("body_timeout", timeouts.body.is_zero()),
            ("write_timeout", config.write_timeout.is_zero()),
            ("max_conns_per_host", config.max_connections == 0),
        ] {
            if is_zero {
                return Err(BuildError::Zero { knob });
            }
        }
        let clock = self.clock.unwrap_or_else(Clock::start);
        let Self { connector, config, settings, tls, lookup, resolve, observer, .. } = self;
        let origins = crate::origins::Origins::new(lookup, resolve, tls, clock);
        Ok(Client::assemble(connector, config, settings, origins, observer, clock))
    }
}

impl<C> fmt::Debug for ClientBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("ClientBuilder");
        text.field("config", &self.config).field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let new = ClientBuilder::default;
        let zero = |knob| Err(BuildError::Zero { knob });
        for (builder, expected) in [
            (new(), Ok(())),
            (new().timeout(Some(Duration::ZERO)), zero("timeout")),
            (new().connect_timeout(Duration::ZERO), zero("connect_timeout")),
            (new().response_timeout(Duration::ZERO), zero("response_timeout")),
            (new().max_conns_per_host(0), zero("max_conns_per_host")),
            (new().max_idle_per_host(0), Ok(())),
            (new().user_agent("a\nb"), Err(BuildError::Header { knob: "user_agent" })),
            (new().default_header("a b", "c"), Err(BuildError::Header { knob: "default_header" })),
            (new().default_header("a", "c").user_agent("sheave"), Ok(())),
        ] {
            let text = format!("{builder:?}");
            assert_eq!(builder.build().map(drop), expected, "{text}");
        }
    }
}
