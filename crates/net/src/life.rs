//! Who a connection is, what it has carried so far and how it ended: told to the observer at its birth, and once at its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::kept_ends::KeptEnds;
use sheave_lifecycle::machine::Machine;
use sheave_lifecycle::observe::{Closed, ConnectionId, Identified, Moved, Observer, Opened};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::ring::{Happening, Ring};
use sheave_lifecycle::time::Time;

use crate::leg::{Ends, LegContext};

/// What is known of a connection whatever protocol it speaks, and however its socket is driven.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) context: Arc<LegContext>,
    pub(crate) side: Side,
    pub(crate) id: ConnectionId,
    pub(crate) ends: KeptEnds,
    pub(crate) opened: Time,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The peer's FIN was read.
    pub(crate) peer_has_ended: bool,
    /// The peer's bytes are waited for.
    pub(crate) is_waiting: bool,
    /// Nothing for as long as all goes well.
    trouble: Option<Box<Trouble>>,
    last: Ring,
}

/// What keeps it from going on, and how it ends.
#[derive(Clone, Copy, Default)]
struct Trouble {
    /// Since when bytes are owed that the kernel does not take.
    stalled_since: Option<Time>,
    noted: Option<(CloseReason, Phase)>,
    /// How the last words went, where they were said before the close.
    farewell: Option<Result<(), CloseReason>>,
}

impl Life {
    /// Begins, and tells the observer.
    pub(crate) fn begin(ends: Ends, context: Arc<LegContext>, now: Time) -> Self {
        static NEXT: [AtomicU64; 2] = [AtomicU64::new(1), AtomicU64::new(1)];
        let Ends { side, peer, local } = ends;
        let id = ConnectionId(NEXT[side as usize].fetch_add(1, Ordering::Relaxed));
        context.observer.opened(&Opened { side, id, peer, local, at: now });
        Self {
            context,
            side,
            id,
            ends: KeptEnds::new(peer, local),
            opened: now,
            bytes_in: 0,
            bytes_out: 0,
            peer_has_ended: false,
            is_waiting: false,
            trouble: None,
            last: Ring::new(),
        }
    }

    /// The same life, in the care of another leg, which has not waited for anything.
    pub(crate) fn go_on(&self) -> Self {
        Self { is_waiting: false, ..self.clone() }
    }

    /// Its ends are others than was said at its birth.
    pub(crate) fn identify(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        self.ends = KeptEnds::new(peer, local);
        self.context.observer.identified(&Identified { side: self.side, id: self.id, peer, local });
    }

    fn note(&mut self, happening: Happening, now: Time) {
        self.last.note(happening, now.since(self.opened));
    }

    /// So many bytes were read; none is the peer's FIN.
    pub(crate) fn note_read(&mut self, len: usize, now: Time) {
        self.peer_has_ended = len == 0;
        self.note(if len == 0 { Happening::End } else { Happening::Read(saturated(len)) }, now);
        self.bytes_in += len as u64;
    }

    /// So many bytes were written, perhaps none.
    pub(crate) fn note_written(&mut self, len: usize, now: Time) {
        if len > 0 {
            self.bytes_out += len as u64;
            self.note_flushed();
            self.note(Happening::Written(saturated(len)), now);
        }
    }

    /// Bytes are owed that the kernel does not take.
    pub(crate) fn note_blocked(&mut self, now: Time) {
        self.trouble.get_or_insert_default().stalled_since.get_or_insert(now);
        self.note(Happening::Blocked, now);
    }

    /// Nothing that was owed is any more.
    pub(crate) fn note_flushed(&mut self) {
        if self.trouble.is_some() {
            self.end_stall();
        }
    }

    #[cold]
    fn end_stall(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.stalled_since = None;
            if trouble.noted.is_none() && trouble.farewell.is_none() {
                self.trouble = None;
            }
        }
    }

    /// A write failed: nothing more can be written.
    pub(crate) fn note_failed(&mut self, now: Time) {
        self.note_flushed();
        self.note(Happening::Failed, now);
    }

    /// Our side was shut.
    pub(crate) fn note_shut(&mut self, now: Time) {
        self.note(Happening::Shut, now);
    }

    /// Whether bytes are owed that the kernel does not take.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled_since().is_some()
    }

    fn stalled_since(&self) -> Option<Time> {
        self.trouble.as_ref()?.stalled_since
    }

    /// When a write has stood still for too long, if one does.
    pub(crate) fn stalled_until(&self) -> Option<Deadline> {
        let since = self.stalled_since()?;
        Some(Deadline { at: since.after(self.context.write_timeout), timer: Timer::Write })
    }

    /// Notes why it ends, and where it stood then. The first reason stays.
    pub(crate) fn note_end(&mut self, reason: CloseReason, phase: Phase) {
        self.trouble.get_or_insert_default().noted.get_or_insert((reason, phase));
    }

    /// Whether a reason was noted.
    pub(crate) fn has_ended(&self) -> bool {
        self.noted_end().is_some()
    }

    fn noted_end(&self) -> Option<(CloseReason, Phase)> {
        self.trouble.as_ref()?.noted
    }

    /// Notes how the last words went, or that none will be said.
    pub(crate) fn note_farewell(&mut self, said: Result<(), CloseReason>) {
        self.trouble.get_or_insert_default().farewell = Some(said);
    }

    /// How the last words went, where they were said.
    pub(crate) fn farewell(&self) -> Option<Result<(), CloseReason>> {
        self.trouble.as_ref()?.farewell
    }

    /// Why it ends: as was noted, else as `machine` intends; where neither says so, whoever held it let go of it.
    pub(crate) fn ended_as(&self, machine: &impl Machine, phase: Phase) -> (CloseReason, Phase) {
        self.noted_end().unwrap_or_else(|| (machine.intent().reason().unwrap_or(CloseReason::Cancelled), phase))
    }

    /// Where it stands, for the observer.
    pub(crate) fn moved(&self, phase: Phase, exchanges: u64) -> Moved {
        let Self { side, id, bytes_in, bytes_out, .. } = *self;
        Moved { side, id, phase, exchanges, bytes_in, bytes_out }
    }

    /// Tells the observer that it is over.
    pub(crate) fn tell_closed(&self, (reason, phase): (CloseReason, Phase), exchanges: u64) {
        let now = self.context.clock.now();
        self.context.observer.closed(&Closed {
            side: self.side,
            id: self.id,
            peer: self.ends.peer(),
            reason,
            phase,
            age: now.since(self.opened),
            exchanges,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            last: self.last,
        });
    }
}

fn saturated(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every connection has one, whatever it does.
    #[test]
    fn is_small() {
        assert!(size_of::<Life>() <= 120, "{}", size_of::<Life>());
    }
}
