//! The client's role: a request goes out in a stream, its response comes in.

use std::sync::Arc;

use http::uri::Scheme;
use http::{Method, Request, response};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::Intent;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;

use super::{Content, Stream};
use crate::config::ConnectionConfig;
use crate::error::{Misuse, ProtocolError};
use crate::framing::{self, BodyLength};
use crate::h2_code::ErrorCode;
use crate::h2_head;
use crate::head::{RequestHead, ResponseHead};
use crate::role::Client;
use crate::state::{ResponseState, Step};

impl Stream<Client> {
    /// A stream that has not been opened.
    pub fn new(config: Arc<ConnectionConfig>, now: Time) -> Self {
        Self::begin(config, Method::GET, now)
    }

    /// A request's head, ready to be sent, and whether the stream ends with it. `target` is what stands in `:path`, or in
    /// `:authority` for a CONNECT without protocol; [`RequestHead::protocol`] is for whoever sends it to add.
    ///
    /// `body` says how long the content is: `None` and a length of zero end the stream here. Otherwise [`Self::send_data`]
    /// follows, up to its end; behind CONNECT only once a 2xx has made it a tunnel.
    ///
    /// # Errors
    /// [`Misuse`] when a head has been sent, or HTTP/2 cannot carry it. Nothing is changed then.
    pub fn send_head(
        &mut self,
        head: &RequestHead,
        target: &str,
        scheme: Scheme,
        body: BodyLength,
        now: Time,
    ) -> Result<(Request<()>, bool), Misuse> {
        if !self.state.is_idle() || self.end.is_some() {
            return Err(Misuse::WrongState);
        }
        let is_connect = *head.method() == Method::CONNECT;
        let has_body = !is_connect && !matches!(body, BodyLength::None | BodyLength::Known(0));
        let request = h2_head::write_request(head, target, scheme, body)?;
        self.method = head.method().clone();
        self.outgoing = Content::of(body);
        self.stride(Step::RequestHead { has_body });
        self.stride(Step::CloseAgreed);
        self.since = now;
        self.progress = now;
        Ok((request, !has_body && !is_connect))
    }

    /// Takes a response's head, interim or final.
    ///
    /// # Errors
    /// What rule the origin broke. The stream is of no more use.
    pub fn receive_response(
        &mut self,
        parts: &response::Parts,
        is_end: bool,
        now: Time,
    ) -> Result<ResponseHead, ProtocolError> {
        self.take_response(parts, is_end, now).map_err(|error| self.break_off(error))
    }

    fn take_response(
        &mut self,
        parts: &response::Parts,
        is_end: bool,
        now: Time,
    ) -> Result<ResponseHead, ProtocolError> {
        if self.state.response != ResponseState::Owed {
            return Err(ProtocolError::UnaskedBytes);
        }
        self.progress = now;
        let head = h2_head::read_response(parts, &self.method, is_end, &self.config.limits)?;
        if head.status().is_informational() {
            self.informational += 1;
            let limit = self.config.limits.max_informational;
            if self.informational > limit {
                return Err(ProtocolError::TooManyInformational { limit });
            }
            self.stride(Step::Informational);
            return Ok(head);
        }
        self.peer_has_ended = is_end;
        if self.method == Method::CONNECT && head.status().is_success() {
            self.become_tunnel(now);
            if is_end {
                self.stride(Step::ResponseEnded);
            }
            return Ok(head);
        }
        let length = framing::response_body(&head, &self.method)?;
        if let (BodyLength::Known(len), Some(limit)) = (length, self.config.limits.max_body_bytes)
            && len > limit
        {
            return Err(ProtocolError::BodyTooLarge { limit });
        }
        // Frames say where it ends: a length of zero is no end.
        self.incoming = Content::of(length);
        self.stride(Step::ResponseHead { has_body: !is_end });
        self.settle();
        Ok(head)
    }

    /// Whether a head of a response came, interim ones included.
    pub fn has_answered(&self) -> bool {
        self.informational > 0
            || matches!(self.state.response, ResponseState::Body | ResponseState::Tunnel | ResponseState::Done)
    }

    /// How far a stream that the origin reset had come: what a retry is judged by. RFC 9113 §8.7
    pub fn progress(&self) -> Progress {
        if self.has_answered() {
            Progress::Answered
        } else if self.peer_code == Some(ErrorCode::RefusedStream) {
            Progress::RefusedStream
        } else if self.state.is_idle() {
            Progress::Connected
        } else {
            Progress::Written
        }
    }

    /// The exchange is given up: the stream is reset for `reason`, unless it has ended already.
    pub fn abandon(&mut self, reason: CloseReason) {
        self.end_with(Intent::Abort(reason));
    }
}
