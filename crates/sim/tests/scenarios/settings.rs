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

fn connection() -> ConnectionConfig {
    let timeouts = Timeouts {
        first_byte: TIMEOUT,
        head: TIMEOUT,
        body: TIMEOUT,
        idle: TIMEOUT,
        response: TIMEOUT,
        ..Timeouts::default()
    };
    ConnectionConfig { timeouts, ..ConnectionConfig::default() }
}

pub(crate) fn drain_plan() -> DrainPlan {
    // Long enough that every deadline acts before it, so that a drain alone loses nothing.
    DrainPlan { quiet: Duration::from_millis(20), grace: 20 * TIMEOUT, ..DrainPlan::default() }
}

pub(crate) fn server() -> ServerConfig {
    ServerConfig {
        connection: connection(),
        write_timeout: TIMEOUT,
        linger: LingerPlan { timeout: TIMEOUT, ..LingerPlan::default() },
        drain: drain_plan(),
        ..ServerConfig::default()
    }
}

pub(crate) fn client(max_connections: usize) -> ClientConfig {
    ClientConfig {
        max_connections,
        queue_timeout: TIMEOUT,
        connection: connection(),
        write_timeout: TIMEOUT,
        dial: DialPlan { connect_timeout: TIMEOUT, ..DialPlan::default() },
        ..ClientConfig::default()
    }
}

pub(crate) fn proxy() -> ProxyConfig {
    ProxyConfig { pseudonym: None, ..ProxyConfig::default() }
}
