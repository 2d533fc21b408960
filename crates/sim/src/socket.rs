//! A socket of the simulated network, as the tested code and the scripts hold it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_net::socket::{Liveness, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::{SimNet, State};
use crate::tcp::End;
use crate::trace::{What, Whose, WireIndex};

/// One end of a connection. Dropped, it closes.
///
/// Reads and writes answer from what the reactor saw last, as tokio's do: a read that did not fill its buffer, and a
/// write that was not taken whole, wait for the reactor before they ask the kernel again.
pub struct SimSocket {
    net: SimNet,
    wire: WireIndex,
    end: End,
}

impl SimSocket {
    pub(crate) fn new(net: SimNet, wire: WireIndex, end: End) -> Self {
        Self { net, wire, end }
    }

    /// Which connection this is an end of, in the trace.
    pub fn wire(&self) -> WireIndex {
        self.wire
    }

    /// Whose end it is.
    pub fn whose(&self) -> Whose {
        self.net.with(|state| state.wires[self.wire].whose(self.end))
    }

    /// Whether the other end's FIN or RST is here: what `poll` calls RDHUP.
    pub fn has_ended(&self) -> bool {
        self.net.with(|state| state.wires[self.wire].tcp.has_ended(self.end))
    }

    /// Whether the connection is over: reset, or closed by both sides. What `poll` calls HUP.
    pub fn is_over(&self) -> bool {
        self.net.with(|state| state.wires[self.wire].tcp.is_over(self.end))
    }

    // The kernel's calls, as they are: what a non-blocking call gives at once, past the reactor.

    /// `recv`.
    ///
    /// # Errors
    /// The errno, `EAGAIN` among them.
    pub fn read_now(&self, into: &mut [u8]) -> Result<usize, Errno> {
        self.ask(Op::Read, |state, wire, end| state.read(wire, end, into))
    }

    /// `recv` with `MSG_PEEK`.
    ///
    /// # Errors
    /// As for [`Self::read_now`].
    pub fn peek_now(&self) -> Result<usize, Errno> {
        self.ask(Op::Read, |state, wire, end| state.wires[wire].tcp.peek(end))
    }

    /// `writev`.
    ///
    /// # Errors
    /// As for [`Self::read_now`].
    pub fn write_now(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.ask(Op::Write, |state, wire, end| state.write(wire, end, parts))
    }

    /// `shutdown` of the writing side.
    ///
    /// # Errors
    /// As for [`Self::read_now`].
    pub fn shutdown_now(&self) -> Result<(), Errno> {
        self.ask(Op::Shutdown, |state, wire, end| state.shutdown(wire, end))
    }

    /// `SO_ERROR`.
    pub fn take_error(&self) -> Option<Errno> {
        self.net.with(|state| state.wires[self.wire].tcp.take_error(self.end))
    }

    fn ask<T>(&self, op: Op, ask: impl FnOnce(&mut State, WireIndex, End) -> Result<T, Errno>) -> Result<T, Errno> {
        self.net.with(|state| {
            let whose = state.wires[self.wire].whose(self.end);
            state.begin(whose);
            self.answer(state, op, ask)
        })
    }

    fn answer<T>(
        &self,
        state: &mut State,
        op: Op,
        ask: impl FnOnce(&mut State, WireIndex, End) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        // A fault has closed a script's socket under its hands.
        let answer = match state.wires[self.wire].tcp.is_held(self.end) {
            true => ask(state, self.wire, self.end),
            false => Err(Errno::EBADF),
        };
        if let Err(errno) = answer
            && errno != Errno::EAGAIN
        {
            let whose = state.wires[self.wire].whose(self.end);
            state.tell(What::Failed(self.wire, whose, op, errno));
        }
        answer
    }
}

/// What to do before a call, and how long the reactor has said nothing.
enum Call {
    Now,
    Later,
}

impl State {
    fn may_read(&mut self, wire: WireIndex, end: End, cx: &mut Context<'_>) -> Call {
        let whose = self.wires[wire].whose(end);
        let again = self.begin(whose);
        let is_held = self.wires[wire].tcp.is_held(end);
        let io = self.wires[wire].io(end);
        if is_held && (again || !io.is_readable) {
            io.reader = Some(cx.waker().clone());
            if again {
                cx.waker().wake_by_ref();
            }
            return Call::Later;
        }
        Call::Now
    }

    fn may_write(&mut self, wire: WireIndex, end: End, cx: &mut Context<'_>) -> Call {
        let whose = self.wires[wire].whose(end);
        let again = self.begin(whose);
        let is_held = self.wires[wire].tcp.is_held(end);
        let io = self.wires[wire].io(end);
        if is_held && (again || !io.is_writable) {
            io.writer = Some(cx.waker().clone());
            if again {
                cx.waker().wake_by_ref();
            }
            return Call::Later;
        }
        Call::Now
    }
}

fn io_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

impl AsyncRead for SimSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.net.with(|state| {
            if let Call::Later = state.may_read(self.wire, self.end, cx) {
                return Poll::Pending;
            }
            let into = buf.initialize_unfilled();
            let room = into.len();
            let read = self.answer(state, Op::Read, |state, wire, end| state.read(wire, end, into));
            let wire = &mut state.wires[self.wire];
            let (whose, has_ended) = (wire.whose(self.end), wire.tcp.has_ended(self.end));
            let io = wire.io(self.end);
            match read {
                Ok(len) => {
                    // tokio takes a read that left room for the last of what was there; a FIN or RST it does not forget.
                    if len < room && !has_ended {
                        io.is_readable = false;
                    }
                    buf.advance(len);
                    state.tell(What::Read(self.wire, whose, len));
                    Poll::Ready(Ok(()))
                }
                Err(Errno::EAGAIN) => {
                    io.is_readable = false;
                    io.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
                Err(errno) => Poll::Ready(Err(io_error(errno))),
            }
        })
    }
}

impl AsyncWrite for SimSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        self.net.with(|state| {
            if state.wires[self.wire].whose(self.end) == Whose::Ours {
                state.tell(What::Offered(self.wire, total));
            }
            if let Call::Later = state.may_write(self.wire, self.end, cx) {
                return Poll::Pending;
            }
            let written = self.answer(state, Op::Write, |state, wire, end| state.write(wire, end, parts));
            let io = state.wires[self.wire].io(self.end);
            match written {
                Ok(len) => {
                    if len < total {
                        io.is_writable = false;
                    }
                    Poll::Ready(Ok(len))
                }
                Err(Errno::EAGAIN) => {
                    io.is_writable = false;
                    io.writer = Some(cx.waker().clone());
                    Poll::Pending
                }
                Err(errno) => Poll::Ready(Err(io_error(errno))),
            }
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Hides `ENOTCONN`, as tokio does.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown_now() {
            Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
            Err(errno) => Err(io_error(errno)),
        })
    }
}

impl Socket for SimSocket {
    fn is_plain(&self) -> bool {
        true
    }

    fn probe(&mut self) -> Liveness {
        let found = match self.peek_now() {
            Ok(0) => Liveness::Closed,
            Ok(_) => Liveness::Unasked,
            Err(Errno::EAGAIN) => Liveness::Alive,
            Err(errno) => Liveness::Failed(IoFault { op: Op::Read, errno }),
        };
        self.net.with(|state| state.tell(What::Probed(self.wire, format!("{found:?}"))));
        found
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::read_now(&*self, buffer).map_err(io_error)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown_now().map_err(io_error)
    }

    fn set_abortive_close(&self) {
        self.net.with(|state| state.wires[self.wire].tcp.set_abortive_close(self.end));
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.net.with(|state| {
            let wire = &state.wires[self.wire];
            wire.tcp.is_connected(self.end).then(|| wire.addresses[self.end.other() as usize])
        })
    }

    fn local(&self) -> Option<SocketAddr> {
        self.net.with(|state| Some(state.wires[self.wire].addresses[self.end as usize]))
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.net.with(|state| {
            let whose = state.wires[self.wire].whose(self.end);
            // What is tested is cancelled, and its peers are not: theirs stay open, whatever is dropped first.
            if whose == Whose::Peers && state.is_cancelled {
                return;
            }
            state.begin(whose);
            state.close(self.wire, self.end);
        });
    }
}
