//! An origin whose addresses are followed as they change.

use std::net::SocketAddr;
use std::sync::Arc;

use sheave_net::resolve::Resolved;

/// An origin whose addresses are followed.
pub(crate) struct Followed {
    origin: Resolved,
    version: u64,
    addresses: Arc<[SocketAddr]>,
}

impl Followed {
    pub(crate) fn new(origin: Resolved) -> Self {
        Self { version: origin.version(), addresses: origin.addresses(), origin }
    }

    /// Looks whether its addresses have changed.
    pub(crate) fn refresh(&mut self) {
        let version = self.origin.version();
        if self.version != version {
            *self = Self { version, addresses: self.origin.addresses(), origin: self.origin.clone() };
        }
    }

    /// Its addresses, as of the last look.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}
