//! A socket that is secured by TLS: records between the kernel and rustls, and what is kept of them.

mod flow;
mod questions;
mod shaking;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Waker, ready};

use sheave_lifecycle::errno::Errno;
use tokio::io::ReadBuf;

use crate::handshake::HandshakeError;
use crate::secured::Secured;
use crate::socket::Socket;
use crate::tls::error::failure;
use crate::tls::not_tls;
use crate::tls::queue::Queue;
use crate::tls::scratch::{MAX_INCOMPLETE_BYTES, READ_BYTES, with_received, with_sealed};
use crate::tls::session::{Job, Sealed, Session};

/// The content of one record. RFC 8446 §5.1
const RECORD_BYTES: usize = 16 * 1024;

/// How much is read and thrown away after a failure, so that the peer can read why.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;

/// A socket that is secured by TLS.
///
/// # Memory
/// Ciphertext passes through buffers of the thread. The connection owns some only while a record has arrived in part, or
/// while the kernel takes no more of what was written: of the latter at most 144 KiB and what encryption adds. What stays in
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
    secured: Option<Arc<Secured>>,
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
