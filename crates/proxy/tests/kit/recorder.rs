//! A witness of what happened, which holds the laws of connections and exchanges against it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::observe::{Closed, ConnectionId, ExchangeEnd, Moved, Observer, Opened, Outcome, UpstreamPart};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::retry::{Evidence, Sent};
use tokio::sync::Notify;

/// An exchange that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    pub connection: ConnectionId,
    pub number: u64,
    pub method: String,
    pub target: String,
    pub status: u16,
    pub outcome: Outcome,
    pub error: Option<&'static str>,
    pub sent: Sent,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub upstream: Option<UpstreamPart>,
    pub attempts: u32,
    pub retried: Option<Evidence>,
}

/// All that was told.
#[derive(Default, Debug)]
pub struct Log {
    pub opened: Vec<Opened>,
    pub closed: Vec<Closed>,
    pub moved: Vec<Moved>,
    pub ended: Vec<Ended>,
    pub refused: Vec<&'static str>,
    pub held_back: Vec<&'static str>,
    pub connect_failed: Vec<CloseReason>,
    pub parked: Vec<ConnectionId>,
    pub reused: Vec<ConnectionId>,
    pub found_dead: Vec<CloseReason>,
    pub retried: Vec<Evidence>,
    pub drain: Vec<DrainPhase>,
}

impl Log {
    /// The ends of one side's connections.
    pub fn closed_on(&self, side: Side) -> impl Iterator<Item = &Closed> {
        self.closed.iter().filter(move |closed| closed.side == side)
    }

    /// The reasons of one side's ends, in their order.
    pub fn reasons(&self, side: Side) -> Vec<CloseReason> {
        self.closed_on(side).map(|closed| closed.reason).collect()
    }

    /// How many connections of one side there were.
    pub fn opened_on(&self, side: Side) -> usize {
        self.opened.iter().filter(|opened| opened.side == side).count()
    }
}

/// Writes down all that it is told.
#[derive(Default)]
pub struct Recorder {
    log: Mutex<Log>,
    changed: Notify,
}

impl Recorder {
    /// What was told so far.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn note(&self, note: impl FnOnce(&mut Log)) {
        note(&mut self.log());
        self.changed.notify_waiters();
    }

    /// Waits until `find` finds what it is looking for.
    pub async fn until<T>(&self, find: impl Fn(&Log) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = find(&self.log()) {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until as many connections of a side have ended, and gives back the last one's end.
    pub async fn until_closed(&self, side: Side, count: usize) -> Closed {
        self.until(|log| log.closed_on(side).nth(count - 1).copied()).await
    }

    /// Waits until a connection of the side has ended for that reason.
    pub async fn until_reason(&self, side: Side, label: &str) -> Closed {
        self.until(|log| log.closed_on(side).find(|closed| closed.reason.label() == label).copied()).await
    }

    /// Waits until as many exchanges are over, and gives back the last one.
    pub async fn until_ended(&self, count: usize) -> Ended {
        self.until(|log| log.ended.get(count - 1).cloned()).await
    }

    /// Holds the laws against all that happened, when all is over.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check_laws(&self) {
        let log = self.log();
        let mut ends: HashMap<(Side, ConnectionId), Vec<Closed>> = HashMap::new();
        for opened in &log.opened {
            assert!(ends.insert((opened.side, opened.id), Vec::new()).is_none(), "{:?} was opened twice", opened.id);
        }
        for closed in &log.closed {
            ends.get_mut(&(closed.side, closed.id)).expect("only what was opened is closed").push(*closed);
            assert!(!matches!(closed.reason, CloseReason::Bug(_)), "{closed:?}");
        }
        for ((side, id), closed) in &ends {
            assert_eq!(closed.len(), 1, "{side:?} {id:?} must end exactly once: {closed:?}");
            if *side == Side::Downstream {
                // Every exchange that began ends once, and they are counted from one.
                let mut numbers: Vec<u64> =
                    log.ended.iter().filter(|ended| ended.connection == *id).map(|ended| ended.number).collect();
                numbers.sort_unstable();
                let expected: Vec<u64> = (1..=closed[0].exchanges).collect();
                assert_eq!(numbers, expected, "exchanges of {id:?}, which ended with {:?}", closed[0].reason);
            }
        }
        for ended in &log.ended {
            assert!(ended.status != 0 || ended.outcome == Outcome::Reset, "an answer has a status: {ended:?}");
        }
    }
}

impl Observer for Recorder {
    fn opened(&self, opened: &Opened) {
        self.note(|log| log.opened.push(*opened));
    }

    fn moved(&self, moved: &Moved) {
        self.note(|log| log.moved.push(*moved));
    }

    fn closed(&self, closed: &Closed) {
        assert_ne!(closed.phase, Phase::Connecting, "a connection that came to be has left this phase");
        self.note(|log| log.closed.push(*closed));
    }

    fn refused(&self, limit: &'static str) {
        self.note(|log| log.refused.push(limit));
    }

    fn held_back(&self, limit: &'static str) {
        self.note(|log| log.held_back.push(limit));
    }

    fn exchange_ended(&self, end: &ExchangeEnd<'_>) {
        let ended = Ended {
            connection: end.connection,
            number: end.number,
            method: end.method.to_owned(),
            target: end.target.to_owned(),
            status: end.status,
            outcome: end.outcome,
            error: end.error,
            sent: end.sent,
            request_bytes: end.request_bytes,
            response_bytes: end.response_bytes,
            upstream: end.upstream,
            attempts: end.attempts,
            retried: end.retried,
        };
        self.note(|log| log.ended.push(ended));
    }

    fn connect_failed(&self, _: Option<SocketAddr>, reason: CloseReason) {
        self.note(|log| log.connect_failed.push(reason));
    }

    fn parked(&self, it: &Moved) {
        self.note(|log| log.parked.push(it.id));
    }

    fn reused(&self, id: ConnectionId, _: Duration) {
        self.note(|log| log.reused.push(id));
    }

    fn found_dead(&self, _: ConnectionId, reason: CloseReason) {
        self.note(|log| log.found_dead.push(reason));
    }

    fn retried(&self, evidence: Evidence) {
        self.note(|log| log.retried.push(evidence));
    }

    fn drain_moved(&self, phase: DrainPhase) {
        self.note(|log| log.drain.push(phase));
    }
}
