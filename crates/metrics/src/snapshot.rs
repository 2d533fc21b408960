//! All shards together, in one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use sheave_lifecycle::observe::MadeBy;
use sheave_lifecycle::phase::{Phase, Side};

use crate::histogram::{self, AgeMicros, Amounts, LatencyMicros};
use crate::labels::{self, Labels};
use crate::shard::{Account, Codes, Counts, Shard};

/// Values of a histogram are microseconds and shown as seconds.
const SECOND: f64 = 1e6;

/// The sums over all shards. Labels are sorted, so that two texts can be compared.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) started: SystemTime,
    pub(crate) accounts: [Account; 2],
    pub(crate) parked: u64,
    pub(crate) closed: [labels::Total<4>; 2],
    pub(crate) received: [u64; 2],
    pub(crate) sent: [u64; 2],
    pub(crate) age_seconds: [histogram::Total; 2],
    pub(crate) exchanges: [histogram::Total; 2],
    pub(crate) timed_out: [labels::Total<{ Phase::ALL.len() }>; 2],
    pub(crate) handshakes: [labels::Total<2>; 2],
    pub(crate) handshakes_failed: [labels::Total<1>; 2],
    pub(crate) refused: labels::Total<1>,
    pub(crate) held_back: labels::Total<1>,
    pub(crate) accept_failed: labels::Total<1>,
    pub(crate) connect_failed: labels::Total<1>,
    pub(crate) reused: u64,
    pub(crate) found_dead: labels::Total<1>,
    pub(crate) retried: labels::Total<1>,
    pub(crate) responses: [BTreeMap<u16, u64>; 2],
    pub(crate) resets: BTreeMap<u16, u64>,
    pub(crate) errors: labels::Total<1>,
    pub(crate) request_content: u64,
    pub(crate) response_content: u64,
    pub(crate) took_seconds: histogram::Total,
    pub(crate) upstream_took_seconds: histogram::Total,
    pub(crate) tunnels_opened: u64,
    pub(crate) tunnels_closed: u64,
    pub(crate) tunnels_carried: [u64; 2],
    pub(crate) tunnel_age_seconds: histogram::Total,
    /// How many shards stand in each phase of a drain.
    pub(crate) drain: [u64; 4],
}

impl Snapshot {
    /// Reads all shards.
    pub(crate) fn take(shards: &[Arc<Shard>], started: SystemTime) -> Self {
        let (accounts, parked) = accounts(shards);
        let each = || shards.iter().map(|shard| shard.counts());
        let sum = |read: fn(&Counts) -> u64| each().map(read).sum();
        let side = |read: fn(&Counts) -> &[crate::cell::Cell; 2]| {
            Side::ALL.map(|side| each().map(|counts| read(counts)[side as usize].read()).sum())
        };
        Self {
            started,
            accounts,
            parked,
            closed: Side::ALL.map(|side| Labels::total(each().map(|counts| &counts.closed[side as usize]))),
            received: side(|counts| &counts.received),
            sent: side(|counts| &counts.sent),
            age_seconds: Side::ALL
                .map(|side| AgeMicros::total(each().map(|counts| &counts.age[side as usize]), SECOND)),
            exchanges: Side::ALL.map(|side| Amounts::total(each().map(|counts| &counts.exchanges[side as usize]), 1.0)),
            timed_out: Side::ALL.map(|side| Labels::total(each().map(|counts| &counts.timed_out[side as usize]))),
            handshakes: Side::ALL.map(|side| Labels::total(each().map(|counts| &counts.handshakes[side as usize]))),
            handshakes_failed: Side::ALL
                .map(|side| Labels::total(each().map(|counts| &counts.handshakes_failed[side as usize]))),
            held_back: Labels::total(each().map(|counts| &counts.held_back)),
            refused: Labels::total(each().map(|counts| &counts.refused)),
            accept_failed: Labels::total(each().map(|counts| &counts.accept_failed)),
            connect_failed: Labels::total(each().map(|counts| &counts.connect_failed)),
            reused: sum(|counts| counts.reused.read()),
            found_dead: Labels::total(each().map(|counts| &counts.found_dead)),
            retried: Labels::total(each().map(|counts| &counts.retried)),
            responses: [MadeBy::Origin, MadeBy::Us]
                .map(|made_by| codes(each().map(|counts| &counts.responses[made_by as usize]))),
            resets: codes(each().map(|counts| &counts.resets)),
            errors: Labels::total(each().map(|counts| &counts.errors)),
            request_content: sum(|counts| counts.request_content.read()),
            response_content: sum(|counts| counts.response_content.read()),
            took_seconds: LatencyMicros::total(each().map(|counts| &counts.took), SECOND),
            upstream_took_seconds: LatencyMicros::total(each().map(|counts| &counts.upstream_took), SECOND),
            // Those that ended are read first, so that there are never more of them than began.
            tunnels_closed: sum(|counts| counts.tunnels_closed.read()),
            tunnels_opened: sum(|counts| counts.tunnels_opened.read()),
            tunnels_carried: side(|counts| &counts.tunnels_carried),
            tunnel_age_seconds: AgeMicros::total(each().map(|counts| &counts.tunnel_age), SECOND),
            drain: [0, 1, 2, 3].map(|phase| each().filter(|counts| counts.drain.read() == phase).count() as u64),
        }
    }
}

/// The numbers that must agree, of all shards together, and how many connections are parked.
///
/// Each shard's are read in one moment, so that they agree whatever happens meanwhile, and so do their sums.
pub(crate) fn accounts(shards: &[Arc<Shard>]) -> ([Account; 2], u64) {
    let mut sums = [Account::default(); 2];
    let mut all_parked = 0;
    for shard in shards {
        let (accounts, parked) = shard.accounts();
        for (sum, account) in sums.iter_mut().zip(accounts) {
            sum.opened += account.opened;
            sum.closed += account.closed;
            sum.listed += account.listed;
        }
        all_parked += parked;
    }
    (sums, all_parked)
}

fn codes<'a>(all: impl Iterator<Item = &'a Codes>) -> BTreeMap<u16, u64> {
    let mut sums = BTreeMap::new();
    for (code, count) in all.flat_map(Codes::read) {
        *sums.entry(code).or_insert(0) += count;
    }
    sums
}
