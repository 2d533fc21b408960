//! Counts what becomes of the proxy's connections to its origin.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::observe::{Closed, ConnectionId, Observer, Opened};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::Evidence;

/// Counts of one proxy.
#[derive(Default, Debug)]
pub(crate) struct Witness {
    opened: AtomicU64,
    reused: AtomicU64,
    retired_by_check: AtomicU64,
    retired_by_age: AtomicU64,
    retried: Mutex<BTreeMap<&'static str, u64>>,
}

/// What was counted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Seen {
    /// Connections to the origin that were opened.
    pub(crate) opened: u64,
    /// Requests that took a parked connection.
    pub(crate) reused: u64,
    /// Parked connections that the kernel said were dead, or held bytes that nobody had asked for.
    pub(crate) retired_by_check: u64,
    /// Parked connections that were closed because of their age.
    pub(crate) retired_by_age: u64,
    /// Requests that were sent again, by evidence.
    pub(crate) retried: BTreeMap<&'static str, u64>,
}

impl Witness {
    /// What was counted so far.
    pub(crate) fn seen(&self) -> Seen {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Seen {
            opened: read(&self.opened),
            reused: read(&self.reused),
            retired_by_check: read(&self.retired_by_check),
            retired_by_age: read(&self.retired_by_age),
            retried: self.retried.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Observer for Witness {
    fn opened(&self, opened: &Opened) {
        if opened.side == Side::Upstream {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reused(&self, _: ConnectionId, _: Duration) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&self, closed: &Closed) {
        if closed.side != Side::Upstream || closed.phase.is_busy() {
            return;
        }
        let count = match closed.reason {
            CloseReason::PeerClosed | CloseReason::PeerReset(_) | CloseReason::UnaskedBytes => &self.retired_by_check,
            CloseReason::Retired | CloseReason::TimedOut(Timer::Idle) => &self.retired_by_age,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn retried(&self, evidence: Evidence) {
        let mut retried = self.retried.lock().unwrap_or_else(PoisonError::into_inner);
        *retried.entry(evidence.label()).or_default() += 1;
    }
}
