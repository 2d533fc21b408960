//! What keeps the idle race from clients, all of it or nothing of it.

use sheave_client::config::ClientConfig;
use sheave_lifecycle::keep_alive::KeepAlivePolicy;
use sheave_lifecycle::retry::RetryPolicy;
use sheave_proxy::config::ProxyConfig;

/// Whether the proxy protects its clients from the idle race.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protections {
    /// The defaults: parked connections are asked before they are used, keep-alive times are learned, requests that
    /// cannot be sent again take no risk, and others are sent again on evidence.
    On,
    /// A pool that trusts its connections, and a proxy that never tries again.
    Off,
}

impl Protections {
    /// Both, in the order in which they are shown.
    pub(crate) const ALL: [Self; 2] = [Self::On, Self::Off];

    /// In a word.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }

    /// How the proxy forwards.
    pub(crate) fn proxy(self) -> ProxyConfig {
        match self {
            Self::On => ProxyConfig::default(),
            Self::Off => ProxyConfig {
                retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() },
                ..ProxyConfig::default()
            },
        }
    }

    /// How the proxy keeps connections.
    pub(crate) fn client(self) -> ClientConfig {
        match self {
            Self::On => ClientConfig::default(),
            Self::Off => ClientConfig {
                keep_alive: KeepAlivePolicy::unprotected(),
                check_before_reuse: false,
                ..ClientConfig::default()
            },
        }
    }
}
