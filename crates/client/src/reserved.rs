//! A place for a stream on a connection of HTTP/2: whoever holds it may open one, and gives it back by dropping it.

use std::sync::Arc;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::Site;
use sheave_net::socket::Socket;

use crate::multiplexed::Multiplexed;
use crate::shelves::Shelves;

/// A place for a stream.
pub(crate) struct Reserved<S: Socket> {
    pub(crate) connection: Arc<Multiplexed<S>>,
    pub(crate) site: Site,
    shelves: Arc<Shelves<S>>,
    /// Whether a stream was opened in it.
    is_open: bool,
}

impl<S: Socket> Reserved<S> {
    /// A place that has been counted.
    pub(crate) fn counted(connection: Arc<Multiplexed<S>>, site: Site, shelves: Arc<Shelves<S>>) -> Self {
        Self { connection, site, shelves, is_open: false }
    }

    /// A stream was opened in it: from here on the connection is in use.
    pub(crate) fn note_opened(&mut self) {
        self.is_open = true;
    }

    pub(crate) fn now(&self) -> Time {
        self.shelves.now()
    }

    /// The stream has waited for too long: perhaps nobody is there, and others are not to find out.
    pub(crate) fn doubt(&self, timer: Timer) {
        self.shelves.doubt(&self.site, &self.connection, timer);
    }

    /// The origin wants no HTTP/2.
    pub(crate) fn require_http1(&self) {
        self.shelves.require_http1(&self.site);
        self.shelves.retire(&self.site, &self.connection, CloseReason::Retired);
    }
}

impl<S: Socket> Drop for Reserved<S> {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.close_stream(self.shelves.now());
        }
        self.shelves.give_back(&self.site, &self.connection, self.is_open);
    }
}
