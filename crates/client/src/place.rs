//! A place for a connection under the caps: whoever holds it may have one, and gives it back by dropping it.

use std::sync::Arc;

use sheave_lifecycle::time::Time;
use sheave_net::endpoint::Endpoint;
use sheave_net::socket::Socket;
use sheave_proto::keep_alive::KeepAlive;

use crate::drive::Told;
use crate::multiplexed::Multiplexed;
use crate::parked::ClientLeg;
use crate::shelves::Shelves;

/// A place under the caps of its site and of the process.
pub(crate) struct Place<S: Socket> {
    pub(crate) endpoint: Endpoint,
    /// Taken when the place has passed to a parked connection.
    shelves: Option<Arc<Shelves<S>>>,
    /// Whoever holds it makes the one attempt that is made after failures.
    pub(crate) is_trial: bool,
    /// A connection is being opened in it.
    pub(crate) is_opening: bool,
}

impl<S: Socket> Place<S> {
    /// A place that has been counted.
    pub(crate) fn counted(endpoint: Endpoint, shelves: Arc<Shelves<S>>) -> Self {
        Self { endpoint, shelves: Some(shelves), is_trial: false, is_opening: false }
    }

    /// The connection that was opened in it speaks HTTP/2.
    pub(crate) fn enlist(&self, connection: &Arc<Multiplexed<S>>) {
        if let Some(shelves) = &self.shelves {
            shelves.enlist(&self.endpoint, connection);
        }
    }

    /// How such a connection stands.
    pub(crate) fn tell(&self, connection: &Arc<Multiplexed<S>>, told: Told) {
        if let Some(shelves) = &self.shelves {
            shelves.told(self.endpoint.site(), connection, told);
        }
    }

    /// Such a connection has ended, and with it the place.
    pub(crate) fn strike_off(self, connection: &Arc<Multiplexed<S>>) {
        if let Some(shelves) = &self.shelves {
            shelves.strike_off(self.endpoint.site(), connection);
        }
    }

    /// Keeps an idle connection for the next exchange, if there is a reason to; closes it otherwise. The first who waits
    /// gets it, or else its place.
    pub(crate) fn park(mut self, leg: ClientLeg<S>, told: KeepAlive, left: Option<u64>, now: Time) {
        if let Some(shelves) = self.shelves.take() {
            shelves.park(&self.endpoint, leg, told, left, now);
        }
    }
}

impl<S: Socket> Drop for Place<S> {
    fn drop(&mut self) {
        if let Some(shelves) = self.shelves.take() {
            shelves.release(self.endpoint.site(), self.is_trial, self.is_opening);
        }
    }
}
