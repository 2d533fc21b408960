//! A network in memory under virtual time: connections, what travels on them, and the faults that strike them.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use sheave_lifecycle::errno::Errno;
use tokio::time::Instant;

use crate::fault::{Action, Fault, Trigger, Way, WireName};
use crate::plan::Plan;
use crate::random::Rng;
use crate::tcp::{Buffers, End, Farewell};
use crate::trace::{Entry, Trace, What, Whose, WireIndex, WireLog};
use crate::wire::Wire;

/// Operations on sockets that a run may take: more is a loop that makes no progress.
const MAX_OPERATIONS: u64 = 200_000;

/// A network. Clones are the same network.
///
/// Everything happens in the task that causes it, but readiness: what a connection's kernel has to say reaches tasks
/// only through [`crate::reactor`], between their polls, as a runtime's reactor would say it.
#[derive(Clone)]
pub struct SimNet(pub(crate) Arc<Mutex<State>>);

/// Connections that wait for `accept`.
#[derive(Default)]
pub(crate) struct Backlog {
    pub(crate) waiting: VecDeque<WireIndex>,
    pub(crate) refuses: bool,
    pub(crate) is_ready: bool,
    pub(crate) acceptor: Option<Waker>,
    is_queued: bool,
}

/// Something that will happen at its time.
#[derive(Clone, Copy)]
pub(crate) enum Due {
    Resume(WireIndex, Way),
    Act(WireIndex, Way, Action),
}

/// Whom the reactor has to tell that something may have changed.
pub(crate) enum Ready {
    End(WireIndex, End),
    Listener(SocketAddr),
}

pub(crate) struct State {
    pub(crate) began: Instant,
    buffers: Buffers,
    spurious: u64,
    lag: u64,
    rng: Rng,
    pub(crate) faults: Vec<Fault>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) listeners: BTreeMap<SocketAddr, Backlog>,
    pub(crate) timers: BTreeMap<(Duration, u64), Due>,
    pub(crate) timers_made: u64,
    /// How many of them the reactor knows.
    pub(crate) timers_seen: u64,
    ready: Vec<Ready>,
    /// Wakes the reactor.
    pub(crate) driver: Option<Waker>,
    drain: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(crate) must_drain: bool,
    pub(crate) is_cancelled: bool,
    operations: u64,
    operations_of_all: u64,
    pub(crate) trace: Trace,
    pub(crate) broken: Vec<String>,
}

impl SimNet {
    /// A network without connections, on which `plan`'s faults strike. Within a runtime with a paused clock.
    pub fn new(plan: &Plan) -> Self {
        Self(Arc::new(Mutex::new(State {
            began: Instant::now(),
            buffers: plan.buffers,
            spurious: plan.spurious,
            lag: plan.lag,
            rng: Rng::new(plan.seed),
            faults: plan.faults.clone(),
            wires: Vec::new(),
            listeners: BTreeMap::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
            timers_seen: 0,
            ready: Vec::new(),
            driver: None,
            drain: None,
            must_drain: false,
            is_cancelled: false,
            operations: 0,
            operations_of_all: 0,
            trace: Trace::default(),
            broken: Vec::new(),
        })))
    }

    /// Looks at the state, and then does what must not be done under its lock.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = look(&mut state);
        state.strike_operations();
        let has_news =
            !state.ready.is_empty() || state.timers_made != state.timers_seen || state.is_cancelled || state.must_drain;
        let waker = if has_news { state.driver.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        value
    }

    /// What a planned drain calls.
    pub fn on_drain(&self, drain: impl Fn() + Send + Sync + 'static) {
        self.with(|state| state.drain = Some(Arc::new(drain)));
    }

    /// Writes a line into the trace.
    pub fn note(&self, text: impl Into<String>) {
        self.with(|state| state.tell(What::Note(text.into())));
    }

    /// Notes that something is as it must never be; the run has failed.
    pub fn broken(&self, text: impl Into<String>) {
        self.with(|state| {
            let text = text.into();
            state.tell(What::Note(format!("BROKEN: {text}")));
            state.broken.push(text);
        });
    }

    /// How many sockets of what is tested are open.
    pub fn open_sockets(&self) -> usize {
        self.with(|state| state.wires.iter().filter(|wire| wire.tcp.is_held(wire.ours)).count())
    }
}

impl State {
    pub(crate) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.began)
    }

    pub(crate) fn tell(&mut self, what: What) {
        let at = self.now();
        self.trace.entries.push(Entry { at, what });
    }

    // Connections.

    /// The handshake of a connection from `opener` to `acceptor` is over.
    pub(crate) fn establish(&mut self, opener: SocketAddr, acceptor: SocketAddr, ours: End) -> WireIndex {
        let is_upstream = ours == End::Opener;
        let before = self.wires.iter().filter(|wire| wire.name.is_upstream == is_upstream).count();
        let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let name = WireName { is_upstream, number };
        let index = self.wires.len();
        self.wires.push(Wire::new(name, [opener, acceptor], self.buffers));
        self.trace.wires.push(WireLog::new(name));
        self.tell(What::Established(index));
        // A runtime learns that a socket can be written to when its reactor has looked.
        self.queue(index, End::Opener);
        self.queue(index, End::Acceptor);
        self.flow(index);
        index
    }

    // Readiness.

    /// The reactor is to look at an end.
    pub(crate) fn queue(&mut self, wire: WireIndex, end: End) {
        let io = self.wires[wire].io(end);
        if !mem::replace(&mut io.is_queued, true) {
            self.ready.push(Ready::End(wire, end));
        }
    }

    pub(crate) fn queue_listener(&mut self, address: SocketAddr) {
        if let Some(backlog) = self.listeners.get_mut(&address)
            && !mem::replace(&mut backlog.is_queued, true)
        {
            self.ready.push(Ready::Listener(address));
        }
    }

    /// Says what changed since it was asked last, and takes those who wait for it.
    pub(crate) fn take_ready(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for ready in mem::take(&mut self.ready) {
            if self.lag != 0 && self.rng.below(self.lag) == 0 {
                self.ready.push(ready);
                continue;
            }
            match ready {
                Ready::End(index, end) => {
                    let wire = &mut self.wires[index];
                    // A script whose socket a fault has closed is told so by its next call.
                    let is_closed = !wire.tcp.is_held(end);
                    let is_readable = is_closed || wire.tcp.is_readable(end);
                    let is_writable = is_closed || wire.tcp.is_writable(end);
                    let io = wire.io(end);
                    io.is_queued = false;
                    if is_readable {
                        io.is_readable = true;
                        wakers.extend(io.reader.take());
                    }
                    if is_writable {
                        io.is_writable = true;
                        wakers.extend(io.writer.take());
                    }
                }
                Ready::Listener(address) => {
                    if let Some(backlog) = self.listeners.get_mut(&address) {
                        backlog.is_queued = false;
                        backlog.is_ready = true;
                        wakers.extend(backlog.acceptor.take());
                    }
                }
            }
        }
        wakers
    }

    // Operations of applications.

    /// Counts an operation; says whether it has to be tried again although nothing stands in its way.
    pub(crate) fn begin(&mut self, whose: Whose) -> bool {
        self.operations_of_all += 1;
        if self.operations_of_all == MAX_OPERATIONS {
            self.broken.push("a loop without progress: too many operations on sockets".to_owned());
            self.is_cancelled = true;
        }
        if whose == Whose::Peers {
            return false;
        }
        self.operations += 1;
        self.spurious != 0 && self.rng.below(self.spurious) == 0
    }

    /// Lets the faults happen that wait for an operation which is over now.
    fn strike_operations(&mut self) {
        while let Some(place) = self
            .faults
            .iter()
            .position(|fault| matches!(fault.trigger, Trigger::Operation(it) if it <= self.operations))
        {
            let fault = self.faults.remove(place);
            self.tell(What::Fault(fault));
            match fault.action {
                Action::Drain => self.must_drain = true,
                Action::Cancel => self.is_cancelled = true,
                // A point between polls says nothing about a connection.
                _ => {}
            }
        }
    }

    /// Operations on sockets of what is tested, so far.
    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// What the reactor has to call, if a drain is due. Between polls, as a signal reaches a worker.
    pub(crate) fn start_drain(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        if !mem::take(&mut self.must_drain) {
            return None;
        }
        self.tell(What::DrainStarted);
        self.drain.clone()
    }

    pub(crate) fn read(&mut self, wire: WireIndex, end: End, into: &mut [u8]) -> Result<usize, Errno> {
        let read = self.wires[wire].tcp.read(end, into);
        if read.is_ok_and(|len| len > 0) {
            self.flow(wire);
        }
        read
    }

    pub(crate) fn write(&mut self, wire: WireIndex, end: End, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let whose = self.wires[wire].whose(end);
        let written = self.wires[wire].tcp.write(end, parts);
        if let Ok(len) = written {
            let log = self.trace.wires[wire].bytes_mut(whose.writes());
            let end = log.len() + len;
            parts.iter().for_each(|part| log.extend_from_slice(&part[..part.len().min(end - log.len())]));
            self.tell(What::Wrote(wire, whose, len));
            self.flow(wire);
        }
        written
    }

    pub(crate) fn shutdown(&mut self, wire: WireIndex, end: End) -> Result<(), Errno> {
        self.wires[wire].tcp.shutdown(end)?;
        let whose = self.wires[wire].whose(end);
        self.tell(What::ShutDown(wire, whose));
        self.flow(wire);
        Ok(())
    }

    pub(crate) fn close(&mut self, wire: WireIndex, end: End) {
        if self.wires[wire].tcp.is_held(end) {
            let farewell = self.wires[wire].tcp.close(end);
            self.closed(wire, end, farewell);
        }
    }

    pub(crate) fn closed(&mut self, wire: WireIndex, end: End, farewell: Farewell) {
        let whose = self.wires[wire].whose(end);
        self.tell(What::Closed(wire, whose, farewell));
        // Whoever still waits there is told that the descriptor is gone.
        self.queue(wire, end);
        self.flow(wire);
    }
}
