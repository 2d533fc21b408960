//! How a proxy forwards.

use std::net::IpAddr;
use std::sync::Arc;

use sheave_lifecycle::retry::RetryPolicy;

/// Says which clients are trusted to tell whom they forward for.
pub type Trust = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What `Host` says to the origin.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum HostPolicy {
    /// What the client said. Default, as with Caddy; nginx says the origin's.
    #[default]
    Keep,
    /// The origin's own name.
    Origin,
}

/// How requests are spread over several origins.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Balance {
    /// One after the other. Default.
    #[default]
    RoundRobin,
    /// To the one with the fewest exchanges under way, in this worker.
    LeastOutstanding,
}

/// How a proxy forwards.
#[derive(Clone)]
pub struct ProxyConfig {
    /// Our name in `Via`, and how a request that comes back is recognised. A token; unique to this process by default,
    /// so that two proxies in a row are no loop. `None` adds no `Via` and detects no loop.
    pub pseudonym: Option<String>,
    /// What `Host` says to the origin.
    pub host: HostPolicy,
    /// Whose `Forwarded`, `X-Forwarded-*` and `X-Real-IP` are kept and added to. Default: nobody's; they are replaced.
    pub trust: Option<Trust>,
    /// When a request is sent again.
    pub retry: RetryPolicy,
    /// Whether `Idempotency-Key` vouches for a request whose method is not idempotent. Default: no.
    pub trust_idempotency_key: bool,
    /// How much of a request's body is kept for another attempt. Default: 64 KiB. Zero keeps none.
    pub max_replay_bytes: usize,
    /// How requests are spread over several origins.
    pub balance: Balance,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            pseudonym: Some(format!("sheave-{:08x}", fastrand::u32(..))),
            host: HostPolicy::default(),
            trust: None,
            retry: RetryPolicy::default(),
            trust_idempotency_key: false,
            max_replay_bytes: 64 * 1024,
            balance: Balance::default(),
        }
    }
}
