//! What happened in a run, in order: every chunk of bytes and everything that the observer was told, with virtual time.

use std::fmt;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_lifecycle::observe::{ConnectionId, Outcome};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::retry::Evidence;

use crate::fault::{Fault, Way, WireName};
use crate::tcp::Farewell;

/// A connection's place in [`Trace::wires`].
pub type WireIndex = usize;

/// Whose end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// That of what is tested.
    Ours,
    /// That of a scripted client or origin.
    Peers,
}

impl Whose {
    /// The direction in which this end's bytes go.
    pub const fn writes(self) -> Way {
        match self {
            Self::Ours => Way::Out,
            Self::Peers => Way::In,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Ours => "we",
            Self::Peers => "peer",
        }
    }
}

/// An exchange that ended, as the observer was told; what the laws look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeEnded {
    /// Which exchange of its connection, from 1.
    pub number: u64,
    /// The method; empty when the head could not be read.
    pub method: String,
    /// The status that was sent; zero when none was.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong, if anything did.
    pub error: Option<&'static str>,
    /// Attempts that were made upstream.
    pub attempts: u32,
}

/// What the observer was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A connection came to be.
    Opened(Side, ConnectionId),
    /// A connection moved.
    Moved(Side, ConnectionId, Phase),
    /// A connection ended: the reason, the phase, the exchanges begun, bytes received and sent.
    Closed(Side, ConnectionId, CloseReason, Phase, u64, [u64; 2]),
    /// A connection was not admitted.
    Refused(&'static str),
    /// `accept` failed.
    AcceptFailed(IoFault),
    /// An exchange of this client connection is over.
    ExchangeEnded(ConnectionId, Box<ExchangeEnded>),
    /// An origin could not be reached.
    ConnectFailed(CloseReason),
    /// A connection was put into the pool.
    Parked(ConnectionId),
    /// A connection was taken from the pool.
    Reused(ConnectionId),
    /// A parked connection was found dead.
    FoundDead(ConnectionId, CloseReason),
    /// A request is sent again.
    Retried(Evidence),
    /// A drain moved on.
    DrainMoved(DrainPhase),
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// The handshake is over.
    Established(WireIndex),
    /// Nobody listens there.
    ConnectRefused,
    /// A process has it in hand.
    Accepted(WireIndex),
    /// So many bytes are offered to the kernel by us.
    Offered(WireIndex, usize),
    /// The kernel took so many bytes.
    Wrote(WireIndex, Whose, usize),
    /// So many bytes reached the other end.
    Delivered(WireIndex, Way, usize),
    /// So many bytes were read; zero is the end.
    Read(WireIndex, Whose, usize),
    /// An operation failed.
    Failed(WireIndex, Whose, Op, Errno),
    /// Writing was shut.
    ShutDown(WireIndex, Whose),
    /// The descriptor was closed.
    Closed(WireIndex, Whose, Farewell),
    /// A FIN reached the other end.
    FinDelivered(WireIndex, Way),
    /// An RST reached the other end.
    RstDelivered(WireIndex, Way),
    /// We asked whether the connection lives.
    Probed(WireIndex, String),
    /// Something went wrong, as planned.
    Fault(Fault),
    /// What is tested was told to drain.
    DrainStarted,
    /// The observer was told.
    Seen(Seen),
    /// A script has something to say.
    Note(String),
}

/// An entry of the trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Virtual time since the run began.
    pub at: Duration,
    /// What happened.
    pub what: What,
}

/// A connection's name, and the bytes that were given to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireLog {
    /// Its name.
    pub name: WireName,
    /// The number under which the observer knows it, once it does.
    pub id: Option<ConnectionId>,
    bytes: [Vec<u8>; 2],
}

impl WireLog {
    pub(crate) fn new(name: WireName) -> Self {
        Self { name, id: None, bytes: [Vec::new(), Vec::new()] }
    }

    /// All bytes that were given to the kernel for that direction. What was delivered, and what was read, are their
    /// beginnings.
    pub fn bytes(&self, way: Way) -> &[u8] {
        &self.bytes[way as usize]
    }

    pub(crate) fn bytes_mut(&mut self, way: Way) -> &mut Vec<u8> {
        &mut self.bytes[way as usize]
    }
}

/// How far each direction of a connection had come at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Given to the kernel, by direction.
    pub written: [usize; 2],
    /// Arrived at the other end's kernel, by direction.
    pub delivered: [usize; 2],
    /// Read by the other end's application, by direction.
    pub read: [usize; 2],
    /// FIN arrived, by direction.
    pub fin: [bool; 2],
    /// RST arrived, by direction.
    pub rst: [bool; 2],
}

impl Counts {
    /// Takes what happened to connection `wire` into account.
    pub fn count(&mut self, wire: WireIndex, what: &What) {
        match what {
            What::Wrote(at, whose, len) if *at == wire => self.written[whose.writes() as usize] += len,
            What::Delivered(at, way, len) if *at == wire => self.delivered[*way as usize] += len,
            What::Read(at, whose, len) if *at == wire => self.read[whose.writes().back() as usize] += len,
            What::FinDelivered(at, way) if *at == wire => self.fin[*way as usize] = true,
            What::RstDelivered(at, way) if *at == wire => self.rst[*way as usize] = true,
            _ => {}
        }
    }
}

/// What happened in a run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Trace {
    /// In order.
    pub entries: Vec<Entry>,
    /// In the order in which they were established.
    pub wires: Vec<WireLog>,
}

impl Trace {
    /// The connection of that name.
    pub fn wire(&self, name: WireName) -> Option<WireIndex> {
        self.wires.iter().position(|wire| wire.name == name)
    }

    /// The connection that the observer knows by that number.
    pub fn wire_of(&self, side: Side, id: ConnectionId) -> Option<WireIndex> {
        self.wires.iter().position(|wire| wire.name.side() == side && wire.id == Some(id))
    }

    /// How far a connection had come after the first `entries` entries.
    pub fn counts_after(&self, wire: WireIndex, entries: usize) -> Counts {
        let mut counts = Counts::default();
        self.entries.iter().take(entries).for_each(|entry| counts.count(wire, &entry.what));
        counts
    }

    /// How far a connection had come in the end.
    pub fn counts(&self, wire: WireIndex) -> Counts {
        self.counts_after(wire, usize::MAX)
    }
}

/// As lines of text. The values of `Date` are left out: they are the wall clock's, all else is the same in each run.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = vec![Counts::default(); self.wires.len()];
        let masked: Vec<_> =
            self.wires.iter().map(|wire| Way::BOTH.map(|way| without_dates(wire.bytes(way)))).collect();
        for Entry { at, what } in &self.entries {
            write!(f, "{:>6} ms  ", at.as_millis())?;
            let name = |wire: &WireIndex| self.wires[*wire].name;
            let id = |side: Side, id: ConnectionId| match self.wire_of(side, id) {
                Some(wire) => self.wires[wire].name.to_string(),
                None => format!("{}-unknown", side.label()),
            };
            match what {
                What::Established(wire) => writeln!(f, "{} established", name(wire))?,
                What::ConnectRefused => writeln!(f, "connect refused")?,
                What::Accepted(wire) => writeln!(f, "{} accepted", name(wire))?,
                What::Offered(wire, len) => writeln!(f, "{} we offer {len}", name(wire))?,
                What::Wrote(wire, whose, len) => {
                    let from = counts[*wire].written[whose.writes() as usize];
                    let way = whose.writes();
                    let bytes = masked[*wire][way as usize].get(from..from + len).unwrap_or_default();
                    let text = bytes.escape_ascii();
                    writeln!(f, "{} {way} {from}..{} written \"{text}\"", name(wire), from + len)?;
                }
                What::Delivered(wire, way, len) => {
                    let from = counts[*wire].delivered[*way as usize];
                    writeln!(f, "{} {way} {from}..{} delivered", name(wire), from + len)?;
                }
                What::Read(wire, whose, 0) => writeln!(f, "{} {} read the end", name(wire), whose.label())?,
                What::Read(wire, whose, len) => {
                    let way = whose.writes().back();
                    let from = counts[*wire].read[way as usize];
                    writeln!(f, "{} {way} {from}..{} read", name(wire), from + len)?;
                }
                What::Failed(wire, whose, op, errno) => {
                    writeln!(f, "{} {} got {errno} in {}", name(wire), whose.label(), op.label())?;
                }
                What::ShutDown(wire, whose) => writeln!(f, "{} {} shut writing", name(wire), whose.label())?,
                What::Closed(wire, whose, farewell) => {
                    writeln!(f, "{} {} closed, sending {farewell:?}", name(wire), whose.label())?;
                }
                What::FinDelivered(wire, way) => writeln!(f, "{} {way} FIN delivered", name(wire))?,
                What::RstDelivered(wire, way) => writeln!(f, "{} {way} RST delivered", name(wire))?,
                What::Probed(wire, found) => writeln!(f, "{} we probe: {found}", name(wire))?,
                What::Fault(fault) => writeln!(f, "FAULT {fault}")?,
                What::DrainStarted => writeln!(f, "DRAIN")?,
                What::Note(text) => writeln!(f, "note: {text}")?,
                What::Seen(seen) => match seen {
                    Seen::Opened(side, it) => writeln!(f, "  observer: {} opened", id(*side, *it))?,
                    Seen::Moved(side, it, phase) => {
                        writeln!(f, "  observer: {} moved to {}", id(*side, *it), phase.label())?;
                    }
                    Seen::Closed(side, it, reason, phase, exchanges, [bytes_in, bytes_out]) => writeln!(
                        f,
                        "  observer: {} closed: {reason} in {}, {exchanges} exchanges, {bytes_in} in, {bytes_out} out",
                        id(*side, *it),
                        phase.label()
                    )?,
                    Seen::Refused(limit) => writeln!(f, "  observer: refused by {limit}")?,
                    Seen::AcceptFailed(fault) => writeln!(f, "  observer: accept failed: {fault}")?,
                    Seen::ExchangeEnded(it, end) => writeln!(
                        f,
                        "  observer: {} exchange {} {} ended: {} {:?}{} after {} attempts",
                        id(Side::Downstream, *it),
                        end.number,
                        end.method,
                        end.status,
                        end.outcome,
                        end.error.map_or(String::new(), |label| format!(" ({label})")),
                        end.attempts
                    )?,
                    Seen::ConnectFailed(reason) => writeln!(f, "  observer: connect failed: {reason}")?,
                    Seen::Parked(it) => writeln!(f, "  observer: {} parked", id(Side::Upstream, *it))?,
                    Seen::Reused(it) => writeln!(f, "  observer: {} reused", id(Side::Upstream, *it))?,
                    Seen::FoundDead(it, reason) => {
                        writeln!(f, "  observer: {} found dead: {reason}", id(Side::Upstream, *it))?;
                    }
                    Seen::Retried(evidence) => writeln!(f, "  observer: retried: {}", evidence.label())?,
                    Seen::DrainMoved(phase) => writeln!(f, "  observer: drain {}", phase.label())?,
                },
            }
            counts.iter_mut().enumerate().for_each(|(wire, counts)| counts.count(wire, what));
        }
        Ok(())
    }
}

/// The same bytes, with stars for the value of every `Date`.
fn without_dates(bytes: &[u8]) -> Vec<u8> {
    const DATE: &[u8] = b"Date: ";
    const VALUE_LEN: usize = "Fri, 20 Nov 2026 07:00:00 GMT".len();
    let mut bytes = bytes.to_vec();
    let begins: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(DATE)).collect();
    for begin in begins {
        bytes.iter_mut().skip(begin + DATE.len()).take(VALUE_LEN).for_each(|byte| *byte = b'*');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_the_wall_clock_out() {
        let masked = without_dates(b"a\r\nDate: Fri, 20 Nov 2026 07:00:00 GMT\r\nb Date: Fri");
        assert_eq!(masked.escape_ascii().to_string(), format!("a\\r\\nDate: {}\\r\\nb Date: ***", "*".repeat(29)));
    }
}
