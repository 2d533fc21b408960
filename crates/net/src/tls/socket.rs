//! A socket that is secured by TLS, and the questions that pass through it to the kernel.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handshake::HandshakeError;
use crate::secured::{Alpn, Secured};
use crate::socket::{Liveness, Socket};
use crate::tls::error::failure;
use crate::tls::not_tls::{self, Opening};
use crate::tls::provider::{cipher_name, sha256};
use crate::tls::queue::Queue;
use crate::tls::scratch::{MAX_INCOMPLETE_BYTES, READ_BYTES, with_received, with_sealed};
use crate::tls::session::{Job, Sealed, Session};
use crate::tls::sni::take_asked_for;

/// How much content one write takes at most: four records. What of it the kernel does not take is kept, and until that is
/// gone nothing more is taken.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// The content of one record. RFC 8446 §5.1
const RECORD_BYTES: usize = 16 * 1024;

/// How much is read and thrown away after a failure, so that the peer can read why.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;

/// A socket that is secured by TLS.
///
/// # Memory
/// Ciphertext passes through buffers of the thread. The connection owns some only while a record has arrived in part, or
/// while the kernel takes no more of what was written: of the latter at most 64 KiB and what encryption adds. What stays in
/// an idle connection is rustls': keys and state, and on the client's side the server's certificates.
///
/// # How it ends
/// [`Socket::shutdown_write`] and the drop tell the peer that no more will come (`close_notify`, RFC 8446 §6.1), except
/// after [`Socket::set_abortive_close`] and after a failure.
pub struct TlsSocket<S: Socket> {
    inner: S,
    stage: Stage,
    session: Option<Session>,
    /// Received, and not whole yet. rustls has seen it, and wants to see it again with what follows.
    incomplete: Vec<u8>,
    /// Content that the reader had no room for.
    unread: Queue,
    /// Ciphertext that the kernel has not taken.
    unsent: Queue,
    secured: Option<Box<Secured>>,
    /// The name that a client asked for, or that we ask a server for.
    name: Option<Box<str>>,
    end: End,
    is_writing_over: bool,
    is_abortive: AtomicBool,
}

/// How far the connection is.
enum Stage {
    /// Nothing has been said.
    Beginning,
    /// The handshake is under way.
    Handshaking,
    /// Content flows.
    Open,
    /// Nothing can be read or written any more; how much was thrown away since, and whether the reader knows.
    Failed { why: Box<HandshakeError>, discarded: usize, is_told: bool },
}

/// How the peer's side ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Announced,
    CutOff,
}

impl<S: Socket> TlsSocket<S> {
    pub(super) fn new(inner: S, session: Result<Session, rustls::Error>, name: Option<Box<str>>) -> Self {
        let (session, stage) = match session {
            Ok(session) => (Some(session), Stage::Beginning),
            Err(error) => (None, Stage::failed(failure(&error))),
        };
        Self {
            inner,
            stage,
            session,
            incomplete: Vec::new(),
            unread: Queue::default(),
            unsent: Queue::default(),
            secured: None,
            name,
            end: End::Open,
            is_writing_over: false,
            is_abortive: AtomicBool::new(false),
        }
    }

    /// The socket beneath.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Why nothing can be read or written any more, if TLS has failed: in the handshake, or later.
    pub fn failure(&self) -> Option<&HandshakeError> {
        match &self.stage {
            Stage::Failed { why, .. } => Some(why),
            Stage::Beginning | Stage::Handshaking | Stage::Open => None,
        }
    }

    /// Bytes of memory that its buffers own, used or not. What rustls owns is not counted.
    pub fn buffer_bytes(&self) -> usize {
        self.incomplete.capacity() + self.unread.capacity() + self.unsent.capacity()
    }

    /// Shows rustls what was received (`incomplete` in front of it) and does the job. Content goes to `content`.
    fn process(
        &mut self,
        received: &mut [u8],
        job: Job<'_>,
        sealed: &mut Sealed,
        content: &mut Content<'_, '_>,
    ) -> bool {
        let Some(session) = &mut self.session else { return false };
        let unread = &mut self.unread;
        let done = session.process(received, job, &mut |bytes| content.take(bytes, unread), sealed);
        let rest = &received[done.consumed.min(received.len())..];
        let error = match done.error {
            None if rest.len() > MAX_INCOMPLETE_BYTES => Some(HandshakeError::Tls {
                label: "protocol-violation",
                detail: "a message of the handshake is too large".to_owned(),
            }),
            None => None,
            Some(error) => Some(self.cause(&error, rest)),
        };
        if rest.is_empty() || error.is_some() {
            self.incomplete = Vec::new();
        } else {
            self.incomplete.clear();
            self.incomplete.extend_from_slice(rest);
        }
        if done.is_closed {
            self.end = End::Announced;
        }
        if let Some(error) = error {
            self.stage = Stage::failed(error);
        }
        done.is_done
    }

    fn is_client(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_client)
    }

    fn cause(&self, error: &rustls::Error, received: &[u8]) -> HandshakeError {
        if self.is_client() && !matches!(self.stage, Stage::Open) && not_tls::is_http_response(received) {
            let detail = "the origin answered in plain HTTP: it has to be called by http://, or on another port";
            return HandshakeError::Tls { label: "not-tls", detail: detail.to_owned() };
        }
        failure(error)
    }

    /// As [`Self::process`], with nothing new received; what is to be sent is kept.
    fn process_kept(&mut self, job: Job<'_>) -> bool {
        with_sealed(|sealed| {
            let mut kept = std::mem::take(&mut self.incomplete);
            let done = self.process(&mut kept, job, sealed, &mut Content::None);
            self.unsent.push(sealed.bytes());
            done
        })
    }

    /// Reads once, and processes what came; `read` reads into the buffer that it is given, no more than its length.
    fn receive(
        &mut self,
        room: usize,
        content: &mut Content<'_, '_>,
        read: impl FnOnce(&mut S, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        with_received(|buffer| {
            let kept = self.incomplete.len();
            let buffer = &mut buffer[..kept + room.min(READ_BYTES)];
            let len = ready!(read(&mut self.inner, &mut buffer[kept..]))?;
            if len == 0 {
                if self.end == End::Open {
                    self.end = End::CutOff;
                }
                return Poll::Ready(Ok(0));
            }
            buffer[..kept].copy_from_slice(&self.incomplete);
            with_sealed(|sealed| {
                self.process(&mut buffer[..kept + len], Job::Receive, sealed, content);
                self.unsent.push(sealed.bytes());
            });
            Poll::Ready(Ok(len))
        })
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        content: &mut Content<'_, '_>,
    ) -> Poll<io::Result<usize>> {
        self.receive(room, content, |inner, buffer| {
            let mut buffer = ReadBuf::new(buffer);
            Pin::new(inner).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
        })
    }

    /// Gives the kernel what it takes of the ciphertext that is kept.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let len = ready!(Pin::new(&mut self.inner).poll_write(cx, self.unsent.front()))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(len);
        }
        Poll::Ready(Ok(()))
    }

    /// As [`Self::poll_send`], for nobody who waits, and whatever share of its turn the task has used up.
    fn send_now(&mut self) {
        let mut send = pin!(tokio::task::unconstrained(poll_fn(|cx| self.poll_send(cx))));
        // What the kernel does not take now, and what it has to complain of, changes nothing: this is the end.
        let _ = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    fn poll_shake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            match &mut self.stage {
                Stage::Open => return Poll::Ready(Ok(())),
                Stage::Failed { why, is_told, .. } => {
                    *is_told = true;
                    let why = HandshakeError::clone(why);
                    // The alert goes before the close; what the kernel does not take, the close waits for.
                    let _ = self.poll_send(cx);
                    return Poll::Ready(Err(why));
                }
                Stage::Beginning => {
                    ready!(self.inner.poll_handshake(cx))?;
                    self.stage = Stage::Handshaking;
                    self.process_kept(Job::Receive);
                }
                Stage::Handshaking => {
                    let io = |op, error| HandshakeError::Io(IoFault::new(op, &error));
                    let sent = self.poll_send(cx);
                    if self.session.as_ref().is_some_and(|session| !session.common().is_handshaking()) {
                        // What is left are session tickets, or the client's last words: they need not be waited for, and
                        // if they cannot be sent, whatever comes next will tell.
                        self.stage = Stage::Open;
                        self.secured = self.session.as_ref().map(|session| self.agreed(session));
                        continue;
                    }
                    ready!(sent).map_err(|error| io(Op::Write, error))?;
                    let received = match self.is_before_greeting() {
                        true => ready!(self.poll_greeting(cx)),
                        false => ready!(self.poll_receive(cx, READ_BYTES, &mut Content::None)),
                    };
                    if received.map_err(|error| io(Op::Read, error))? == 0 {
                        return Poll::Ready(Err(HandshakeError::Closed));
                    }
                    if !self.is_client()
                        && let Some(name) = take_asked_for()
                    {
                        self.name = Some(name);
                    }
                }
            }
        }
    }

    /// Whether the client's first record is not here yet, so that it may be no TLS at all.
    fn is_before_greeting(&self) -> bool {
        let Some(Session::Server(session)) = &self.session else { return false };
        session.protocol_version().is_none() && Opening::of(&self.incomplete) == Opening::Unclear
    }

    /// Reads what the client says first. Plain HTTP is answered in plain HTTP.
    fn poll_greeting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_received(|buffer| {
            let kept = self.incomplete.len();
            buffer[..kept].copy_from_slice(&self.incomplete);
            let mut read = ReadBuf::new(&mut buffer[..kept + READ_BYTES]);
            read.set_filled(kept);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
            let received = read.filled_mut();
            let len = received.len() - kept;
            match Opening::of(received) {
                _ if len == 0 => self.end = End::CutOff,
                Opening::Unclear => self.incomplete.extend_from_slice(&received[kept..]),
                Opening::Http => {
                    self.incomplete = Vec::new();
                    self.unsent.push(not_tls::ANSWER);
                    let detail = "the client spoke plain HTTP; it was told to use https://".to_owned();
                    self.stage = Stage::failed(HandshakeError::Tls { label: "http-to-tls-port", detail });
                }
                Opening::Other => with_sealed(|sealed| {
                    self.process(received, Job::Receive, sealed, &mut Content::None);
                    self.unsent.push(sealed.bytes());
                }),
            }
            Poll::Ready(Ok(len))
        })
    }

    fn agreed(&self, session: &Session) -> Box<Secured> {
        let common = session.common();
        let peer = common.peer_certificates().and_then(<[_]>::first);
        Box::new(Secured {
            version: session.version(),
            cipher: common.negotiated_cipher_suite().map_or("unknown", |suite| cipher_name(suite.suite())),
            alpn: common.alpn_protocol().and_then(Alpn::named),
            server_name: self.name.clone(),
            is_resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            peer_certificate: peer.map(|certificate| sha256(certificate)),
        })
    }

    /// What reading gives where nothing can be read any more: the error once, then the end, once the peer has closed too.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stage::Failed { why, discarded, is_told } = &mut self.stage else { return Poll::Ready(Ok(())) };
        if !*is_told {
            *is_told = true;
            return Poll::Ready(Err(told(why)));
        }
        with_received(|buffer| {
            while *discarded < MAX_DISCARDED_BYTES {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    break;
                }
                *discarded += buffer.filled().len();
            }
            Poll::Ready(Ok(()))
        })
    }

    /// The error of a write where nothing can be written.
    fn unwritable(&self) -> Option<io::Error> {
        match &self.stage {
            Stage::Open if self.is_writing_over => Some(io::ErrorKind::BrokenPipe.into()),
            Stage::Open => None,
            Stage::Failed { why, .. } => Some(told(why)),
            Stage::Beginning | Stage::Handshaking => Some(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Stage {
    fn failed(why: HandshakeError) -> Self {
        Self::Failed { why: Box::new(why), discarded: 0, is_told: false }
    }
}

/// A failure of TLS as an error of the socket: a peer that gave up is gone, and one whose records cannot be read has sent a
/// bad message, as the kernel calls it where it does TLS itself.
fn told(why: &HandshakeError) -> io::Error {
    io::Error::from_raw_os_error(match why {
        HandshakeError::Tls { label, .. } if label.starts_with("peer-alert-") => Errno::ECONNABORTED.0,
        _ => Errno::EBADMSG.0,
    })
}

/// Where content goes.
enum Content<'a, 'b> {
    /// To the reader, as far as there is room.
    Reader(&'a mut ReadBuf<'b>),
    /// Nowhere yet.
    None,
}

impl Content<'_, '_> {
    fn take(&mut self, bytes: &[u8], unread: &mut Queue) {
        let fits = match self {
            Self::Reader(reader) if unread.is_empty() => {
                let fits = bytes.len().min(reader.remaining());
                reader.put_slice(&bytes[..fits]);
                fits
            }
            Self::Reader(_) | Self::None => 0,
        };
        if fits < bytes.len() {
            unread.push(&bytes[fits..]);
        }
    }
}

impl<S: Socket> AsyncRead for TlsSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let len = this.unread.len().min(buffer.remaining());
            buffer.put_slice(&this.unread.front()[..len]);
            this.unread.advance(len);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        loop {
            match this.stage {
                Stage::Failed { .. } => return this.poll_discard(cx),
                Stage::Beginning | Stage::Handshaking => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                Stage::Open if this.end != End::Open => return Poll::Ready(Ok(())),
                Stage::Open => {}
            }
            // Content is shorter than its ciphertext: with no more than there is room for, none is left over.
            let room = buffer.remaining().saturating_sub(this.incomplete.len()).max(RECORD_BYTES);
            ready!(this.poll_receive(cx, room, &mut Content::Reader(buffer)))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: Socket> AsyncWrite for TlsSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(error) = this.unwritable() {
            return Poll::Ready(Err(error));
        }
        ready!(this.poll_send(cx))?;
        with_sealed(|sealed| {
            let mut taken = 0;
            let mut joined = std::mem::take(&mut sealed.joined);
            for_each_record(parts, &mut joined, |content| {
                let mut kept = std::mem::take(&mut this.incomplete);
                let is_sent = this.process(&mut kept, Job::Send(content), sealed, &mut Content::None);
                taken += if is_sent { content.len() } else { 0 };
                is_sent
            });
            sealed.joined = joined;
            let mut bytes = sealed.bytes();
            while !bytes.is_empty() {
                match Pin::new(&mut this.inner).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(len)) => bytes = &bytes[len..],
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            this.unsent.push(bytes);
            match this.unwritable() {
                Some(error) if taken == 0 => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(taken)),
            }
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.conclude();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// Cuts up to [`MAX_WRITE_BYTES`] into records, small parts joined, and shows them to `each` for as long as it wants more.
fn for_each_record(parts: &[IoSlice<'_>], joined: &mut Vec<u8>, mut each: impl FnMut(&[u8]) -> bool) {
    let mut left = MAX_WRITE_BYTES;
    joined.clear();
    let mut parts = parts.iter().filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let mut part = &part[..part.len().min(left)];
        left -= part.len();
        let is_last = left == 0 || parts.peek().is_none();
        if !joined.is_empty() {
            let (fits, rest) = part.split_at(part.len().min(RECORD_BYTES - joined.len()));
            joined.extend_from_slice(fits);
            part = rest;
            if joined.len() == RECORD_BYTES || is_last {
                if !each(joined) {
                    return;
                }
                joined.clear();
            }
        }
        while part.len() >= RECORD_BYTES || is_last && !part.is_empty() {
            let (record, rest) = part.split_at(part.len().min(RECORD_BYTES));
            if !each(record) {
                return;
            }
            part = rest;
        }
        joined.extend_from_slice(part);
        if is_last {
            return;
        }
    }
}

impl<S: Socket> Socket for TlsSocket<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        self.poll_shake(cx)
    }

    fn awaits_peer(&self) -> bool {
        self.inner.awaits_peer()
    }

    /// As the kernel says it, after rustls has looked at what is there: session tickets and new keys are taken in.
    fn probe(&mut self) -> Liveness {
        loop {
            if !self.unread.is_empty() {
                return Liveness::Unasked;
            }
            let bad = |errno| Liveness::Failed(IoFault { op: Op::Read, errno });
            match self.stage {
                Stage::Open if self.end != End::Open => return Liveness::Closed,
                Stage::Open => {}
                Stage::Failed { ref why, .. } => return bad(Errno::of(&told(why))),
                Stage::Beginning | Stage::Handshaking => return bad(Errno::ENOTCONN),
            }
            match self.inner.probe() {
                Liveness::Unasked => {}
                Liveness::Closed => {
                    self.end = End::CutOff;
                    return Liveness::Closed;
                }
                found => return found,
            }
            match self.receive(RECORD_BYTES, &mut Content::None, |inner, buffer| Poll::Ready(inner.read_now(buffer))) {
                Poll::Pending => return Liveness::Alive,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Liveness::Alive,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Liveness::Failed(IoFault::new(Op::Read, &error)),
            }
        }
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.unread.is_empty() {
                let len = self.unread.len().min(buffer.len());
                buffer[..len].copy_from_slice(&self.unread.front()[..len]);
                self.unread.advance(len);
                return Ok(len);
            }
            match self.stage {
                Stage::Open if self.end != End::Open => return Ok(0),
                Stage::Open => {}
                Stage::Failed { ref why, .. } => return Err(told(why)),
                Stage::Beginning | Stage::Handshaking => return Err(io::ErrorKind::NotConnected.into()),
            }
            let mut reader = ReadBuf::new(buffer);
            let read = self.receive(RECORD_BYTES, &mut Content::Reader(&mut reader), |inner, buffer| {
                Poll::Ready(inner.read_now(buffer))
            });
            let len = reader.filled().len();
            match read {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(_)) if len > 0 => return Ok(len),
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    /// Says `close_notify`, as far as the kernel takes it now, and then shuts the socket beneath.
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.conclude();
        self.send_now();
        self.inner.shutdown_write()
    }

    /// Makes `close_notify`, if that can be said any more.
    fn conclude(&mut self) {
        if matches!(self.stage, Stage::Open) && !self.is_writing_over {
            self.is_writing_over = true;
            self.process_kept(Job::Close);
        }
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.len() + self.inner.unsent_bytes()
    }

    fn is_cut_off(&self) -> bool {
        self.end == End::CutOff
    }

    fn secured(&self) -> Option<&Secured> {
        self.secured.as_deref()
    }

    fn set_abortive_close(&self) {
        self.is_abortive.store(true, Ordering::Relaxed);
        self.inner.set_abortive_close();
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.inner.peer()
    }

    fn local(&self) -> Option<SocketAddr> {
        self.inner.local()
    }
}

impl<S: Socket> Drop for TlsSocket<S> {
    fn drop(&mut self) {
        if !self.is_abortive.load(Ordering::Relaxed) {
            self.conclude();
            self.send_now();
        }
    }
}
