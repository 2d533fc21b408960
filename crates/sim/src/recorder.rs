//! The observer of a run: writes what it is told into the trace, beside the bytes.

use std::net::SocketAddr;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::observe::{Closed, ConnectionId, ExchangeEnd, Moved, Observer, Opened};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::Evidence;

use crate::net::SimNet;
use crate::tcp::End;
use crate::trace::{ExchangeEnded, Seen, What};

/// Writes what it is told into the trace of its network.
pub struct Recorder(SimNet);

impl Recorder {
    /// An observer that writes into the trace of `net`.
    pub fn new(net: SimNet) -> Self {
        Self(net)
    }

    fn tell(&self, seen: Seen) {
        self.0.with(|state| state.tell(What::Seen(seen)));
    }
}

impl Observer for Recorder {
    fn opened(&self, it: &Opened) {
        // Every connection is opened from a port of its own, which tells it from all others.
        let opener = match it.side {
            Side::Downstream => it.peer,
            Side::Upstream => it.local,
        };
        self.0.with(|state| {
            let found = state.wires.iter().position(|wire| Some(wire.addresses[End::Opener as usize]) == opener);
            if let Some(wire) = found {
                state.trace.wires[wire].id = Some(it.id);
            }
            state.tell(What::Seen(Seen::Opened(it.side, it.id)));
        });
    }

    fn moved(&self, it: &Moved) {
        self.tell(Seen::Moved(it.side, it.id, it.phase));
    }

    fn closed(&self, it: &Closed) {
        let bytes = [it.bytes_in, it.bytes_out];
        self.tell(Seen::Closed(it.side, it.id, it.reason, it.phase, it.exchanges, bytes));
    }

    fn refused(&self, limit: &'static str) {
        self.tell(Seen::Refused(limit));
    }

    fn accept_failed(&self, fault: IoFault) {
        self.tell(Seen::AcceptFailed(fault));
    }

    fn exchange_ended(&self, end: &ExchangeEnd<'_>) {
        let ended = ExchangeEnded {
            number: end.number,
            method: end.method.to_owned(),
            status: end.status,
            outcome: end.outcome,
            error: end.error,
            attempts: end.attempts,
        };
        self.tell(Seen::ExchangeEnded(end.connection, Box::new(ended)));
    }

    fn connect_failed(&self, _: Option<SocketAddr>, reason: CloseReason) {
        self.tell(Seen::ConnectFailed(reason));
    }

    fn parked(&self, it: &Moved) {
        self.tell(Seen::Parked(it.id));
    }

    fn reused(&self, id: ConnectionId, _: Duration) {
        self.tell(Seen::Reused(id));
    }

    fn found_dead(&self, id: ConnectionId, reason: CloseReason) {
        self.tell(Seen::FoundDead(id, reason));
    }

    fn retried(&self, evidence: Evidence) {
        self.tell(Seen::Retried(evidence));
    }

    fn drain_moved(&self, phase: DrainPhase) {
        self.tell(Seen::DrainMoved(phase));
    }
}
