//! The handshake: who speaks when, what is no TLS at all, and what was agreed on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::errno::{IoFault, Op};
use tokio::io::ReadBuf;

use crate::handshake::HandshakeError;
use crate::secured::{Alpn, Secured};
use crate::socket::Socket;
use crate::tls::not_tls::{self, Opening};
use crate::tls::provider::{cipher_name, sha256};
use crate::tls::scratch::{READ_BYTES, with_received, with_sealed};
use crate::tls::session::{Job, Session};
use crate::tls::sni::take_asked_for;
use crate::tls::socket::{Content, End, Stage, TlsSocket};

impl<S: Socket> TlsSocket<S> {
    pub(super) fn poll_shake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
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

    fn agreed(&self, session: &Session) -> Arc<Secured> {
        let common = session.common();
        let peer = common.peer_certificates().and_then(<[_]>::first);
        Arc::new(Secured {
            version: session.version(),
            cipher: common.negotiated_cipher_suite().map_or("unknown", |suite| cipher_name(suite.suite())),
            alpn: common.alpn_protocol().and_then(Alpn::named),
            server_name: self.name.clone(),
            is_resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            peer_certificate: peer.map(|certificate| sha256(certificate)),
        })
    }
}
