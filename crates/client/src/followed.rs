//! An origin whose addresses are followed as they change.

use sheave_net::endpoint::Site;
use sheave_net::resolve::Resolved;

/// An origin whose addresses are followed.
pub(crate) struct Followed {
    origin: Resolved,
    /// In which manner its addresses are spoken to.
    like: Site,
    version: u64,
    sites: Vec<Site>,
}

impl Followed {
    pub(crate) fn new(origin: Resolved, like: Site) -> Self {
        let mut followed = Self { version: 0, sites: Vec::new(), origin, like };
        followed.look();
        followed
    }

    /// Looks whether its addresses have changed.
    pub(crate) fn refresh(&mut self) {
        if self.version != self.origin.version() {
            self.look();
        }
    }

    fn look(&mut self) {
        self.version = self.origin.version();
        self.sites = self.origin.addresses().iter().map(|address| self.like.at(*address)).collect();
    }

    /// Where it is, as of the last look.
    pub(crate) fn sites(&self) -> &[Site] {
        &self.sites
    }
}
