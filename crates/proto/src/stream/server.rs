//! The server's role: a request came in a stream, its response goes out in it.

use std::sync::Arc;

use http::{Method, Response, StatusCode, request};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::Intent;
use sheave_lifecycle::time::Time;

use super::{Content, Expectation, Stream};
use crate::config::ConnectionConfig;
use crate::error::{Misuse, ProtocolError};
use crate::framing::{self, BodyLength};
use crate::h2_head;
use crate::head::{RequestHead, ResponseHead};
use crate::role::Server;
use crate::state::{RequestState, ResponseState, Step};
use crate::version::Version;

impl Stream<Server> {
    /// A stream that a client opened with this head. `protocol` is its `:protocol`, `is_end` says that nothing follows.
    ///
    /// How long the content will be is what [`framing::request_body`] says of the head. What follows a CONNECT is not content
    /// but the tunnel's, and not to be read before [`Self::switch`].
    ///
    /// # Errors
    /// What rule the client broke: [`ProtocolError::resets_stream`] says whether the stream is reset, or answered by means of
    /// [`Self::unread`].
    pub fn open(
        config: Arc<ConnectionConfig>,
        parts: &request::Parts,
        protocol: Option<&str>,
        is_end: bool,
        now: Time,
    ) -> Result<(Self, RequestHead), ProtocolError> {
        let head = h2_head::read_request(parts, protocol, is_end, &config.limits)?;
        let expects = framing::expectation(&head)?;
        let length = framing::request_body(&head)?;
        if let (BodyLength::Known(len), Some(limit)) = (length, config.limits.max_body_bytes)
            && len > limit
        {
            return Err(ProtocolError::BodyTooLarge { limit });
        }
        let mut stream = Self::begin(config, head.method().clone(), now);
        // Frames say where it ends: a length of zero is no end.
        let has_body = !is_end && *head.method() != Method::CONNECT;
        stream.incoming = Content::of(length);
        stream.peer_has_ended = is_end;
        stream.stride(Step::RequestHead { has_body });
        stream.stride(Step::CloseAgreed);
        if has_body {
            stream.allowance = stream.config.timeouts.body_floor().map(|floor| floor.begin());
            if expects {
                stream.expectation = Expectation::Awaited;
            }
        }
        Ok((stream, head))
    }

    /// A stream whose request was refused, and is owed an answer. `method` is the request's: an answer to HEAD has no content.
    /// When that is sent, [`Self::reset_code`] says that no more of the request is wanted.
    pub fn unread(config: Arc<ConnectionConfig>, method: &Method, is_end: bool, now: Time) -> Self {
        let mut stream = Self::begin(config, method.clone(), now);
        stream.peer_has_ended = is_end;
        stream.stride(Step::RequestBroken);
        stream
    }

    /// Whether a response is owed, and none has begun: an error of our own can still be said.
    pub fn can_answer(&self) -> bool {
        self.state.response == ResponseState::Owed && self.peer_code.is_none()
    }

    /// The client did not say in time what it wants; it is owed an answer all the same.
    pub fn give_up_request(&mut self) {
        if self.state.request == RequestState::Body {
            self.stride(Step::RequestBroken);
        }
    }

    /// Whether the client waits for a 100 before it sends its content.
    pub fn awaits_continue(&self) -> bool {
        self.expectation == Expectation::Awaited && self.can_answer()
    }

    /// The version that the client speaks.
    pub fn peer_version(&self) -> Version {
        Version::Http2
    }

    /// A response's head, ready to be sent, and whether the stream ends with it. A 1xx may precede the final one.
    ///
    /// `body` says how long the content is: `None` and a length of zero end the stream here, as do HEAD, 204 and 304, where it
    /// is only what the fields declare. Otherwise [`Self::send_data`] follows, up to its end.
    ///
    /// # Errors
    /// [`Misuse`] when no response is owed, or HTTP/2 cannot carry the head. Nothing is changed then.
    pub fn send_head(
        &mut self,
        head: &ResponseHead,
        body: BodyLength,
        now: Time,
    ) -> Result<(Response<()>, bool), Misuse> {
        if !self.can_answer() {
            return Err(Misuse::WrongState);
        }
        let (response, length) = h2_head::write_response(head, &self.method, body)?;
        if head.status().is_informational() {
            if head.status() == StatusCode::CONTINUE && self.expectation == Expectation::Awaited {
                self.expectation = Expectation::Met;
            }
            self.stride(Step::Informational);
            return Ok((response, false));
        }
        self.outgoing = Content::of(length);
        let has_body = !matches!(length, BodyLength::None | BodyLength::Known(0));
        self.stride(Step::ResponseHead { has_body });
        self.since = now;
        self.settle();
        Ok((response, !has_body))
    }

    /// The head with which the stream becomes a tunnel: a 2xx to CONNECT. It never ends the stream.
    ///
    /// What is sent through it goes through [`Self::send_data`], up to its end.
    ///
    /// # Errors
    /// [`Misuse`] when no response is owed, or nobody asked for a tunnel. Nothing is changed then.
    pub fn switch(&mut self, head: &ResponseHead, now: Time) -> Result<Response<()>, Misuse> {
        if !self.can_answer() {
            return Err(Misuse::WrongState);
        }
        if self.method != Method::CONNECT || !head.status().is_success() || self.state.request != RequestState::Done {
            return Err(Misuse::SwitchWithoutUpgrade);
        }
        let (response, _) = h2_head::write_response(head, &self.method, BodyLength::None)?;
        self.become_tunnel(now);
        if self.peer_has_ended {
            self.stride(Step::RequestEnded);
        }
        Ok(response)
    }

    /// The response that is under way cannot be completed: the stream is reset, so that nobody takes it for whole.
    pub fn truncate(&mut self, reason: CloseReason) {
        self.end_with(Intent::Abort(reason));
    }
}
