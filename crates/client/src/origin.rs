//! An origin: where its addresses come from, and how a request names it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use sheave_net::resolve::Resolved;

/// An origin that requests are sent to.
pub struct Origin {
    resolved: Resolved,
    authority: String,
    base_path: String,
    seen: Mutex<(u64, Arc<[SocketAddr]>)>,
}

impl Origin {
    /// An origin at `resolved`. `base_path` is put before every path; empty for none, else `/like-this`, without a slash
    /// at its end.
    pub fn new(resolved: Resolved, base_path: &str) -> Self {
        let authority = match resolved.name().port() {
            80 => host_of(&resolved),
            port => format!("{}:{port}", host_of(&resolved)),
        };
        let base_path = base_path.trim_end_matches('/').to_owned();
        Self { resolved, authority, base_path, seen: Mutex::new((0, Arc::new([]))) }
    }

    /// The origin at an address that needs no lookup.
    pub fn at(address: SocketAddr) -> Self {
        Self::new(Resolved::fixed(address), "")
    }

    /// Where its addresses come from.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// What `Host` says where it names the origin: without the port where that is 80. RFC 9110 §7.2
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What is put before every path.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The present addresses; empty while the name has never been resolved.
    ///
    /// One atomic load and an uncontended lock, unless they have changed.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        let version = self.resolved.version();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != version {
            *seen = (version, self.resolved.addresses());
        }
        seen.1.clone()
    }

    /// Asks for a lookup soon, because no address answers.
    pub fn refresh_soon(&self) {
        self.resolved.refresh_soon();
    }
}

fn host_of(resolved: &Resolved) -> String {
    let host = resolved.name().host();
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
