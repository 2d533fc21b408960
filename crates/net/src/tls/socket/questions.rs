//! What is asked of the socket beside its content, and how it ends: questions pass through TLS to the kernel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use tokio::io::ReadBuf;

use crate::handshake::HandshakeError;
use crate::secured::Secured;
use crate::socket::{Liveness, Socket};
use crate::tls::session::Job;
use crate::tls::socket::{Content, End, RECORD_BYTES, Stage, TlsSocket, told};

impl<S: Socket> Socket for TlsSocket<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        self.poll_shake(cx)
    }

    fn awaits_peer(&self) -> bool {
        self.inner.awaits_peer()
    }

    fn is_watched(&self) -> bool {
        self.inner.is_watched()
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

    fn failure(&self) -> Option<&HandshakeError> {
        match &self.stage {
            Stage::Failed { why, .. } => Some(why),
            Stage::Beginning | Stage::Handshaking | Stage::Open => None,
        }
    }

    fn secured(&self) -> Option<&Arc<Secured>> {
        self.secured.as_ref()
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
