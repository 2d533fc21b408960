//! All numbers of a process: handed out to workers as shards, read as a whole.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::observe::{
    Closed, ConnectionId, Encryption, ExchangeEnd, HandshakeFailed, Identified, Moved, Observer, Opened,
};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::Evidence;

use crate::live::LiveConnection;
use crate::process::{self, Process};
use crate::shard::Shard;
use crate::snapshot::{self, Snapshot};

/// The `Content-Type` of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many places of the list of live connections are read before a waiting worker gets its turn: 1 µs.
const PLACES_AT_ONCE: usize = 128;

/// All numbers of a process.
///
/// Under a runtime of one thread per worker, give each worker the [`Self::shard`] of its own. Under a runtime of many
/// threads, use this itself as the observer, with about as many shards as threads: it tells everything about a connection to
/// the shard that its number falls on, so that threads rarely meet.
///
/// It is also a `Collector`, for a registry that belongs to somebody else; the `process_*` metrics are then left to that one.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Arc<Shard>]>,
    counting_since: SystemTime,
    process_started: Option<f64>,
}

/// The numbers of one side contradict each other: a connection was closed twice, or never opened, or told to two shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Imbalance {
    /// The side whose connections they are.
    pub side: Side,
    /// Connections that came to be.
    pub opened: u64,
    /// Connections in the list of live ones.
    pub live: u64,
    /// Connections that ended, for whatever reason.
    pub closed: u64,
}

impl Metrics {
    /// Numbers that are all zero, in as many shards as there are workers; at least one. 39 KiB each.
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| Arc::new(Shard::new())).collect(),
            counting_since: SystemTime::now(),
            process_started: process::start_time_seconds(),
        }
    }

    /// The shard of a worker. Numbers past the last shard begin again with the first: shards may be shared.
    pub fn shard(&self, worker: usize) -> Arc<Shard> {
        Arc::clone(&self.shards[worker % self.shards.len()])
    }

    /// Everything as OpenMetrics text, to be served as [`CONTENT_TYPE`].
    ///
    /// Takes 50 µs, most of it for `/proc`, and makes a worker wait for 0.2 µs at most.
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Snapshot::take(&self.shards, self.counting_since)));
        registry.register_collector(Box::new(Process::read(self.process_started)));
        let mut page = String::with_capacity(32 << 10);
        text::encode(&mut page, &registry).expect("a String takes whatever is written to it");
        page
    }

    /// Checks the first law: opened = live + closed, for each side, live ones being counted in the list of them.
    ///
    /// Holds at any time, however busy the workers are, as each shard's numbers are read in one moment.
    ///
    /// # Errors
    ///
    /// The first side whose numbers do not agree.
    pub fn check(&self) -> Result<(), Imbalance> {
        let (accounts, _) = snapshot::accounts(&self.shards);
        for (side, account) in Side::ALL.into_iter().zip(accounts) {
            if account.unaccounted() != 0 {
                return Err(Imbalance { side, opened: account.opened, live: account.listed, closed: account.closed });
            }
        }
        Ok(())
    }

    /// The live connections, in no particular order. Those that come or go meanwhile may be missing.
    ///
    /// Takes 10 ns each, and makes a worker wait for 1 µs at most.
    pub fn connections(&self) -> Vec<LiveConnection> {
        let mut connections = Vec::new();
        let now = Instant::now();
        for shard in &self.shards {
            let mut first = 0;
            loop {
                // Beforehand, so that no worker waits for the allocator.
                connections.reserve(PLACES_AT_ONCE);
                if !shard.read_live(first..first + PLACES_AT_ONCE, now, &mut connections) {
                    break;
                }
                first += PLACES_AT_ONCE;
            }
        }
        connections
    }

    fn shard_of(&self, id: ConnectionId) -> &Shard {
        let count = self.shards.len() as u64;
        &self.shards[usize::try_from(id.0 % count).unwrap_or(0)]
    }
}

impl Observer for Metrics {
    fn opened(&self, opened: &Opened) {
        self.shard_of(opened.id).opened(opened);
    }

    fn identified(&self, identified: &Identified) {
        self.shard_of(identified.id).identified(identified);
    }

    fn moved(&self, moved: &Moved) {
        self.shard_of(moved.id).moved(moved);
    }

    fn closed(&self, closed: &Closed) {
        self.shard_of(closed.id).closed(closed);
    }

    fn secured(&self, side: Side, encryption: &Encryption<'_>) {
        self.shards[0].secured(side, encryption);
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        self.shards[0].handshake_failed(failed);
    }

    fn refused(&self, limit: &'static str) {
        self.shards[0].refused(limit);
    }

    fn held_back(&self, limit: &'static str) {
        self.shards[0].held_back(limit);
    }

    fn accept_failed(&self, fault: IoFault) {
        self.shards[0].accept_failed(fault);
    }

    fn switched(&self, id: ConnectionId) {
        self.shard_of(id).switched(id);
    }

    fn exchange_ended(&self, end: &ExchangeEnd<'_>) {
        self.shard_of(end.connection).exchange_ended(end);
    }

    fn connect_failed(&self, address: Option<SocketAddr>, reason: CloseReason) {
        self.shards[0].connect_failed(address, reason);
    }

    fn parked(&self, moved: &Moved) {
        self.shard_of(moved.id).parked(moved);
    }

    fn reused(&self, id: ConnectionId, parked_for: Duration) {
        self.shard_of(id).reused(id, parked_for);
    }

    fn found_dead(&self, id: ConnectionId, reason: CloseReason) {
        self.shard_of(id).found_dead(id, reason);
    }

    fn retried(&self, evidence: Evidence) {
        self.shards[0].retried(evidence);
    }

    fn drain_moved(&self, phase: DrainPhase) {
        for shard in &self.shards {
            shard.drain_moved(phase);
        }
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        Snapshot::take(&self.shards, self.counting_since).encode(encoder)
    }
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, opened, live, closed } = self;
        write!(f, "{} connections: {opened} opened, but {live} live and {closed} closed", side.label())
    }
}

impl std::error::Error for Imbalance {}
