//! The addresses and the configuration of every simulated run: all timeouts the same, so that the laws can measure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_lifecycle::drain::DrainPlan;
use sheave_net::dial::DialPlan;
use sheave_net::leg::LingerPlan;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proxy::config::ProxyConfig;
use sheave_server::config::ServerConfig;
use sheave_sim::laws::Patience;
use sheave_sim::plan::Plan;

use crate::catalogue::Scenario;

/// Where clients connect to.
pub(crate) const FRONT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);
/// Where the origin listens.
pub(crate) const ORIGIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);
/// Where nobody listens.
pub(crate) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)), 80);

/// Every timeout there is.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(300);
/// How long scripts wait before they give up: longer than what is tested may take for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the eighth law measures with. A timer of the runtime fires on the next millisecond; the pool sweeps ten times
/// a second.
pub(crate) const LAW: Patience =
    Patience { timeout: TIMEOUT, tick: Duration::from_millis(1), sweep: Duration::from_millis(100) };

/// What can be varied, and how: the options of plans.
pub(crate) const OPTIONS: &[(&str, &[u64])] = &[
    ("requests", &[1, 2]),
    ("origin-requests", &[1, 2]),
    ("exchange-timeout", &[600]),
    ("max-idle", &[0]),
    ("replay", &[0, 4]),
    ("attempts", &[2]),
];

/// What a run is configured with.
pub(crate) struct Settings {
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    pub(crate) proxy: ProxyConfig,
}

pub(crate) fn drain_plan() -> DrainPlan {
    // Long enough that every deadline acts before it, so that a drain alone loses nothing.
    DrainPlan { quiet: Duration::from_millis(20), grace: 20 * TIMEOUT, ..DrainPlan::default() }
}

impl Settings {
    pub(crate) fn of(plan: &Plan, scenario: &Scenario) -> Self {
        let timeouts = Timeouts {
            first_byte: TIMEOUT,
            head: TIMEOUT,
            body: TIMEOUT,
            idle: TIMEOUT,
            response: TIMEOUT,
            tunnel_idle: TIMEOUT,
            ..Timeouts::default()
        };
        let connection = ConnectionConfig { timeouts, ..ConnectionConfig::default() };
        let server = ServerConfig {
            connection,
            write_timeout: TIMEOUT,
            linger: LingerPlan { timeout: TIMEOUT, ..LingerPlan::default() },
            drain: drain_plan(),
            ..ServerConfig::default()
        };
        let client = ClientConfig {
            connection,
            write_timeout: TIMEOUT,
            dial: DialPlan { connect_timeout: TIMEOUT, ..DialPlan::default() },
            max_connections: scenario.max_connections,
            queue_timeout: TIMEOUT,
            ..ClientConfig::default()
        };
        let proxy = ProxyConfig { pseudonym: None, ..ProxyConfig::default() };
        let mut settings = Self { server, client, proxy };
        settings.vary(plan);
        settings
    }

    fn vary(&mut self, plan: &Plan) {
        let size = |name| plan.option(name).and_then(|value| usize::try_from(value).ok());
        if let Some(max) = plan.option("requests") {
            self.server.connection.max_requests = max;
        }
        if let Some(max) = plan.option("origin-requests") {
            self.client.connection.max_requests = max;
        }
        self.server.exchange_timeout = plan.option("exchange-timeout").map(Duration::from_millis);
        self.client.max_idle = size("max-idle").unwrap_or(self.client.max_idle);
        self.proxy.max_replay_bytes = size("replay").unwrap_or(self.proxy.max_replay_bytes);
        if let Some(attempts) = plan.option("attempts").and_then(|value| u32::try_from(value).ok()) {
            self.proxy.retry.max_attempts = attempts;
        }
    }
}
