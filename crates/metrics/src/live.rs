//! The connections that live, as a list that can be read while they come and go.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sheave_lifecycle::kept_ends::KeptEnds;
use sheave_lifecycle::observe::{Closed, ConnectionId, Identified, Moved, Opened};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::places::Places;

use crate::histogram::micros;
use crate::ids::IdPlaces;

/// A connection as it stood when the list was read.
///
/// Phase and amounts are those of its last exchange's beginning or end, not of its last byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LiveConnection {
    /// Its number, unique for its side.
    pub id: ConnectionId,
    /// Which side.
    pub side: Side,
    /// The other end; absent for sockets that have no address.
    pub peer: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Where it stands.
    pub phase: Phase,
    /// How long it has lived.
    pub age: Duration,
    /// How many exchanges it began.
    pub exchanges: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// Bytes that went over a connection since it was last looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// What is kept of a live connection. What changes comes first, on as few cache lines as it can be.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    exchanges: u64,
    bytes_in: u64,
    bytes_out: u64,
    phase: Phase,
    side: Side,
    id: ConnectionId,
    /// Since the list began.
    opened_micros: u64,
    ends: KeptEnds,
}

/// The live connections of one shard: about 100 bytes each.
#[derive(Debug, Default)]
pub(crate) struct LiveList {
    // A connection keeps its place as long as it lives, so that the list can be read in several goes.
    entries: Places<Entry>,
    places: [IdPlaces; 2],
    parked: u64,
    /// Since its first connection.
    since: Option<Instant>,
}

impl LiveList {
    /// A connection came to be.
    pub(crate) fn insert(&mut self, opened: &Opened, now: Instant) {
        let phase = match opened.side {
            Side::Downstream => Phase::FirstByte,
            Side::Upstream => Phase::Idle,
        };
        let since = *self.since.get_or_insert(now);
        let entry = Entry {
            exchanges: 0,
            bytes_in: 0,
            bytes_out: 0,
            phase,
            side: opened.side,
            id: opened.id,
            opened_micros: micros(now.saturating_duration_since(since)),
            ends: KeptEnds::new(opened.peer, opened.local),
        };
        let place = self.entries.insert(entry);
        if let Some(former) = self.places[opened.side as usize].insert(opened.id.0, place) {
            // Two of one number: the list holds the later one, and the check of all counts will say that one is missing.
            self.vacate(former);
        }
    }

    /// A connection's ends became known better. Nothing, if it is not in the list.
    pub(crate) fn identify(&mut self, identified: &Identified) {
        let place = self.places[identified.side as usize].get(identified.id.0);
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.ends = KeptEnds::new(identified.peer, identified.local);
        }
    }

    /// A connection moved. Nothing, if it is not in the list.
    pub(crate) fn update(&mut self, moved: &Moved) -> Option<Traffic> {
        let place = self.places[moved.side as usize].get(moved.id.0)?;
        let entry = self.entries.get_mut(place)?;
        let traffic = Traffic {
            received: moved.bytes_in.saturating_sub(entry.bytes_in),
            sent: moved.bytes_out.saturating_sub(entry.bytes_out),
        };
        self.parked = self.parked - is_parked(entry.phase) + is_parked(moved.phase);
        entry.phase = moved.phase;
        entry.exchanges = moved.exchanges;
        entry.bytes_in = moved.bytes_in;
        entry.bytes_out = moved.bytes_out;
        Some(traffic)
    }

    /// An upstream connection came out of the pool, and begins an exchange.
    pub(crate) fn reuse(&mut self, id: ConnectionId) {
        let place = self.places[Side::Upstream as usize].get(id.0);
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            self.parked -= is_parked(entry.phase);
            entry.phase = Phase::Request;
            entry.exchanges += 1;
        }
    }

    /// A connection ended. Nothing, if it is not in the list.
    pub(crate) fn remove(&mut self, closed: &Closed) -> Option<Traffic> {
        let place = self.places[closed.side as usize].remove(closed.id.0)?;
        let entry = self.vacate(place)?;
        Some(Traffic {
            received: closed.bytes_in.saturating_sub(entry.bytes_in),
            sent: closed.bytes_out.saturating_sub(entry.bytes_out),
        })
    }

    fn vacate(&mut self, place: usize) -> Option<Entry> {
        let entry = self.entries.remove(place)?;
        self.parked -= is_parked(entry.phase);
        Some(entry)
    }

    /// How many connections of a side live.
    pub(crate) fn len(&self, side: Side) -> u64 {
        self.places[side as usize].len() as u64
    }

    /// How many connections are in the pool.
    pub(crate) fn parked(&self) -> u64 {
        self.parked
    }

    /// Adds the connections in `places` to `into`; true if there are more places behind.
    pub(crate) fn read(&self, places: std::ops::Range<usize>, now: Instant, into: &mut Vec<LiveConnection>) -> bool {
        let Some(since) = self.since else { return false };
        let age = micros(now.saturating_duration_since(since));
        let end = places.end.min(self.entries.end());
        into.extend((places.start..end).filter_map(|place| self.entries.get(place)).map(|entry| LiveConnection {
            id: entry.id,
            side: entry.side,
            peer: entry.ends.peer(),
            local: entry.ends.local(),
            phase: entry.phase,
            age: Duration::from_micros(age.saturating_sub(entry.opened_micros)),
            exchanges: entry.exchanges,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
        }));
        end < self.entries.end()
    }
}

fn is_parked(phase: Phase) -> u64 {
    u64::from(phase == Phase::Parked)
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::close::CloseReason;
    use sheave_lifecycle::time::Time;

    use super::*;

    /// Every live connection has one.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Option<Entry>>() <= 64, "{}", size_of::<Option<Entry>>());
    }

    fn opened(side: Side, id: u64) -> Opened {
        Opened { side, id: ConnectionId(id), peer: None, local: None, at: Time::ZERO }
    }

    fn moved(side: Side, id: u64, phase: Phase, bytes: u64) -> Moved {
        Moved { side, id: ConnectionId(id), phase, exchanges: 1, bytes_in: bytes, bytes_out: 2 * bytes }
    }

    fn closed(side: Side, id: u64, bytes: u64) -> Closed {
        Closed {
            side,
            id: ConnectionId(id),
            peer: None,
            reason: CloseReason::Agreed,
            phase: Phase::Idle,
            age: Duration::ZERO,
            exchanges: 1,
            bytes_in: bytes,
            bytes_out: 2 * bytes,
            last: sheave_lifecycle::ring::Ring::new(),
        }
    }

    fn ids(list: &LiveList) -> Vec<u64> {
        let mut connections = Vec::new();
        assert!(!list.read(0..usize::MAX, Instant::now(), &mut connections));
        connections.iter().map(|connection| connection.id.0).collect()
    }

    #[test]
    fn sides_have_numbers_of_their_own_and_places_are_used_again() {
        let mut list = LiveList::default();
        let now = Instant::now();
        list.insert(&opened(Side::Downstream, 1), now);
        list.insert(&opened(Side::Upstream, 1), now);
        list.insert(&opened(Side::Downstream, 2), now);
        assert_eq!((list.len(Side::Downstream), list.len(Side::Upstream)), (2, 1));
        assert!(list.remove(&closed(Side::Upstream, 1, 0)).is_some());
        assert!(list.remove(&closed(Side::Upstream, 1, 0)).is_none());
        list.insert(&opened(Side::Upstream, 7), now);
        assert_eq!(ids(&list), [1, 7, 2]);
    }

    #[test]
    fn who_is_better_known_is_listed_so() {
        let mut list = LiveList::default();
        list.insert(&opened(Side::Downstream, 1), Instant::now());
        let peer = Some(([192, 0, 2, 1], 40_000).into());
        for id in [1, 2] {
            list.identify(&Identified { side: Side::Downstream, id: ConnectionId(id), peer, local: None });
        }
        let mut connections = Vec::new();
        list.read(0..usize::MAX, Instant::now(), &mut connections);
        assert_eq!(connections.iter().map(|it| it.peer).collect::<Vec<_>>(), [peer]);
    }

    #[test]
    fn traffic_is_what_came_since_the_last_look() {
        let mut list = LiveList::default();
        list.insert(&opened(Side::Downstream, 1), Instant::now());
        let first = list.update(&moved(Side::Downstream, 1, Phase::Response, 10));
        assert_eq!(first, Some(Traffic { received: 10, sent: 20 }));
        let backwards = list.update(&moved(Side::Downstream, 1, Phase::Idle, 4));
        assert_eq!(backwards, Some(Traffic { received: 0, sent: 0 }));
        assert_eq!(list.remove(&closed(Side::Downstream, 1, 14)), Some(Traffic { received: 10, sent: 20 }));
        assert_eq!(list.update(&moved(Side::Downstream, 1, Phase::Idle, 20)), None);
    }

    #[test]
    fn parked_counts_each_connection_once_however_it_is_said() {
        let mut list = LiveList::default();
        for id in 1..=3 {
            list.insert(&opened(Side::Upstream, id), Instant::now());
            list.update(&moved(Side::Upstream, id, Phase::Parked, 0));
        }
        list.update(&moved(Side::Upstream, 1, Phase::Parked, 0));
        assert_eq!(list.parked(), 3);
        list.reuse(ConnectionId(1));
        list.reuse(ConnectionId(9));
        list.update(&moved(Side::Upstream, 9, Phase::Parked, 0));
        list.remove(&closed(Side::Upstream, 2, 0));
        assert_eq!(list.parked(), 1);
        list.insert(&opened(Side::Upstream, 3), Instant::now());
        assert_eq!(list.parked(), 0, "a connection of the same number took its place");
    }

    #[test]
    fn the_list_is_read_in_goes() {
        let mut list = LiveList::default();
        for id in 0..10 {
            list.insert(&opened(Side::Downstream, id), Instant::now());
        }
        let mut connections = Vec::new();
        let now = Instant::now();
        assert!(list.read(0..4, now, &mut connections));
        assert!(list.read(4..8, now, &mut connections));
        assert!(!list.read(8..64, now, &mut connections));
        assert!(!list.read(64..128, now, &mut connections));
        assert_eq!(connections.len(), 10);
    }

    #[test]
    fn what_a_crowd_took_is_given_back() {
        let mut list = LiveList::default();
        for id in 0..10_000 {
            list.insert(&opened(Side::Downstream, id), Instant::now());
        }
        for id in 0..10_000 {
            assert!(list.remove(&closed(Side::Downstream, id, 0)).is_some());
        }
        assert!(list.entries.end() <= 64, "{}", list.entries.end());
    }
}
