//! What one worker has seen: told by an observer's methods, read by a scrape.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sheave_lifecycle::close::{CloseReason, Severity};
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::errno::{Errno, IoFault};
use sheave_lifecycle::observe::{
    Closed, ConnectionId, Encryption, ExchangeEnd, HandshakeFailed, Identified, MadeBy, Moved, Observer, Opened,
    Outcome,
};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::retry::Evidence;

use crate::cell::{Cell, Turn};
use crate::histogram::{AgeMicros, Amounts, LatencyMicros, micros};
use crate::labels::Labels;
use crate::live::{LiveConnection, LiveList, Traffic};

/// The counts of one worker, and its live connections.
///
/// Any number of threads may tell it things, and every count stays exact. It is cheap when it is always the same thread:
/// then nobody waits for the lock inside, which costs 9 ns of each call. A scrape takes that lock only to add up the few
/// numbers that must agree, so that it does not keep a worker waiting while it writes text.
///
/// Nanoseconds for each call, with 10,000 live connections, on one core of an EPYC (`cargo bench -p sheave-metrics`):
///
/// | call | ns |
/// |---|---|
/// | `opened` and `closed`, 20 of them for the clock | 62 |
/// | `moved` | 14 |
/// | `exchange_ended` | 16 |
///
/// An exchange through a proxy is five calls: `moved` twice, `reused`, `parked` (which is a `moved`, too) and `exchange_ended`.
///
/// Takes 42 KiB, and about 100 bytes for each live connection.
// Two cache lines, as processors fetch them in pairs: no shard shares one with another.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    live: Mutex<LiveList>,
    counts: Counts,
}

/// All cells of a shard. Indexed by side, made-by and severity in the order in which these are declared.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) opened: [Cell; 2],
    pub(crate) closed: [Labels<&'static str, 48, 4>; 2],
    pub(crate) received: [Cell; 2],
    pub(crate) sent: [Cell; 2],
    pub(crate) age: [AgeMicros; 2],
    pub(crate) exchanges: [Amounts; 2],
    /// By timer, and by how far the connection had got.
    pub(crate) timed_out: [Labels<&'static str, 16, { Phase::ALL.len() }>; 2],
    /// By version; afresh, and resumed.
    pub(crate) handshakes: [Labels<&'static str, 4, 2>; 2],
    pub(crate) handshakes_failed: [Labels<&'static str, 48>; 2],
    pub(crate) refused: Labels<&'static str, 16>,
    pub(crate) held_back: Labels<&'static str, 16>,
    pub(crate) accept_failed: Labels<Errno, 16>,
    pub(crate) connect_failed: Labels<&'static str, 32>,
    pub(crate) reused: Cell,
    pub(crate) found_dead: Labels<&'static str, 32>,
    pub(crate) retried: Labels<&'static str, 16>,
    pub(crate) responses: [Codes; 2],
    pub(crate) resets: Codes,
    pub(crate) errors: Labels<&'static str, 64>,
    pub(crate) request_content: Cell,
    pub(crate) response_content: Cell,
    pub(crate) took: LatencyMicros,
    pub(crate) upstream_took: LatencyMicros,
    pub(crate) tunnels_opened: Cell,
    pub(crate) tunnels_closed: Cell,
    /// From clients, and to them.
    pub(crate) tunnels_carried: [Cell; 2],
    pub(crate) tunnel_age: AgeMicros,
    pub(crate) drain: Cell,
}

impl Counts {
    const fn new() -> Self {
        Self {
            opened: [const { Cell::new() }; 2],
            closed: [const { Labels::new() }; 2],
            received: [const { Cell::new() }; 2],
            sent: [const { Cell::new() }; 2],
            age: [const { AgeMicros::new() }; 2],
            exchanges: [const { Amounts::new() }; 2],
            timed_out: [const { Labels::new() }; 2],
            handshakes: [const { Labels::new() }; 2],
            handshakes_failed: [const { Labels::new() }; 2],
            refused: Labels::new(),
            held_back: Labels::new(),
            accept_failed: Labels::new(),
            connect_failed: Labels::new(),
            reused: Cell::new(),
            found_dead: Labels::new(),
            retried: Labels::new(),
            responses: [const { Codes::new() }; 2],
            resets: Codes::new(),
            errors: Labels::new(),
            request_content: Cell::new(),
            response_content: Cell::new(),
            took: LatencyMicros::new(),
            upstream_took: LatencyMicros::new(),
            tunnels_opened: Cell::new(),
            tunnels_closed: Cell::new(),
            tunnels_carried: [const { Cell::new() }; 2],
            tunnel_age: AgeMicros::new(),
            drain: Cell::new(),
        }
    }
}

/// A count for each status code of three digits, and one for everything else.
#[derive(Debug)]
pub(crate) struct Codes([Cell; 901]);

impl Codes {
    const fn new() -> Self {
        Self([const { Cell::new() }; 901])
    }

    fn cell(&self, status: u16) -> &Cell {
        &self.0[if (100..=999).contains(&status) { usize::from(status) - 99 } else { 0 }]
    }

    /// The codes that came up with their counts; zero stands for those that are none.
    pub(crate) fn read(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.0.iter().map(Cell::read);
        std::iter::once(0).chain(100..=999).zip(counts).filter(|(_, count)| *count != 0)
    }
}

/// The numbers of one side that must agree, read in one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Account {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Counted in the list of live connections, not from the other two.
    pub(crate) listed: u64,
}

impl Account {
    /// Zero, unless something is wrong.
    pub(crate) fn unaccounted(&self) -> i64 {
        self.opened.wrapping_sub(self.closed).wrapping_sub(self.listed).cast_signed()
    }
}

impl Shard {
    pub(crate) fn new() -> Self {
        let shard = Self { live: Mutex::new(LiveList::default()), counts: Counts::new() };
        // All of them, so that the first retry is an increase of something and not a new series.
        let evidence = [
            Evidence::NotWritten,
            Evidence::ConnectFailed,
            Evidence::ClosedBeforeWrite,
            Evidence::RefusedStream,
            Evidence::GoAwayAbove,
            Evidence::Idempotent,
            Evidence::IdempotencyKey,
        ];
        shard.counts.retried.expect(evidence.map(Evidence::label));
        shard
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The numbers that must agree, for each side, and how many connections are parked. Keeps a writer waiting for 0.2 µs.
    pub(crate) fn accounts(&self) -> ([Account; 2], u64) {
        let turn = Turn::take(&self.live);
        let accounts = Side::ALL.map(|side| Account {
            opened: self.counts.opened[side as usize].read(),
            closed: self.counts.closed[side as usize].sum(),
            listed: turn.live.len(side),
        });
        (accounts, turn.live.parked())
    }

    /// Adds the live connections in `places` to `into`; true if there are more places behind.
    pub(crate) fn read_live(&self, places: Range<usize>, now: Instant, into: &mut Vec<LiveConnection>) -> bool {
        Turn::take(&self.live).live.read(places, now, into)
    }

    fn carried(&self, turn: &Turn<'_>, side: Side, traffic: Traffic) {
        self.counts.received[side as usize].add(turn, traffic.received);
        self.counts.sent[side as usize].add(turn, traffic.sent);
    }
}

impl Observer for Shard {
    fn opened(&self, opened: &Opened) {
        // Workers have clocks of their own: the time in `opened` cannot be compared with the reader's.
        let now = Instant::now();
        let mut turn = Turn::take(&self.live);
        turn.live.insert(opened, now);
        self.counts.opened[opened.side as usize].add(&turn, 1);
    }

    fn identified(&self, identified: &Identified) {
        Turn::take(&self.live).live.identify(identified);
    }

    fn moved(&self, moved: &Moved) {
        let mut turn = Turn::take(&self.live);
        if let Some(traffic) = turn.live.update(moved) {
            self.carried(&turn, moved.side, traffic);
        }
    }

    fn closed(&self, closed: &Closed) {
        let mut turn = Turn::take(&self.live);
        // Without an entry nothing of it was counted before.
        let all = Traffic { received: closed.bytes_in, sent: closed.bytes_out };
        let traffic = turn.live.remove(closed).unwrap_or(all);
        self.carried(&turn, closed.side, traffic);
        let severity = closed.reason.severity(closed.side, closed.phase);
        let side = closed.side as usize;
        self.counts.closed[side].row(closed.reason.label())[severity as usize].add(&turn, 1);
        if let CloseReason::TimedOut(timer) = closed.reason {
            self.counts.timed_out[side].row(timer.label())[closed.phase as usize].add(&turn, 1);
        }
        self.counts.age[side].record(&turn, micros(closed.age));
        self.counts.exchanges[side].record(&turn, closed.exchanges);
    }

    fn secured(&self, side: Side, encryption: &Encryption<'_>) {
        let turn = Turn::take(&self.live);
        let row = self.counts.handshakes[side as usize].row(encryption.version);
        row[usize::from(encryption.is_resumed)].add(&turn, 1);
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        let turn = Turn::take(&self.live);
        self.counts.handshakes_failed[failed.side as usize].row(failed.label)[0].add(&turn, 1);
    }

    fn refused(&self, limit: &'static str) {
        let turn = Turn::take(&self.live);
        self.counts.refused.row(limit)[0].add(&turn, 1);
    }

    fn held_back(&self, limit: &'static str) {
        let turn = Turn::take(&self.live);
        self.counts.held_back.row(limit)[0].add(&turn, 1);
    }

    fn accept_failed(&self, fault: IoFault) {
        let turn = Turn::take(&self.live);
        self.counts.accept_failed.row(fault.errno)[0].add(&turn, 1);
    }

    fn switched(&self, _: ConnectionId) {
        let turn = Turn::take(&self.live);
        self.counts.tunnels_opened.add(&turn, 1);
    }

    fn exchange_ended(&self, end: &ExchangeEnd<'_>) {
        let turn = Turn::take(&self.live);
        let codes = match end.outcome {
            Outcome::Answered(made_by) => &self.counts.responses[made_by as usize],
            Outcome::Reset => &self.counts.resets,
        };
        codes.cell(end.status).add(&turn, 1);
        let bytes = [end.request_bytes, end.response_bytes];
        let contents = [&self.counts.request_content, &self.counts.response_content];
        match end.tunnel {
            None => {
                self.counts.took.record(&turn, micros(end.took));
                contents.into_iter().zip(bytes).for_each(|(cell, bytes)| cell.add(&turn, bytes));
            }
            // It took as long as somebody had something to say, which says nothing of how fast requests are answered.
            Some(age) => {
                self.counts.tunnels_closed.add(&turn, 1);
                self.counts.tunnel_age.record(&turn, micros(age));
                self.counts.tunnels_carried.iter().zip(bytes).for_each(|(cell, bytes)| cell.add(&turn, bytes));
            }
        }
        if let Some(after) = end.upstream.and_then(|upstream| upstream.response_after) {
            self.counts.upstream_took.record(&turn, micros(after));
        }
        if let Some(error) = end.error {
            self.counts.errors.row(error)[0].add(&turn, 1);
        }
    }

    fn connect_failed(&self, _: Option<SocketAddr>, reason: CloseReason) {
        let turn = Turn::take(&self.live);
        self.counts.connect_failed.row(reason.label())[0].add(&turn, 1);
    }

    fn parked(&self, moved: &Moved) {
        self.moved(moved);
    }

    fn reused(&self, id: ConnectionId, _: Duration) {
        let mut turn = Turn::take(&self.live);
        turn.live.reuse(id);
        self.counts.reused.add(&turn, 1);
    }

    fn found_dead(&self, _: ConnectionId, reason: CloseReason) {
        // It stays in the list, and parked, until it is closed.
        let turn = Turn::take(&self.live);
        self.counts.found_dead.row(reason.label())[0].add(&turn, 1);
    }

    fn retried(&self, evidence: Evidence) {
        let turn = Turn::take(&self.live);
        self.counts.retried.row(evidence.label())[0].add(&turn, 1);
    }

    fn drain_moved(&self, phase: DrainPhase) {
        let turn = Turn::take(&self.live);
        self.counts.drain.set(&turn, phase as u64);
    }
}

// Counts are indexed by these, in this order.
const _: () = {
    assert!(Side::Downstream as usize == 0 && Side::Upstream as usize == 1);
    assert!(MadeBy::Origin as usize == 0 && MadeBy::Us as usize == 1);
    assert!(Severity::ALL[0] as usize == 0 && Severity::ALL[3] as usize == 3);
    assert!(Phase::ALL[0] as usize == 0 && Phase::ALL[10] as usize == 10);
    assert!(DrainPhase::Running as usize == 0 && DrainPhase::Forcing as usize == 3);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_a_place_each_and_nonsense_has_one_together() {
        let live = Mutex::new(LiveList::default());
        let turn = Turn::take(&live);
        let codes = Codes::new();
        for status in [100, 200, 200, 599, 999, 0, 99, 1000, u16::MAX] {
            codes.cell(status).add(&turn, 1);
        }
        let read: Vec<_> = codes.read().collect();
        assert_eq!(read, [(0, 4), (100, 1), (200, 2), (599, 1), (999, 1)]);
    }

    #[test]
    fn shards_share_no_cache_line_and_are_no_larger_than_was_said() {
        assert_eq!(align_of::<Shard>(), 128);
        assert!(size_of::<Shard>() <= 42 << 10, "{}", size_of::<Shard>());
    }
}
