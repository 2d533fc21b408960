//! The seams of a proxy: where whoever builds a gateway has a say in how requests are passed on.

use std::future::{Future, ready};
use std::sync::Arc;

use sheave_client::origin::Origin;
use sheave_lifecycle::time::Time;
use sheave_net::socket::Socket;
use sheave_proto::head::ResponseHead;
use sheave_server::answer::Answer;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;

/// What a gateway decides about each exchange. The proxy does the rest: connections, retries, deadlines, framing.
///
/// ```text
///  request ──► before_request ──► choose_upstream ──► origin ──► before_response ──► client
///                                   ▲         │ no connection, or lost on evidence
///                                   └─────────┤
///                                             └── no further attempt ──► on_error ──► client
/// ```
///
/// Everything is generic: what is not overridden costs nothing, and no future is boxed. [`Self::Context`] carries what an
/// exchange's seams have to tell each other.
///
/// # What can be changed
/// - Of a request its target and its fields ([`Exchange::request_mut`]); of a response its status, reason and fields. Lines of
///   `Content-Length`, `Transfer-Encoding`, `Connection`, `Keep-Alive` and `Proxy-Connection` in them mean nothing: messages are
///   framed, and connections kept or closed, by the proxy alone. `Upgrade` counts only where the client asked for it.
/// - Content is not a seam's: it passes by. A request of which a seam has read a part is not sent on, and answered with 500.
/// - Each seam can answer by itself, with [`Exchange::answer`], [`Exchange::respond`] or any other method that begins a final
///   response: the proxy does nothing more with such an exchange then. Interim responses (103) may be sent before.
///
/// # Errors
/// An error of a seam ends the exchange as one of a [`Handler`](sheave_server::handler::Handler) does: with a 500 whose label
/// is counted, or cut off visibly.
///
/// # Cancel safety
/// A seam's future may be dropped at any await point: the exchange's deadline passed, a drain was forced, or a stream was reset.
/// While it waits neither side is read from, and the deadlines of what they owe stand still; the exchange's goes on, so one
/// should be set where seams wait for others.
pub trait Gateway<S: Socket>: Send + Sync + 'static {
    /// What is kept for an exchange, made when it begins; `()` for nothing.
    type Context: Default + Send;

    /// An origin that was chosen, for as long as an attempt on it lasts: `Arc<Origin>`, or what counts attempts under way.
    type Upstream: Upstream;

    /// Whether [`Self::before_request`] and [`Self::before_response`] are there to be called. Default: yes. `false` promises
    /// that they are not, and spares an exchange a copy of what came with the response's head.
    const HAS_FILTERS: bool = true;

    /// Chooses the origin of the next attempt. Called for each attempt, but for CONNECT, whose client chooses.
    ///
    /// The request is as it will be sent: hop-by-hop fields are gone, forwarding fields are in it. What is changed here stays for
    /// later attempts.
    ///
    /// `None` says that there is none (any more): the client is told so with a 502, unless it was answered here. After an
    /// origin could not be connected to it is asked for another; one that [was tried](Attempts::has_refused) is none.
    fn choose_upstream(
        &self,
        exchange: &mut Exchange<'_, S>,
        attempts: Attempts<'_>,
        context: &mut Self::Context,
    ) -> impl Future<Output = Option<Self::Upstream>> + Send;

    /// Sees each request before anything is done with it, CONNECT too: the place to authenticate, to rewrite, to answer.
    ///
    /// The head is as the client sent it. What it says for one hop alone is removed behind this seam, and forwarding fields of
    /// clients that are not trusted are replaced, whoever put them there.
    ///
    /// # Errors
    /// As [above](Self#errors). Default: does nothing.
    fn before_request(
        &self,
        exchange: &mut Exchange<'_, S>,
        context: &mut Self::Context,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = (exchange, context);
        ready(Ok(()))
    }

    /// Sees an origin's final response before its head is written; not interim ones, nor one that switches protocols, as those
    /// are part of a handshake.
    ///
    /// The head is as it will be sent, and [`Exchange::request`] is what was sent to the origin. Another status is another head
    /// in its place; it must be a final one, and where it allows no content (204, 304) the origin's is thrown away with its
    /// connection. Answered here, so is what is left of the response. There is no retry any more.
    ///
    /// # Errors
    /// As [above](Self#errors). Default: does nothing.
    fn before_response(
        &self,
        exchange: &mut Exchange<'_, S>,
        head: &mut ResponseHead,
        context: &mut Self::Context,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = (exchange, head, context);
        ready(Ok(()))
    }

    /// Sees what the proxy is about to answer by itself: that an origin failed, after all attempts, or that a request is refused.
    ///
    /// `answer` says the cause, whether an origin may have acted on the request, how many attempts were made, on what evidence the
    /// last, and why there was no further one. It can be changed into another; logs and counters keep the first cause. Not
    /// called where the response had begun, which is cut off visibly, nor for what the server refuses before a handler sees it.
    ///
    /// # Errors
    /// As [above](Self#errors). Default: does nothing.
    fn on_error(
        &self,
        exchange: &mut Exchange<'_, S>,
        answer: &mut Answer,
        context: &mut Self::Context,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = (exchange, answer, context);
        ready(Ok(()))
    }
}

/// An origin that was chosen for one attempt. Dropped when that has ended.
pub trait Upstream: Send + Sync {
    /// The origin.
    fn origin(&self) -> &Origin;

    /// Which of the origin's addresses comes first, counted round; the others follow. Default: 0.
    fn rotation(&self) -> usize {
        0
    }

    /// No connection to it came to be, neither to one of its addresses. Default: does nothing.
    fn refused(&self, now: Time) {
        let _ = now;
    }
}

impl Upstream for Arc<Origin> {
    fn origin(&self) -> &Origin {
        self
    }
}

/// What was tried for an exchange already.
#[derive(Clone, Copy, Debug)]
pub struct Attempts<'a> {
    made: u32,
    refused: &'a [usize],
}

impl<'a> Attempts<'a> {
    pub(crate) const fn new(made: u32, refused: &'a [usize]) -> Self {
        Self { made, refused }
    }

    /// How many attempts were made.
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// Whether no connection to this origin could be had for this exchange.
    pub fn has_refused(&self, origin: &Origin) -> bool {
        !self.refused.is_empty() && self.refused.contains(&identity(origin))
    }
}

/// What tells an origin from others, as long as it is there.
pub(crate) fn identity(origin: &Origin) -> usize {
    std::ptr::from_ref(origin).addr()
}
