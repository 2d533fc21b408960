//! The client's role: requests go out, responses come in.

use bytes::BytesMut;
use http::{Method, StatusCode};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::Intent;
use sheave_lifecycle::time::Time;

use super::{Asked, Connection, Event, Exchange, Switch, Tunnel, has_body, take_all};
use crate::body::{BodyEvent, BodyWriter};
use crate::error::{Misuse, ProtocolError};
use crate::framing::{self, BodyLength};
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::role::Client;
use crate::state::{RequestState, ResponseState, State, Step};
use crate::write_head::{ConnectionField, write_request_head};

/// What a head is to the request.
enum Answer {
    /// Others follow it. RFC 9110 §15.2
    Informational,
    Final,
}

impl Connection<Client> {
    /// Makes it a tunnel from its first byte, without a request: towards whom a CONNECT asks for.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] when it has carried an exchange, and so speaks HTTP.
    pub fn start_tunnel(&mut self, now: Time) -> Result<(), Misuse> {
        if !self.is_idle() || self.exchanges > 0 {
            return Err(Misuse::WrongState);
        }
        self.state = State::TUNNEL;
        self.exchanges = 1;
        self.switch.get_or_insert_default().tunnel = Some(Tunnel { since: now, is_shut: false });
        self.body_out = Some(BodyWriter::new(BodyLength::UntilClose));
        self.progress = now;
        Ok(())
    }

    /// Writes a request's head; `target` is what stands in its request line.
    ///
    /// An Upgrade field offers to switch protocols (RFC 9110 §7.8), as CONNECT does: a response that takes the offer makes
    /// the connection a tunnel, see [`Self::is_tunnel`]. Whoever is not ready for that leaves the field out.
    ///
    /// # Errors
    /// [`Misuse`] when another exchange is under way, or the head cannot be sent. Nothing is written then.
    pub fn send_head(
        &mut self,
        head: &RequestHead,
        target: &str,
        body: BodyLength,
        out: &mut BytesMut,
        now: Time,
    ) -> Result<(), Misuse> {
        if !self.is_idle() {
            return Err(Misuse::WrongState);
        }
        let is_last = self.is_draining || self.exchanges.saturating_add(1) >= self.max_requests();
        let offer = offer_of(head);
        let connection = match (&offer, is_last) {
            // A connection that is to become a tunnel cannot be one that closes; should it not, we do close it.
            (Some(_), _) => ConnectionField::Upgrade,
            (None, true) => ConnectionField::Close,
            (None, false) => ConnectionField::Omit,
        };
        write_request_head(out, head, target, body, connection)?;
        self.exchanges += 1;
        self.exchange = Exchange { asked: Asked::by(head.method()), peer_said_close: is_last, ..Exchange::default() };
        (self.switch, self.informational) = (Switch::offering(offer), 0);
        self.body_out = Some(BodyWriter::new(body));
        self.stride(Step::RequestHead { has_body: has_body(body) });
        if is_last {
            self.stride(Step::CloseAgreed);
        }
        self.since = now;
        self.progress = now;
        Ok(())
    }

    /// Takes bytes off the front of `input`, as far as they make a part of the response.
    ///
    /// `None` means that all that can be taken was.
    ///
    /// # Errors
    /// What rule the origin broke; bytes that no request asked for are one. The connection is of no more use.
    pub fn receive<'b>(
        &mut self,
        input: &mut &'b [u8],
        now: Time,
    ) -> Result<Option<Event<'b, ResponseHead>>, ProtocolError> {
        // A body may end without a further byte; nothing else does.
        let needs_bytes = self.state.response != ResponseState::Body;
        if self.end.is_some() || (needs_bytes && input.is_empty()) {
            return Ok(None);
        }
        match self.state.response {
            ResponseState::Owed => match self.reader.receive(input, &self.config.limits) {
                Ok(Some(head)) => match self.take_head(&head, now) {
                    Ok(Answer::Informational) => Ok(Some(Event::Informational(head))),
                    Ok(Answer::Final) => Ok(Some(Event::Head(head))),
                    Err(error) => Err(self.break_off(error)),
                },
                Ok(None) => Ok(None),
                Err(error) => Err(self.break_off(error)),
            },
            ResponseState::Body => match self.receive_body(input) {
                Ok(Some(BodyEvent::End(trailers))) => {
                    self.end_response(now);
                    Ok(Some(Event::End(trailers)))
                }
                Ok(Some(BodyEvent::Data(data))) => Ok(Some(Event::Data(data))),
                Ok(None) => Ok(None),
                Err(error) => Err(self.break_off(error)),
            },
            ResponseState::Tunnel => Ok(Some(Event::Data(take_all(input)))),
            ResponseState::Idle | ResponseState::Done => Err(self.break_off(ProtocolError::UnaskedBytes)),
        }
    }

    /// What a head does to the connection. It is moved as seldom as can be: hence not into here.
    fn take_head(&mut self, head: &ResponseHead, now: Time) -> Result<Answer, ProtocolError> {
        self.progress = now;
        let is_switch = head.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_switch || (*self.exchange.asked.method() == Method::CONNECT && head.status().is_success()) {
            let offer = self.offered();
            if is_switch && !offer.is_some_and(|offer| framing::answers_upgrade(head.fields(), offer)) {
                return Err(ProtocolError::UnaskedSwitch);
            }
            self.exchange.peer = head.version();
            if self.state.request == RequestState::Done {
                self.body_out = Some(BodyWriter::new(BodyLength::UntilClose));
            }
            self.become_tunnel(now);
            return Ok(Answer::Final);
        }
        if head.status().is_informational() {
            self.informational = self.informational.saturating_add(1);
            let limit = self.config.limits.max_informational.min(usize::from(u16::MAX) - 1);
            if usize::from(self.informational) > limit {
                return Err(ProtocolError::TooManyInformational { limit });
            }
            self.stride(Step::Informational);
            return Ok(Answer::Informational);
        }
        self.exchange.peer = head.version();
        let length = framing::response_body(head, self.exchange.asked.method())?;
        self.exchange.ends_by_close = length == BodyLength::UntilClose;
        self.body_in = self.begin_body(length)?;
        if length == BodyLength::UntilClose || !framing::keeps_alive(head.version(), head.fields()) {
            self.exchange.peer_said_close = true;
            self.stride(Step::CloseAgreed);
        }
        self.stride(Step::ResponseHead { has_body: has_body(length) });
        self.settle(now);
        Ok(Answer::Final)
    }

    fn end_response(&mut self, now: Time) {
        self.stride(Step::ResponseEnded);
        self.settle(now);
    }

    /// The origin sent FIN. It may be the end of a response's body.
    ///
    /// # Errors
    /// The response is truncated, or did not come at all; [`Self::has_answered`] tells which.
    pub fn receive_end<'b>(&mut self, now: Time) -> Result<Option<Event<'b, ResponseHead>>, ProtocolError> {
        if self.peer_has_ended || self.end.is_some() {
            return Ok(None);
        }
        match self.state.response {
            ResponseState::Owed => {
                if !self.has_answered() {
                    self.end_with(Intent::Close(CloseReason::PeerClosed));
                }
                self.peer_has_ended = true;
                Err(self.break_off(ProtocolError::TruncatedHead))
            }
            ResponseState::Body => {
                self.peer_has_ended = true;
                let end =
                    self.body_in.as_mut().map_or(Err(ProtocolError::TruncatedBody), |body| body.reader.receive_end());
                match end {
                    Ok(BodyEvent::End(trailers)) => {
                        self.end_response(now);
                        Ok(Some(Event::End(trailers)))
                    }
                    Ok(BodyEvent::Data(_)) => Ok(None),
                    Err(error) => Err(self.break_off(error)),
                }
            }
            // It ended its direction before it could know what we say: that is no end of a tunnel.
            ResponseState::Tunnel if self.state.request == RequestState::Body => {
                self.peer_has_ended = true;
                Err(self.break_off(ProtocolError::TruncatedBody))
            }
            ResponseState::Tunnel => {
                self.peer_has_ended = true;
                self.end_response(now);
                Ok(Some(Event::End(None)))
            }
            ResponseState::Idle | ResponseState::Done => {
                self.peer_has_ended = true;
                self.stride(Step::CloseAgreed);
                self.settle(now);
                Ok(None)
            }
        }
    }

    /// Whether a byte of a response to the exchange in hand has come, interim ones included.
    pub fn has_answered(&self) -> bool {
        match self.state.response {
            ResponseState::Idle => false,
            ResponseState::Owed => self.reader.has_begun() || self.informational > 0,
            ResponseState::Body | ResponseState::Tunnel | ResponseState::Done => true,
        }
    }

    /// Whether the response that is under way ends only with the connection, so that an RST could look like its end.
    pub fn ends_by_close(&self) -> bool {
        self.state.response == ResponseState::Body && self.exchange.ends_by_close
    }
}

/// The protocols that a request offers to switch to, as a list.
fn offer_of(head: &RequestHead) -> Option<Box<[u8]>> {
    let mut offer: Vec<u8> = Vec::new();
    for protocol in head.fields().list(Known::Upgrade) {
        if !offer.is_empty() {
            offer.push(b',');
        }
        offer.extend_from_slice(protocol);
    }
    (!offer.is_empty()).then(|| offer.into())
}
