//! A pool's numbers at one moment.

use std::time::Duration;

use sheave_lifecycle::keep_alive::Learned;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::Site;
use sheave_net::socket::Socket;

use crate::error::PoolError;
use crate::shelf::Shelf;

/// A pool's numbers at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PoolStats {
    /// Parked connections, those of HTTP/2 without a stream among them.
    pub idle: usize,
    /// Connections that carry an exchange, or are being opened.
    pub busy: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Streams of HTTP/2 that are open.
    pub streams: usize,
}

/// What a pool has of one address, and knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressState {
    /// The address, and how it is spoken to.
    pub site: Site,
    /// Parked connections, those of HTTP/2 without a stream among them.
    pub parked: usize,
    /// Connections that carry an exchange, or are being opened.
    pub busy: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// How many of its connections speak HTTP/2.
    pub multiplexed: usize,
    /// Streams that are open on them.
    pub streams: usize,
    /// What is known of the origin's keep-alive time.
    pub learned: Learned,
    /// Below which age a parked connection is reused.
    pub reused_below: Duration,
    /// The same for requests that are neither safe nor idempotent.
    pub careful_below: Duration,
    /// Attempts to connect that failed in a row.
    pub connect_failures: u32,
    /// How long no attempt to connect is made.
    pub backs_off_for: Duration,
    /// Why the last attempt failed, while it was the last.
    pub failure: Option<PoolError>,
    /// Whether the followed origins have the address no longer.
    pub is_gone: bool,
}

impl AddressState {
    pub(crate) fn of<S: Socket>(site: &Site, shelf: &Shelf<S>, now: Time) -> Self {
        Self {
            site: site.clone(),
            parked: shelf.idle(),
            busy: shelf.live.saturating_sub(shelf.idle()),
            waiting: shelf.waiters.len(),
            multiplexed: shelf.trunks.len(),
            streams: shelf.streams(),
            learned: *shelf.learned(),
            reused_below: shelf.reused_below(Reuse::Usual),
            careful_below: shelf.reused_below(Reuse::Careful),
            connect_failures: shelf.backoff.failures(),
            backs_off_for: shelf.backoff.left(now),
            failure: shelf.failure.clone(),
            is_gone: shelf.is_gone,
        }
    }

    /// Adds what another pool has of the same address, and knows of it.
    ///
    /// Each pool learns for itself: the shortest time is shown, and the pool that has failed most often.
    pub fn merge(&mut self, other: &Self) {
        self.parked += other.parked;
        self.busy += other.busy;
        self.waiting += other.waiting;
        self.multiplexed += other.multiplexed;
        self.streams += other.streams;
        self.learned.merge(&other.learned);
        self.reused_below = self.reused_below.min(other.reused_below);
        self.careful_below = self.careful_below.min(other.careful_below);
        if other.connect_failures > self.connect_failures {
            self.connect_failures = other.connect_failures;
            self.failure.clone_from(&other.failure);
        }
        self.backs_off_for = self.backs_off_for.max(other.backs_off_for);
        self.is_gone &= other.is_gone;
    }
}
