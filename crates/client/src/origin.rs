//! An origin: where its addresses come from, how they are spoken to, and how a request names it.

use std::sync::{Arc, Mutex, PoisonError};

use http::uri::Scheme;
use sheave_net::endpoint::{Endpoint, Manner, Site};
use sheave_net::resolve::Resolved;

/// An origin that requests are sent to.
pub struct Origin {
    resolved: Resolved,
    /// An address of it: the others are spoken to in the same manner.
    like: Site,
    authority: String,
    base_path: String,
    seen: Mutex<(u64, Arc<[Endpoint]>)>,
}

impl Origin {
    /// An origin at `resolved` that is spoken to over plain HTTP/1, unless [`Self::spoken_to`] says otherwise.
    /// `base_path` is put before every path; empty for none, else `/like-this`, without a slash at its end.
    pub fn new(resolved: Resolved, base_path: &str) -> Self {
        let base_path = base_path.trim_end_matches('/').to_owned();
        Self::with(resolved, base_path, Manner::default())
    }

    /// The origin at an address that needs no lookup, over plain HTTP/1.
    pub fn at(address: std::net::SocketAddr) -> Self {
        Self::new(Resolved::fixed(address), "")
    }

    /// The same origin, spoken to in another manner.
    #[must_use]
    pub fn spoken_to(self, manner: Manner) -> Self {
        Self::with(self.resolved, self.base_path, manner)
    }

    fn with(resolved: Resolved, base_path: String, manner: Manner) -> Self {
        // The manner is one for all addresses; which address this is does not matter.
        let like = Site::new(([0, 0, 0, 0], 0).into(), manner);
        let authority = match resolved.name().port() {
            port if port == default_port(&scheme_of(&like)) => host_of(&resolved),
            port => format!("{}:{port}", host_of(&resolved)),
        };
        Self { resolved, like, authority, base_path, seen: Mutex::new((0, Arc::new([]))) }
    }

    /// Where its addresses come from.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// How it is spoken to.
    pub fn manner(&self) -> &Manner {
        self.like.manner()
    }

    /// A site that is spoken to like it.
    pub(crate) fn like(&self) -> &Site {
        &self.like
    }

    /// What `:scheme` says: whether TLS is between us. RFC 9113 §8.3.1
    pub fn scheme(&self) -> Scheme {
        scheme_of(&self.like)
    }

    /// What `Host` says where it names the origin: without the port where that is the scheme's own. RFC 9110 §7.2
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What is put before every path.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Where it is now; empty while the name has never been resolved.
    ///
    /// One atomic load and an uncontended lock, unless the addresses have changed.
    pub fn endpoints(&self) -> Arc<[Endpoint]> {
        let version = self.resolved.version();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != version {
            let endpoint = |address: &_| Endpoint::from(self.like.at(*address));
            *seen = (version, self.resolved.addresses().iter().map(endpoint).collect());
        }
        seen.1.clone()
    }

    /// Asks for a lookup soon, because no address answers.
    pub fn refresh_soon(&self) {
        self.resolved.refresh_soon();
    }
}

/// The port that a URI of this scheme means when it names none. RFC 9110 §4.2
fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

fn scheme_of(site: &Site) -> Scheme {
    if site.manner().is_secured() { Scheme::HTTPS } else { Scheme::HTTP }
}

fn host_of(resolved: &Resolved) -> String {
    let host = resolved.name().host();
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
