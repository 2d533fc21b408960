//! One TCP connection as Linux keeps it: two ends, what each operation on them gives, and what travels between them.
//!
//! A pure table of rules. Every one of them was seen on real loopback sockets, and `tests/parity.rs` holds the two side
//! by side.

use std::io::IoSlice;

use bytes::BytesMut;
use sheave_lifecycle::errno::Errno;

/// One of the two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The one that called `connect`.
    Opener,
    /// The one that `accept` gave, or will give.
    Acceptor,
}

impl End {
    /// The end at the other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Opener => Self::Acceptor,
            Self::Acceptor => Self::Opener,
        }
    }
}

/// How much each end's kernel keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffers {
    /// Bytes that were written and not delivered. Default: 64 KiB; at least one.
    pub send_bytes: usize,
    /// Bytes that were delivered and not read. Default: 64 KiB; at least one.
    pub receive_bytes: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { send_bytes: 64 * 1024, receive_bytes: 64 * 1024 }
    }
}

/// What a close sends to the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// FIN, behind whatever was written before.
    Fin,
    /// RST; what was written and not delivered is gone.
    Rst,
    /// Nothing: the connection was over, or the end was closed before.
    Nothing,
}

/// What an end's kernel keeps.
#[derive(Debug)]
struct Half {
    buffers: Buffers,
    /// Delivered and not read.
    received: BytesMut,
    /// Written and not delivered.
    sending: BytesMut,
    /// A descriptor refers to it.
    is_held: bool,
    /// Its FIN is sent, or will be when `sending` is empty.
    ends_writing: bool,
    /// The other end's FIN is here.
    has_fin: bool,
    /// Its RST waits to be delivered to the other end.
    owes_rst: bool,
    /// The next operation is told.
    error: Option<Errno>,
    /// The state CLOSE: reset, or both FINs delivered.
    is_over: bool,
    /// `SO_LINGER` with zero.
    aborts: bool,
}

impl Half {
    fn new(buffers: Buffers) -> Self {
        Self {
            buffers,
            received: BytesMut::new(),
            sending: BytesMut::new(),
            is_held: true,
            ends_writing: false,
            has_fin: false,
            owes_rst: false,
            error: None,
            is_over: false,
            aborts: false,
        }
    }

    /// What a reader is told when no byte is there.
    fn end_of_reading(&mut self) -> Result<usize, Errno> {
        // The FIN hides an RST that came after it.
        if self.has_fin {
            return Ok(0);
        }
        match self.error.take() {
            Some(errno) => Err(errno),
            None if self.is_over => Ok(0),
            None => Err(Errno::EAGAIN),
        }
    }

    fn abort(&mut self) {
        self.sending.clear();
        self.is_over = true;
        self.owes_rst = true;
    }
}

/// A TCP connection, from the end of its handshake on.
#[derive(Debug)]
pub struct Tcp {
    opener: Half,
    acceptor: Half,
}

impl Tcp {
    /// An established connection.
    pub fn new(buffers: Buffers) -> Self {
        Self { opener: Half::new(buffers), acceptor: Half::new(buffers) }
    }

    fn half(&self, end: End) -> &Half {
        match end {
            End::Opener => &self.opener,
            End::Acceptor => &self.acceptor,
        }
    }

    fn half_mut(&mut self, end: End) -> &mut Half {
        match end {
            End::Opener => &mut self.opener,
            End::Acceptor => &mut self.acceptor,
        }
    }

    // What an application can do.

    /// `recv`: takes bytes that are here.
    ///
    /// # Errors
    /// `EAGAIN` when nothing is to be told; once, the errno of what ended the connection.
    pub fn read(&mut self, at: End, into: &mut [u8]) -> Result<usize, Errno> {
        let half = self.half_mut(at);
        if half.received.is_empty() {
            return half.end_of_reading();
        }
        let len = into.len().min(half.received.len());
        into[..len].copy_from_slice(&half.received.split_to(len));
        Ok(len)
    }

    /// `recv` with `MSG_PEEK`: how many bytes are here. Takes none away, but the error.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn peek(&mut self, at: End) -> Result<usize, Errno> {
        let half = self.half_mut(at);
        match half.received.len() {
            0 => half.end_of_reading(),
            len => Ok(len),
        }
    }

    /// `writev`: takes as much as there is room for.
    ///
    /// # Errors
    /// `EAGAIN` when there is no room; `ECONNRESET` once after an RST; `EPIPE` when nothing can be written any more.
    pub fn write(&mut self, at: End, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let half = self.half_mut(at);
        if half.is_over || half.ends_writing {
            return Err(half.error.take().unwrap_or(Errno::EPIPE));
        }
        let room = self.room(at);
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let sending = &mut self.half_mut(at).sending;
        let before = sending.len();
        for part in parts {
            let left = room - (sending.len() - before);
            sending.extend_from_slice(&part[..left.min(part.len())]);
        }
        Ok(sending.len() - before)
    }

    /// `shutdown` of the writing side.
    ///
    /// # Errors
    /// `ENOTCONN` when the connection is over.
    pub fn shutdown(&mut self, at: End) -> Result<(), Errno> {
        let half = self.half_mut(at);
        if half.is_over {
            return Err(Errno::ENOTCONN);
        }
        half.ends_writing = true;
        Ok(())
    }

    /// `SO_LINGER` with zero: the close will be an RST.
    pub fn set_abortive_close(&mut self, at: End) {
        self.half_mut(at).aborts = true;
    }

    /// `close` of the last descriptor.
    pub fn close(&mut self, at: End) -> Farewell {
        let half = self.half_mut(at);
        if !half.is_held {
            return Farewell::Nothing;
        }
        half.is_held = false;
        let has_unread = !half.received.is_empty();
        half.received.clear();
        if half.is_over {
            return Farewell::Nothing;
        }
        // With both FINs under way there is nothing left to reset, unless bytes are.
        let is_closing = half.ends_writing && half.has_fin && half.sending.is_empty();
        if has_unread || half.aborts && !is_closing {
            half.abort();
            return Farewell::Rst;
        }
        half.ends_writing = true;
        Farewell::Fin
    }

    /// `SO_ERROR`: what ended the connection, once.
    pub fn take_error(&mut self, at: End) -> Option<Errno> {
        self.half_mut(at).error.take()
    }

    // What can be asked without asking the kernel.

    /// Whether the peer's address is still known: `getpeername` fails once the connection is over.
    pub fn is_connected(&self, at: End) -> bool {
        !self.half(at).is_over
    }

    /// Whether a descriptor refers to this end.
    pub fn is_held(&self, at: End) -> bool {
        self.half(at).is_held
    }

    /// Whether a reader would be told anything but `EAGAIN`.
    pub fn is_readable(&self, at: End) -> bool {
        let half = self.half(at);
        !half.received.is_empty() || self.has_ended(at)
    }

    /// Whether the other end's FIN or RST is here.
    pub fn has_ended(&self, at: End) -> bool {
        let half = self.half(at);
        half.has_fin || half.is_over
    }

    /// Whether the connection was reset, or both sides are closed: what `poll` calls HUP.
    pub fn is_over(&self, at: End) -> bool {
        self.half(at).is_over
    }

    /// Whether a writer would be told anything but `EAGAIN`.
    pub fn is_writable(&self, at: End) -> bool {
        let half = self.half(at);
        half.is_over || half.ends_writing || self.room(at) > 0
    }

    fn room(&self, at: End) -> usize {
        let half = self.half(at);
        half.buffers.send_bytes.saturating_sub(half.sending.len())
    }

    // What travels.

    /// How many bytes could be delivered from `from` now.
    pub fn deliverable(&self, from: End) -> usize {
        let receiver = self.half(from.other());
        let window = if receiver.is_held {
            receiver.buffers.receive_bytes.saturating_sub(receiver.received.len())
        } else {
            // Nobody reads; the first byte will bring an RST.
            usize::MAX
        };
        self.half(from).sending.len().min(window)
    }

    /// Delivers `len` bytes, no more than [`Self::deliverable`], from `from` to the other end.
    pub fn deliver(&mut self, from: End, len: usize) {
        let bytes = self.half_mut(from).sending.split_to(len);
        let receiver = self.half_mut(from.other());
        if receiver.is_held {
            receiver.received.extend_from_slice(&bytes);
        } else if len > 0 && !receiver.is_over {
            // Bytes for an end that was closed.
            receiver.abort();
        }
    }

    /// Whether `from`'s FIN could be delivered now.
    pub fn owes_fin(&self, from: End) -> bool {
        let (sender, receiver) = (self.half(from), self.half(from.other()));
        sender.ends_writing && sender.sending.is_empty() && !sender.is_over && !receiver.has_fin && !receiver.is_over
    }

    /// Delivers `from`'s FIN.
    pub fn deliver_fin(&mut self, from: End) {
        self.half_mut(from.other()).has_fin = true;
        if self.half(from).has_fin {
            self.opener.is_over = true;
            self.acceptor.is_over = true;
        }
    }

    /// Whether `from`'s RST could be delivered now.
    pub fn owes_rst(&self, from: End) -> bool {
        self.half(from).owes_rst
    }

    /// Delivers `from`'s RST. What the other end has received stays readable; what it has not sent is gone.
    pub fn deliver_rst(&mut self, from: End) {
        self.half_mut(from).owes_rst = false;
        let receiver = self.half_mut(from.other());
        if receiver.is_over {
            return;
        }
        receiver.is_over = true;
        receiver.sending.clear();
        receiver.error = Some(if receiver.has_fin { Errno::EPIPE } else { Errno::ECONNRESET });
    }

    // What a fault does to an application at `at`.

    /// It had not written what was not delivered yet.
    pub(crate) fn unwrite(&mut self, at: End) {
        self.half_mut(at).sending.clear();
    }

    /// It reads all that is here, and closes.
    pub(crate) fn read_and_close(&mut self, at: End) -> Farewell {
        self.half_mut(at).received.clear();
        self.half_mut(at).aborts = false;
        self.close(at)
    }

    /// It closes with RST.
    pub(crate) fn reset(&mut self, at: End) -> Farewell {
        self.set_abortive_close(at);
        self.close(at)
    }

    /// Its send buffer has no more room, whatever is delivered.
    pub(crate) fn fill_send_buffer(&mut self, at: End) {
        self.half_mut(at).buffers.send_bytes = 0;
    }
}
