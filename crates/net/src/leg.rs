//! One socket driven for one machine: reads into it, writes for it, and waits for its deadlines.

mod closing;
mod lent;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_lifecycle::machine::Machine;
use sheave_lifecycle::observe::{ConnectionId, Moved, Observer};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::time::Time;
use smallvec::SmallVec;
use tokio::io::ReadBuf;

use crate::clock::Clock;
use crate::lent_buffer::LentBuffer;
use crate::life::Life;
use crate::scratch::{SCRATCH_BYTES, SMALL_BYTES, with_joined, with_scratch, with_whole_scratch};
use crate::socket::Socket;

/// What every leg of a server or client shares.
#[derive(Clone)]
pub struct LegContext {
    /// The process's clock.
    pub clock: Clock,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// How long a write may stand still while bytes are owed. Default: 30 s.
    pub write_timeout: Duration,
    /// How a lingering close ends.
    pub linger: LingerPlan,
}

/// How long, and how much, a closing connection reads and discards so that the peer can read our last answer.
/// RFC 9112 §9.6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LingerPlan {
    /// From our FIN to the close. Default: 5 s.
    pub timeout: Duration,
    /// Bytes that are discarded at most. Default: 1 MiB.
    pub max_bytes: u64,
}

impl Default for LingerPlan {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), max_bytes: 1024 * 1024 }
    }
}

/// Which side a connection is on, and whom it connects, as far as there are IP addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// Seen from us.
    pub side: Side,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
}

/// What a read brought.
#[derive(Debug)]
pub enum Received<T> {
    /// Bytes, and what became of them.
    Bytes(T),
    /// The peer's FIN: nothing more will come.
    End,
}

/// One side of an exchange: a socket, its machine, and the bytes between them.
///
/// Tells the observer of its birth, and of its end exactly once, however it ends; dropping it is one way.
pub struct Leg<M: Machine, S: Socket> {
    machine: M,
    /// `None` once it was turned into another leg, which then is the connection.
    socket: Option<S>,
    life: Life,
    /// Received and not yet understood: pipelined requests.
    inbox: LentBuffer,
    /// Owed to the peer.
    outbox: LentBuffer,
}

const HELD: &str = "a leg holds its socket until it is turned into another";

impl<M: Machine, S: Socket> Leg<M, S> {
    /// Takes a connected socket, whose ends are `peer` and `local`, into care.
    pub fn open(machine: M, socket: S, ends: Ends, context: Arc<LegContext>, now: Time) -> Self {
        Self {
            machine,
            socket: Some(socket),
            life: Life::begin(ends, context, now),
            inbox: LentBuffer::default(),
            outbox: LentBuffer::default(),
        }
    }

    /// The same connection, from here on with another machine: its protocol was found out, or has changed. What was
    /// received and not taken is shown to the new one first; it is for the old one to have brought its bytes out.
    pub fn turn<N: Machine>(mut self, machine: N) -> Leg<N, S> {
        Leg {
            machine,
            socket: self.socket.take(),
            life: self.life.go_on(),
            inbox: std::mem::take(&mut self.inbox),
            outbox: std::mem::take(&mut self.outbox),
        }
    }

    /// Puts bytes before those that were received and not taken: a machine took them, and they are another's.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.inbox.put_before(bytes);
    }

    /// Takes its ends anew from the socket, and tells the observer where a PROXY header has named others.
    pub fn identify(&mut self) {
        let socket = self.socket.as_ref().expect(HELD);
        // As a listener says them: IPv4 over an IPv6 socket is IPv4.
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (peer, local) = (socket.peer().map(canonical), socket.local().map(canonical));
        if (peer, local) != (self.life.ends.peer(), self.life.ends.local()) {
            self.life.identify(peer, local);
        }
    }

    /// The protocol's state.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The protocol's state, and the buffer for bytes that it wants written.
    pub fn machine_and_outbox(&mut self) -> (&mut M, &mut BytesMut) {
        (&mut self.machine, self.outbox.get())
    }

    /// The protocol's state.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The connection's number.
    pub fn id(&self) -> ConnectionId {
        self.life.id
    }

    /// The other end.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.life.ends.peer()
    }

    /// Our end.
    pub fn local(&self) -> Option<SocketAddr> {
        self.life.ends.local()
    }

    /// When the connection came to be.
    pub fn opened(&self) -> Time {
        self.life.opened
    }

    /// What it shares with its like.
    pub fn context(&self) -> &Arc<LegContext> {
        &self.life.context
    }

    /// The socket, for questions to the kernel.
    pub fn socket_mut(&mut self) -> &mut S {
        self.socket.as_mut().expect(HELD)
    }

    /// The socket, for what is known of it.
    pub fn socket(&self) -> &S {
        self.socket.as_ref().expect(HELD)
    }

    /// Whether bytes are here that the machine has not taken.
    pub fn has_unread(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether the peer's FIN was read.
    pub fn has_ended(&self) -> bool {
        self.life.peer_has_ended
    }

    /// How many bytes are here that the machine has not taken.
    pub fn unread_bytes(&self) -> u64 {
        self.inbox.len() as u64
    }

    /// Whether bytes are owed to the peer that the kernel does not take.
    pub fn is_stalled(&self) -> bool {
        self.life.is_stalled()
    }

    /// Whether bytes are owed to the peer: here, or in layers of the socket.
    pub fn has_unsent(&self) -> bool {
        !self.outbox.is_empty() || self.socket().has_unsent()
    }

    /// Bytes that were written to the socket.
    pub fn bytes_out(&self) -> u64 {
        self.life.bytes_out
    }

    /// Bytes that were read from the socket.
    pub fn bytes_in(&self) -> u64 {
        self.life.bytes_in
    }

    /// Reads once, unless bytes are left over from before, and shows `take` what is there.
    ///
    /// `take` moves the front of the slice past what it took. What it leaves is kept, and shown first next time.
    ///
    /// # Errors
    /// What the kernel said; the connection is of no more use for reading.
    pub fn poll_receive<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        take: impl FnOnce(&mut M, &mut &[u8]) -> T,
    ) -> Poll<Result<Received<T>, IoFault>> {
        if !self.inbox.is_empty() {
            let mut rest = &self.inbox[..];
            let taken = take(&mut self.machine, &mut rest);
            let left = rest.len();
            self.inbox.advance(self.inbox.len() - left);
            return Poll::Ready(Ok(Received::Bytes(taken)));
        }
        if self.life.peer_has_ended {
            return Poll::Ready(Ok(Received::End));
        }
        with_whole_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(self.socket_mut()).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    self.begin_waiting(now);
                    Poll::Pending
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(IoFault::new(Op::Read, &error))),
                Poll::Ready(Ok(())) => {
                    let len = buffer.filled().len();
                    self.note_received(len, now);
                    if len == 0 {
                        return Poll::Ready(Ok(Received::End));
                    }
                    let mut rest = &scratch[..len];
                    let taken = take(&mut self.machine, &mut rest);
                    let left = rest.len();
                    if left > 0 {
                        self.inbox.hold(scratch, len - left..len);
                    }
                    Poll::Ready(Ok(Received::Bytes(taken)))
                }
            }
        })
    }

    /// Reads ahead while the machine can take nothing: sees the peer's end, and keeps what it sends up to a bound.
    ///
    /// Ready when the peer has sent FIN; pending otherwise, also when the bound is reached.
    ///
    /// # Errors
    /// What the kernel said; the peer is gone.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), IoFault>> {
        while !self.life.peer_has_ended {
            if self.inbox.len() >= SCRATCH_BYTES {
                return Poll::Pending;
            }
            let read = with_scratch(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                Pin::new(self.socket_mut()).poll_read(cx, &mut buffer).map_ok(|()| {
                    self.inbox.extend_from_slice(buffer.filled());
                    buffer.filled().len()
                })
            });
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(IoFault::new(Op::Read, &error))),
                Poll::Ready(Ok(len)) => self.note_received(len, now),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin_waiting(&mut self, now: Time) {
        if !self.life.is_waiting {
            self.life.is_waiting = true;
            self.machine.progressed(now);
        }
    }

    fn note_received(&mut self, len: usize, now: Time) {
        self.life.note_read(len, now);
        self.machine.received(len, self.life.is_waiting, now);
    }

    /// The driver stops waiting for the peer's bytes, because it could not pass them on. The peer's time stands still.
    pub fn rest(&mut self) {
        self.life.is_waiting = false;
    }

    /// Writes what is owed and then `parts`, in order. What the kernel does not take is owed from here on.
    ///
    /// # Errors
    /// What the kernel said; nothing more can be written. What was owed is forgotten.
    pub fn write(&mut self, cx: &mut Context<'_>, now: Time, parts: &[&[u8]]) -> Result<(), IoFault> {
        let owed = self.outbox.len();
        let total = owed + parts.iter().map(|part| part.len()).sum::<usize>();
        if total == 0 {
            return Ok(());
        }
        let socket = self.socket.as_mut().expect(HELD);
        let (written, fault) = if owed == total {
            write_bytes(socket, cx, &self.outbox)
        } else if total <= SMALL_BYTES {
            // The kernel takes one piece for a twentieth less than it takes two: far more than a copy costs.
            with_joined(&self.outbox, parts, |joined| write_bytes(socket, cx, joined))
        } else {
            write_parts(socket, cx, &self.outbox, parts, total)
        };
        self.life.note_written(written, now);
        if let Some(fault) = fault {
            self.life.note_failed(now);
            self.outbox.clear();
            return Err(fault);
        }
        if written < total || self.socket().has_unsent() {
            self.life.note_blocked(now);
        }
        self.outbox.advance(written.min(owed));
        if written == total {
            // At once, so that what writes next has it while it is in the processor's cache.
            self.outbox.release();
            return Ok(());
        }
        let mut skip = written.saturating_sub(owed);
        for part in parts {
            let skipped = skip.min(part.len());
            skip -= skipped;
            self.outbox.extend_from_slice(&part[skipped..]);
        }
        Ok(())
    }

    /// Ready when nothing is owed any more.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), IoFault>> {
        if !self.outbox.is_empty() {
            if let Err(fault) = self.write(cx, now, &[]) {
                return Poll::Ready(Err(fault));
            }
            if !self.outbox.is_empty() {
                return Poll::Pending;
            }
        }
        if !self.socket().has_unsent() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush_socket(cx, now).map_err(|error| IoFault::new(Op::Write, &error))
    }

    /// Gives the kernel what layers of the socket keep. Every byte that it takes is progress.
    fn poll_flush_socket(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<io::Result<()>> {
        let before = self.socket().unsent_bytes();
        let flushed = Pin::new(self.socket_mut()).poll_flush(cx);
        if self.socket().unsent_bytes() < before {
            self.life.note_flushed();
        }
        match &flushed {
            Poll::Pending => self.life.note_blocked(now),
            Poll::Ready(Ok(())) => self.life.note_flushed(),
            Poll::Ready(Err(_)) => self.life.note_failed(now),
        }
        flushed
    }

    /// The next deadline: the machine's, or that of a write which stands still.
    pub fn deadline(&self) -> Option<Deadline> {
        // Nobody is idle who still has bytes to take: then only taking none is too slow.
        let machine = self.machine.deadline(self.life.is_waiting);
        let machine = machine.filter(|deadline| deadline.timer != Timer::Idle || !self.owes());
        Deadline::earlier(machine, self.life.stalled_until())
    }

    /// Gives back all buffers that are empty. An idle connection owns none.
    pub fn release_buffers(&mut self) {
        self.inbox.release();
        self.outbox.release();
    }

    /// Bytes of memory that its buffers own, used or not.
    pub fn buffer_bytes(&self) -> usize {
        self.inbox.capacity() + self.outbox.capacity()
    }

    /// Tells the observer where the connection stands.
    pub fn tell_moved(&self) {
        let moved = self.life.moved(self.phase(), self.machine.exchanges());
        self.life.context.observer.moved(&moved);
    }

    /// What an observer is told when the connection is put into a pool.
    pub fn as_parked(&self) -> Moved {
        self.life.moved(Phase::Parked, self.machine.exchanges())
    }

    /// Where the connection stands. A message that is framed whole is under way as long as bytes of it are owed.
    fn phase(&self) -> Phase {
        match self.machine.phase() {
            Phase::Idle if self.owes() => Phase::Response,
            phase => phase,
        }
    }

    fn owes(&self) -> bool {
        !self.outbox.is_empty() || self.life.is_stalled()
    }
}

/// Writes as much of `bytes` as the kernel takes: how much that was, and what went wrong.
fn write_bytes<S: Socket>(socket: &mut S, cx: &mut Context<'_>, bytes: &[u8]) -> (usize, Option<IoFault>) {
    // Mostly it takes all at once, and nobody has to wait.
    let mut written = match socket.try_write(bytes) {
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        // The kernel says it once.
        Err(error) => return (0, Some(IoFault::new(Op::Write, &error))),
    };
    while written < bytes.len() {
        match Pin::new(&mut *socket).poll_write(cx, &bytes[written..]) {
            Poll::Ready(Ok(0)) => return (written, Some(IoFault { op: Op::Write, errno: Errno::EPIPE })),
            Poll::Ready(Ok(len)) => written += len,
            Poll::Pending => break,
            Poll::Ready(Err(error)) => return (written, Some(IoFault::new(Op::Write, &error))),
        }
    }
    (written, None)
}

/// As [`write_bytes`], for `owed` and then `parts`, which are `total` bytes together.
fn write_parts<S: Socket>(
    socket: &mut S,
    cx: &mut Context<'_>,
    owed: &[u8],
    parts: &[&[u8]],
    total: usize,
) -> (usize, Option<IoFault>) {
    let mut slices: SmallVec<[IoSlice<'_>; 20]> = SmallVec::new();
    let all = std::iter::once(owed).chain(parts.iter().copied());
    slices.extend(all.filter(|part| !part.is_empty()).map(IoSlice::new));
    if let [one] = &slices[..] {
        return write_bytes(socket, cx, one);
    }
    let mut slices = &mut slices[..];
    let mut written = 0;
    while written < total {
        match Pin::new(&mut *socket).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => return (written, Some(IoFault { op: Op::Write, errno: Errno::EPIPE })),
            Poll::Ready(Ok(len)) => {
                written += len;
                IoSlice::advance_slices(&mut slices, len);
            }
            Poll::Pending => break,
            Poll::Ready(Err(error)) => return (written, Some(IoFault::new(Op::Write, &error))),
        }
    }
    (written, None)
}
