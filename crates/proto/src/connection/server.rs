//! The server's role: requests come in, responses go out.

use std::time::Duration;

use bytes::BytesMut;
use http::{Method, StatusCode};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::Intent;
use sheave_lifecycle::time::Time;

use super::{Asked, Connection, Event, Exchange, Expectation, Switch, has_body, take_all};
use crate::body::{BodyEvent, BodyWriter};
use crate::error::{Misuse, ProtocolError};
use crate::framing::{self, BodyLength};
use crate::head::{RequestHead, ResponseHead};
use crate::mapped_head::AnyResponseHead;
use crate::role::Server;
use crate::state::{RequestState, ResponseState, Step};
use crate::version::Version;
use crate::write_head::{ConnectionField, write_response_head};

impl Connection<Server> {
    /// Takes bytes off the front of `input`, as far as they make a part of a request.
    ///
    /// `None` means that all that can be taken was. Bytes of a further request (pipelined) are not taken before the one
    /// in hand is answered, nor those of another protocol before that was agreed on.
    ///
    /// # Errors
    /// What rule the client broke. The connection will close; if [`Self::can_answer`], its status can still be said.
    pub fn receive<'b>(
        &mut self,
        input: &mut &'b [u8],
        now: Time,
    ) -> Result<Option<Event<'b, RequestHead>>, ProtocolError> {
        // A body may end without a further byte; nothing else does.
        let needs_bytes = self.state.request != RequestState::Body;
        if self.end.is_some() || (needs_bytes && input.is_empty()) {
            return Ok(None);
        }
        match (self.state.request, self.state.response) {
            (RequestState::Idle | RequestState::Head, ResponseState::Idle) if self.persists() => {
                match self.reader.receive(input, &self.config.limits) {
                    Ok(Some(head)) => match self.take_head(&head, now) {
                        Ok(()) => Ok(Some(Event::Head(head))),
                        Err(error) => Err(self.break_request(error)),
                    },
                    Ok(None) => {
                        if self.state.request == RequestState::Idle && self.reader.has_begun() {
                            self.stride(Step::HeadBegun);
                            self.since = now;
                        }
                        Ok(None)
                    }
                    Err(error) => {
                        let error = self.break_request(error);
                        self.begin_unread();
                        Err(error)
                    }
                }
            }
            (RequestState::Body, _) => match self.receive_body(input) {
                Ok(None) => Ok(None),
                Ok(Some(BodyEvent::Data(data))) => {
                    if self.exchange.expectation == Expectation::Awaited {
                        self.exchange.expectation = Expectation::Met;
                    }
                    Ok(Some(Event::Data(data)))
                }
                Ok(Some(BodyEvent::End(trailers))) => {
                    self.stride(Step::RequestEnded);
                    self.settle(now);
                    Ok(Some(Event::End(trailers)))
                }
                Err(error) => Err(self.break_request(error)),
            },
            (RequestState::Tunnel, _) => Ok(Some(Event::Data(take_all(input)))),
            _ => Ok(None),
        }
    }

    /// What a head does to the connection. It is moved as seldom as can be: hence not into here.
    fn take_head(&mut self, head: &RequestHead, now: Time) -> Result<(), ProtocolError> {
        self.exchanges += 1;
        let says_close = !framing::keeps_alive(head.version(), head.fields());
        self.exchange = Exchange {
            asked: Asked::by(head.method()),
            peer: head.version(),
            peer_said_close: says_close,
            ..Exchange::default()
        };
        self.switch = Switch::offering(framing::upgrade(head).map(Box::from));
        let length = framing::request_body(head)?;
        let expects = framing::expectation(head)?;
        self.body_in = self.begin_body(length)?;
        // RFC 9110 §10.1.1: a 100 only when content is wanted, and never to HTTP/1.0.
        if expects && has_body(length) && head.version() == Version::Http11 {
            self.exchange.expectation = Expectation::Awaited;
        }
        if let Some(body) = &mut self.body_in {
            body.allowance = self.config.timeouts.body_floor().map(|floor| floor.begin());
        }
        self.stride(Step::RequestHead { has_body: has_body(length) });
        // What follows a CONNECT is the tunnel's; without a tunnel it is nobody's, and never a request. RFC 9110 §9.3.6
        if says_close || *head.method() == Method::CONNECT {
            self.stride(Step::CloseAgreed);
        }
        self.since = now;
        self.progress = now;
        Ok(())
    }

    fn break_request(&mut self, error: ProtocolError) -> ProtocolError {
        let error = self.break_off(error);
        self.stride(Step::RequestBroken);
        error
    }

    /// The client sent FIN. Amid a request that is its end; after one, the response is still owed. In a tunnel its direction
    /// has ended.
    ///
    /// # Errors
    /// The request is truncated. Nobody waits for an answer.
    pub fn receive_end(&mut self, now: Time) -> Result<(), ProtocolError> {
        if self.peer_has_ended {
            return Ok(());
        }
        self.peer_has_ended = true;
        match self.state.request {
            RequestState::Head => Err(self.break_request(ProtocolError::TruncatedHead)),
            RequestState::Body => Err(self.break_request(ProtocolError::TruncatedBody)),
            RequestState::Tunnel => {
                self.stride(Step::RequestEnded);
                self.settle(now);
                Ok(())
            }
            RequestState::Idle | RequestState::Done => {
                self.stride(Step::CloseAgreed);
                self.settle(now);
                Ok(())
            }
        }
    }

    /// Whether a response is owed, and none has begun: an error of our own can still be said.
    pub fn can_answer(&self) -> bool {
        self.state.response == ResponseState::Owed
    }

    /// The client did not say in time, or in a readable way, what it wants; it is owed an answer all the same.
    ///
    /// After this, [`Self::can_answer`] holds if a byte of a request had come.
    pub fn give_up_request(&mut self) {
        match self.state.request {
            RequestState::Head => self.begin_unread(),
            RequestState::Body => {}
            RequestState::Idle | RequestState::Tunnel | RequestState::Done => return,
        }
        self.stride(Step::RequestBroken);
    }

    /// A head that will never be whole is owed an answer: it is an exchange, of which nothing is known.
    fn begin_unread(&mut self) {
        self.exchange = Exchange::default();
        self.switch = None;
        self.exchanges += 1;
    }

    /// The exchange in hand is the connection's last. Its response says so, if none has begun.
    pub fn make_last(&mut self) {
        if self.can_answer() {
            self.stride(Step::CloseAgreed);
        }
    }

    /// Whether the client waits for a 100 before it sends its content.
    pub fn awaits_continue(&self) -> bool {
        self.exchange.expectation == Expectation::Awaited && self.can_answer()
    }

    /// The version that the client speaks.
    pub fn peer_version(&self) -> Version {
        self.exchange.peer
    }

    /// Since when it is as it is: idle, and its client waited for, or with a request whose head was whole then.
    pub fn since(&self) -> Time {
        self.since.max(self.progress)
    }

    /// Until when the client was promised that the connection, which is idle, stays open; `None` where nothing was
    /// promised, or the connection is not idle.
    pub fn promised_until(&self) -> Option<Time> {
        let seconds = self.config.promise().filter(|_| self.is_idle() && self.exchanges > 0)?;
        Some(self.since.after(Duration::from_secs(seconds.into())))
    }

    /// Writes a response's head. A 1xx may precede the final one; to a client of HTTP/1.0 it is left out.
    ///
    /// `body` says how the content is framed: `Chunked` becomes `UntilClose` for a client of HTTP/1.0, and `UntilClose`
    /// becomes `Chunked` for one of HTTP/1.1. For HEAD, 204 and 304 it is only what the fields declare. `Connection` is
    /// written from the state alone: nothing in the head's fields can overwrite it.
    ///
    /// # Errors
    /// [`Misuse`] when no response is owed, or the head contradicts itself. Nothing is written then.
    pub fn send_head(
        &mut self,
        head: &impl AnyResponseHead,
        body: BodyLength,
        out: &mut BytesMut,
        now: Time,
    ) -> Result<(), Misuse> {
        if !self.can_answer() {
            return Err(Misuse::WrongState);
        }
        let (method, peer) = (self.exchange.asked.method(), self.exchange.peer);
        if head.status().is_informational() {
            if peer >= Version::Http11 {
                write_response_head(out, head, method, peer, BodyLength::None, ConnectionField::Omit)?;
            }
            if head.status() == StatusCode::CONTINUE && self.exchange.expectation == Expectation::Awaited {
                self.exchange.expectation = Expectation::Met;
            }
            return self.step(Step::Informational);
        }
        let has_content = framing::allows_content(head.status(), method);
        let body = match body {
            BodyLength::Chunked if peer == Version::Http10 => BodyLength::UntilClose,
            BodyLength::UntilClose if peer >= Version::Http11 => BodyLength::Chunked,
            body => body,
        };
        // RFC 9110 §10.1.1: the client may or may not send the content that it announced; what follows is ambiguous.
        let is_ambiguous = self.exchange.expectation == Expectation::Awaited;
        let ends_by_close = has_content && body == BodyLength::UntilClose;
        let stays = self.persists() && !self.is_last() && !self.is_old(now) && !is_ambiguous && !ends_by_close;
        let connection = match (stays, peer, self.config.promise()) {
            (false, ..) => ConnectionField::Close,
            (true, _, Some(seconds)) => ConnectionField::KeepAliveFor(seconds),
            (true, Version::Http10, None) => ConnectionField::KeepAlive,
            (true, Version::Http11 | Version::Http2, None) => ConnectionField::Omit,
        };
        let length = write_response_head(out, head, method, peer, body, connection)?;
        if !stays {
            self.stride(Step::CloseAgreed);
        }
        self.exchange.ends_by_close = length == BodyLength::UntilClose;
        self.body_out = Some(BodyWriter::new(length));
        self.stride(Step::ResponseHead { has_body: has_body(length) });
        self.settle(now);
        Ok(())
    }

    /// The protocols that the client offers to switch to, as a list. RFC 9110 §7.8
    pub fn offer(&self) -> Option<&[u8]> {
        self.offered()
    }

    /// Answers that the connection is a tunnel from here on: with a 101 whose Upgrade names protocols that the client
    /// offered, or with a 2xx to CONNECT. The bytes behind the request that are here already are the tunnel's; where the
    /// request's body is not whole, it comes first.
    ///
    /// What is sent through it goes through [`Self::wrap`], which frames nothing, up to its end.
    ///
    /// # Errors
    /// [`Misuse`] when no response is owed, or nobody asked for a tunnel. Nothing is written then.
    pub fn switch(&mut self, head: &ResponseHead, out: &mut BytesMut, now: Time) -> Result<(), Misuse> {
        if !self.can_answer() {
            return Err(Misuse::WrongState);
        }
        let (method, peer) = (self.exchange.asked.method(), self.exchange.peer);
        let is_switch = head.status() == StatusCode::SWITCHING_PROTOCOLS;
        let connection = match self.offer() {
            _ if *method == Method::CONNECT && head.status().is_success() => ConnectionField::Omit,
            Some(offer) if is_switch && framing::answers_upgrade(head.fields(), offer) => ConnectionField::Upgrade,
            _ => return Err(Misuse::SwitchWithoutUpgrade),
        };
        write_response_head(out, head, method, peer, BodyLength::None, connection)?;
        self.body_out = Some(BodyWriter::new(BodyLength::UntilClose));
        self.become_tunnel(now);
        Ok(())
    }

    /// The response that is under way cannot be completed: what was sent must not be taken for whole.
    ///
    /// Where its framing shows that (a length, chunks), the connection is closed, and what was sent can still be read;
    /// where only the close ends it, as in a tunnel, it is reset. RFC 9112 §8.
    pub fn truncate(&mut self, reason: CloseReason) {
        let looks_whole = match self.state.response {
            ResponseState::Body => self.exchange.ends_by_close,
            ResponseState::Tunnel => true,
            // What the client still sends through a tunnel is lost, and a FIN of ours would not say so.
            _ => self.state.request == RequestState::Tunnel,
        };
        self.end_with(if looks_whole { Intent::Abort(reason) } else { Intent::Linger(reason) });
        // What ended the connection before stays its reason, but not with a close that would complete the response.
        if looks_whole
            && let Some((intent, _)) = self.end.as_deref_mut()
            && let Some(first) = intent.reason()
        {
            *intent = Intent::Abort(first);
        }
    }
}
