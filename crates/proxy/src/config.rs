//! How a proxy forwards.

use std::net::IpAddr;
use std::sync::Arc;

use sheave_lifecycle::retry::RetryPolicy;

use crate::connect::ConnectPolicy;

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
    /// Protocols to which clients may switch through us, as `Upgrade` names them: a name in any case, which stands for
    /// all of its versions, or a name with a version (`name/version`). What else clients offer is not passed on. Never
    /// HTTP's own (`h2c`). Default: `websocket`. RFC 9110 §7.8
    pub upgrades: Vec<String>,
    /// Where CONNECT may lead. Default: nowhere, it is off.
    pub connect: ConnectPolicy,
    /// Whether fields whose names hold `_` are passed on for clients that are not trusted: to origins that turn fields
    /// into environment variables they look like others, with `-`. Default: no.
    pub keeps_underscores: bool,
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
            upgrades: vec!["websocket".to_owned()],
            connect: ConnectPolicy::default(),
            keeps_underscores: false,
        }
    }
}
