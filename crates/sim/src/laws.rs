//! The laws that hold for every run, whatever the protocol: counted, bounded in time, and nothing left behind.
//!
//! Those that need to understand messages belong to whoever brings the protocol; they add to the same list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::phase::{Phase, Side};

use crate::run::{Ended, Record};
use crate::trace::{Entry, Seen, What, Whose, WireIndex};

/// A law that did not hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// Its number, from 1; zero for what no law needs to say, such as a panic.
    pub law: u8,
    /// What was seen.
    pub text: String,
}

impl Violation {
    /// A law that did not hold, and what was seen.
    pub fn new(law: u8, text: impl Into<String>) -> Self {
        Self { law, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {} is broken: {}", self.law, self.text)
    }
}

/// What the eighth law measures with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Every timeout of the tested configuration.
    pub timeout: Duration,
    /// How much later than its deadline something may happen.
    pub tick: Duration,
    /// How much later a parked connection may be closed: the pool looks at them one after the other, now and then.
    pub sweep: Duration,
}

/// The laws 1, 2, 5, 8 and 10 of a run, as far as the observer and the kernel see them.
pub fn check(record: &Record, patience: &Patience) -> Vec<Violation> {
    let mut laws = Laws { record, found: Vec::new() };
    laws.found.extend(record.broken.iter().map(|text| Violation::new(0, text.clone())));
    laws.every_connection_ends_once();
    laws.every_exchange_ends_once();
    laws.no_dead_connection_is_reused();
    laws.nothing_stands_still(patience);
    laws.nothing_is_left();
    laws.found
}

struct Laws<'r> {
    record: &'r Record,
    found: Vec<Violation>,
}

impl Laws<'_> {
    fn breaks(&mut self, law: u8, text: impl Into<String>) {
        self.found.push(Violation::new(law, text));
    }

    fn seen(&self) -> impl Iterator<Item = (usize, &Seen)> {
        self.record.trace.entries.iter().enumerate().filter_map(|(place, entry)| match &entry.what {
            What::Seen(seen) => Some((place, seen)),
            _ => None,
        })
    }

    fn name(&self, side: Side, id: ConnectionId) -> String {
        match self.record.trace.wire_of(side, id) {
            Some(wire) => self.record.trace.wires[wire].name.to_string(),
            None => format!("{} connection {}", side.label(), id.0),
        }
    }

    /// 1: opened = live + closed, each with exactly one reason; and its books are the kernel's.
    fn every_connection_ends_once(&mut self) {
        let mut ends: BTreeMap<(usize, ConnectionId), (Side, usize)> = BTreeMap::new();
        let mut found = Vec::new();
        for (place, seen) in self.seen() {
            match seen {
                Seen::Opened(side, id) => {
                    let former = ends.insert((*side as usize, *id), (*side, 0));
                    found.extend(former.map(|_| format!("{} was opened twice", self.name(*side, *id))));
                }
                Seen::Closed(side, id, reason, _, _, bytes) => {
                    match ends.get_mut(&(*side as usize, *id)) {
                        Some((_, count)) => *count += 1,
                        None => found.push(format!("{} was closed and never opened", self.name(*side, *id))),
                    }
                    found.extend(self.wrong_books(place, *side, *id, *bytes));
                    if let CloseReason::Bug(label) = reason {
                        found.push(format!("{} was closed for a bug: {label}", self.name(*side, *id)));
                    }
                }
                _ => {}
            }
        }
        for ((_, id), (side, count)) in ends {
            if count != 1 {
                found.push(format!("{} has {count} close reasons", self.name(side, id)));
            }
        }
        found.into_iter().for_each(|text| self.breaks(1, text));
    }

    fn wrong_books(&self, place: usize, side: Side, id: ConnectionId, told: [u64; 2]) -> Option<String> {
        let Some(wire) = self.record.trace.wire_of(side, id) else {
            return Some(format!("{} is on no wire", self.name(side, id)));
        };
        let counts = self.record.trace.counts_after(wire, place);
        let real = [counts.read[0] as u64, counts.written[1] as u64];
        (real != told).then(|| format!("{} says {told:?} bytes in and out, of {real:?}", self.name(side, id)))
    }

    /// 2: every started request ends exactly once.
    fn every_exchange_ends_once(&mut self) {
        let mut ended: BTreeMap<ConnectionId, Vec<u64>> = BTreeMap::new();
        let mut begun: BTreeMap<ConnectionId, u64> = BTreeMap::new();
        for (_, seen) in self.seen() {
            match seen {
                Seen::ExchangeEnded(id, end) => ended.entry(*id).or_default().push(end.number),
                Seen::Closed(Side::Downstream, id, _, _, exchanges, _) => {
                    begun.insert(*id, *exchanges);
                }
                _ => {}
            }
        }
        let ids: BTreeSet<ConnectionId> = ended.keys().chain(begun.keys()).copied().collect();
        for id in ids {
            let (mut ended, begun) =
                (ended.remove(&id).unwrap_or_default(), begun.get(&id).copied().unwrap_or_default());
            // Streams end in any order.
            ended.sort_unstable();
            if ended != (1..=begun).collect::<Vec<_>>() {
                let name = self.name(Side::Downstream, id);
                self.breaks(2, format!("{name} began {begun} exchanges, and these ended: {ended:?}"));
            }
        }
    }

    /// 5: a parked connection is never handed out after its FIN or RST, or a byte, had arrived.
    fn no_dead_connection_is_reused(&mut self) {
        let reused: Vec<_> = self
            .seen()
            .filter_map(|(place, seen)| match seen {
                Seen::Reused(id) => Some((place, *id)),
                _ => None,
            })
            .collect();
        for (place, id) in reused {
            let Some(wire) = self.record.trace.wire_of(Side::Upstream, id) else { continue };
            let counts = self.record.trace.counts_after(wire, place);
            if counts.fin[0] || counts.rst[0] || counts.delivered[0] != counts.read[0] {
                let name = self.name(Side::Upstream, id);
                self.breaks(5, format!("{name} was handed out when its end was known: {counts:?}"));
            }
        }
    }

    /// 8: without progress, a connection is closed in time, in every phase.
    fn nothing_stands_still(&mut self, patience: &Patience) {
        let mut watch = Watch { patience: *patience, live: BTreeMap::new(), last: Duration::ZERO, found: Vec::new() };
        for entry in &self.record.trace.entries {
            watch.look(self.record, entry);
        }
        for text in watch.found {
            self.breaks(8, text);
        }
    }

    /// 10: when all is over, nothing is left.
    fn nothing_is_left(&mut self) {
        let Record { ended, tasks_left, sockets_left, .. } = *self.record;
        if ended == Ended::Stuck {
            self.breaks(10, "the run never came to its end");
        }
        if tasks_left > 0 || sockets_left > 0 {
            self.breaks(10, format!("{tasks_left} tasks and {sockets_left} sockets are left"));
        }
    }
}

/// What a connection of ours is doing, as far as its patience goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Part of an exchange: another connection may be what is waited for.
    Exchange,
    /// Nothing but waiting for its own peer.
    Waiting,
    /// In the pool.
    Parked,
}

struct Live {
    doing: Doing,
    /// When anything last happened at our end.
    since: Duration,
    /// The first byte of a head that is not whole yet.
    head: Option<Duration>,
}

/// Follows the trace with a stop-watch for each connection of ours.
struct Watch {
    patience: Patience,
    live: BTreeMap<WireIndex, Live>,
    last: Duration,
    found: Vec<String>,
}

impl Watch {
    fn look(&mut self, record: &Record, entry: &Entry) {
        let at = entry.at;
        let name = |wire: WireIndex| record.trace.wires[wire].name;
        // Between two events of a run in which one of our sockets is open, no more time may pass than a timeout allows.
        let tick = self.patience.tick;
        let is_parked = |live: &Live| live.doing == Doing::Parked;
        let idle_only = self.live.values().all(is_parked);
        let allowed = self.patience.timeout + tick + if idle_only { self.patience.sweep } else { Duration::ZERO };
        if !self.live.is_empty() && at.saturating_sub(self.last) > allowed {
            let live: Vec<String> = self.live.keys().map(|wire| name(*wire).to_string()).collect();
            self.found.push(format!("nothing happened from {:?} to {at:?} while {live:?} lived", self.last));
        }
        self.last = at;
        let Some((wire, is_read)) = ours(record, &entry.what) else { return };
        if let What::Accepted(_) | What::Established(_) = entry.what {
            self.live.insert(wire, Live { doing: Doing::Exchange, since: at, head: None });
            return;
        }
        let Some(live) = self.live.get_mut(&wire) else { return };
        let allowed = match live.doing {
            Doing::Exchange => None,
            Doing::Waiting => Some(self.patience.timeout + tick),
            Doing::Parked => Some(self.patience.timeout + tick + self.patience.sweep),
        };
        if allowed.is_some_and(|allowed| at - live.since > allowed) {
            self.found.push(format!("{} stood still from {:?} to {at:?}", name(wire), live.since));
        }
        // A head has to be whole in time, however steadily its bytes drip in.
        if let Some(first) = live.head
            && at - first > self.patience.timeout + tick
        {
            self.found.push(format!("the head on {} was waited for from {first:?} to {at:?}", name(wire)));
            live.head = None;
        }
        live.since = at;
        if is_read && live.doing == Doing::Waiting {
            live.head.get_or_insert(at);
        } else if !is_read {
            live.head = None;
        }
        match &entry.what {
            What::Closed(..) => {
                self.live.remove(&wire);
            }
            What::Seen(Seen::Opened(Side::Downstream, _)) => live.doing = Doing::Waiting,
            // In the middle of an exchange, too.
            What::Seen(Seen::Moved(Side::Downstream, _, Phase::Tunnel)) => live.doing = Doing::Exchange,
            What::Seen(Seen::Moved(Side::Downstream, id, _)) => {
                // Told at the beginning and at the end of each exchange.
                let has_begun = live.doing != Doing::Exchange;
                debug_assert!(record.trace.wire_of(Side::Downstream, *id).is_some());
                live.doing = if has_begun { Doing::Exchange } else { Doing::Waiting };
            }
            What::Seen(Seen::Parked(_)) => live.doing = Doing::Parked,
            What::Seen(Seen::Opened(Side::Upstream, _) | Seen::Reused(_)) => live.doing = Doing::Exchange,
            _ => {}
        }
    }
}

/// The connection at whose end of ours something happened, and whether that was bytes coming in.
fn ours(record: &Record, what: &What) -> Option<(WireIndex, bool)> {
    let of = |side, id: &ConnectionId| record.trace.wire_of(side, *id).map(|wire| (wire, false));
    match what {
        What::Established(wire) if record.trace.wires[*wire].name.is_upstream => Some((*wire, false)),
        What::Accepted(wire) if !record.trace.wires[*wire].name.is_upstream => Some((*wire, false)),
        What::Read(wire, Whose::Ours, _) => Some((*wire, true)),
        What::Offered(wire, _)
        | What::Wrote(wire, Whose::Ours, _)
        | What::ShutDown(wire, Whose::Ours)
        | What::Failed(wire, Whose::Ours, ..)
        | What::Closed(wire, Whose::Ours, _) => Some((*wire, false)),
        What::Seen(Seen::Opened(side, id) | Seen::Moved(side, id, _)) => of(*side, id),
        What::Seen(Seen::Parked(id) | Seen::Reused(id)) => of(Side::Upstream, id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::deadline::Timer;
    use sheave_lifecycle::observe::{MadeBy, Outcome};

    use super::*;
    use crate::fault::{Way, WireName};
    use crate::plan::Plan;
    use crate::tcp::Farewell;
    use crate::trace::{ExchangeEnded, Trace, WireLog};

    const PATIENCE: Patience = Patience {
        timeout: Duration::from_millis(300),
        tick: Duration::from_millis(1),
        sweep: Duration::from_millis(100),
    };
    const ID: ConnectionId = ConnectionId(7);

    /// A run of one connection, with what happened at which millisecond.
    fn record(is_upstream: bool, entries: Vec<(u64, What)>) -> Record {
        let mut log = WireLog::new(WireName { is_upstream, number: 1 });
        log.id = Some(ID);
        let entries = entries.into_iter().map(|(millis, what)| Entry { at: Duration::from_millis(millis), what });
        Record {
            plan: Plan::calm("laws"),
            trace: Trace { entries: entries.collect(), wires: vec![log] },
            ended: Ended::Completed,
            tasks_left: 0,
            sockets_left: 0,
            operations: 0,
            broken: Vec::new(),
        }
    }

    fn broken(record: &Record) -> Vec<u8> {
        check(record, &PATIENCE).iter().map(|violation| violation.law).collect()
    }

    fn closed(side: Side, exchanges: u64, bytes: [u64; 2]) -> What {
        What::Seen(Seen::Closed(side, ID, CloseReason::TimedOut(Timer::Idle), Phase::Idle, exchanges, bytes))
    }

    fn opened(side: Side) -> What {
        What::Seen(Seen::Opened(side, ID))
    }

    fn ended(number: u64) -> What {
        let end = ExchangeEnded {
            number,
            method: "GET".to_owned(),
            status: 200,
            outcome: Outcome::Answered(MadeBy::Us),
            error: None,
            attempts: 0,
        };
        What::Seen(Seen::ExchangeEnded(ID, Box::new(end)))
    }

    const DOWN: Side = Side::Downstream;

    /// A life without offence, with something put in after so many entries.
    fn life(place: usize, more: Vec<(u64, What)>) -> Record {
        let mut entries = vec![
            (0, What::Accepted(0)),
            (0, opened(DOWN)),
            (9, What::Read(0, Whose::Ours, 5)),
            (9, What::Seen(Seen::Moved(DOWN, ID, Phase::Waiting))),
            (9, What::Wrote(0, Whose::Ours, 6)),
            (9, ended(1)),
            (9, What::Seen(Seen::Moved(DOWN, ID, Phase::Idle))),
            (309, closed(DOWN, 1, [5, 6])),
            (309, What::Closed(0, Whose::Ours, Farewell::Fin)),
        ];
        entries.splice(place..place, more);
        record(false, entries)
    }

    #[test]
    fn a_life_in_order_breaks_no_law() {
        assert_eq!(broken(&life(0, Vec::new())), []);
    }

    #[test]
    fn law_1_can_fail() {
        assert_eq!(broken(&life(8, vec![(309, closed(DOWN, 1, [5, 6]))])), [1], "closed twice");
        assert_eq!(broken(&life(1, vec![(0, opened(DOWN))])), [1], "opened twice");
        assert_eq!(broken(&record(false, vec![(0, opened(DOWN))])), [1], "never closed");
        assert_eq!(broken(&record(false, vec![(0, closed(DOWN, 0, [0, 0]))])), [1], "never opened");
        let books = record(false, vec![(0, opened(DOWN)), (0, closed(DOWN, 0, [1, 0]))]);
        assert_eq!(broken(&books), [1], "a byte that nobody sent");
    }

    #[test]
    fn law_2_can_fail() {
        assert_eq!(broken(&life(6, vec![(9, ended(1))])), [2], "ended twice");
        assert_eq!(broken(&life(6, vec![(9, ended(2))])), [2], "never begun");
        let open = record(false, vec![(0, opened(DOWN)), (0, closed(DOWN, 1, [0, 0]))]);
        assert_eq!(broken(&open), [2], "never ended");
    }

    #[test]
    fn law_5_can_fail() {
        for dead in [What::FinDelivered(0, Way::In), What::RstDelivered(0, Way::In), What::Delivered(0, Way::In, 1)] {
            let reused = |first: Vec<(u64, What)>| {
                let mut entries = vec![(0, opened(Side::Upstream)), (0, What::Seen(Seen::Parked(ID)))];
                entries.extend(first);
                entries.extend([(0, What::Seen(Seen::Reused(ID))), (0, closed(Side::Upstream, 1, [0, 0]))]);
                record(true, entries)
            };
            assert_eq!(broken(&reused(vec![(0, dead.clone())])), [5], "{dead:?}");
            assert_eq!(broken(&reused(Vec::new())), []);
        }
    }

    #[test]
    fn law_8_can_fail() {
        let late = |millis| {
            let entries = [(0, What::Accepted(0)), (0, opened(DOWN)), (millis, closed(DOWN, 0, [0, 0]))];
            record(false, entries.into_iter().chain([(millis, What::Closed(0, Whose::Ours, Farewell::Fin))]).collect())
        };
        assert_eq!(broken(&late(301)), []);
        assert_eq!(broken(&late(302)), [8, 8], "nothing happened at all, and not on this connection");
        let drips = |millis| {
            let mut entries = vec![(0, What::Accepted(0)), (0, opened(DOWN))];
            entries.extend((0..millis / 100).map(|step| (step * 100, What::Read(0, Whose::Ours, 1))));
            entries.push((millis, closed(DOWN, 0, [millis / 100, 0])));
            entries.push((millis, What::Closed(0, Whose::Ours, Farewell::Fin)));
            record(false, entries)
        };
        assert_eq!(broken(&drips(300)), []);
        assert_eq!(broken(&drips(500)), [8], "a head that drips");
        let parked = |millis| {
            let up = Side::Upstream;
            let parked = What::Seen(Seen::Parked(ID));
            let entries = [(0, What::Established(0)), (0, opened(up)), (0, parked), (millis, closed(up, 0, [0, 0]))];
            record(true, entries.into_iter().chain([(millis, What::Closed(0, Whose::Ours, Farewell::Fin))]).collect())
        };
        assert_eq!(broken(&parked(401)), [], "the pool looks ten times a second");
        assert_eq!(broken(&parked(402)), [8, 8]);
    }

    #[test]
    fn law_10_can_fail() {
        let calm = life(0, Vec::new());
        assert_eq!(broken(&Record { tasks_left: 1, ..calm.clone() }), [10]);
        assert_eq!(broken(&Record { sockets_left: 1, ..calm.clone() }), [10]);
        assert_eq!(broken(&Record { ended: Ended::Stuck, ..calm }), [10]);
    }
}
