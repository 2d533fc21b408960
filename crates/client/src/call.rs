//! One exchange with an origin, over whichever version of HTTP its connection speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Deadline;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;
use sheave_proto::batch::Batch;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::version::Version;

use crate::error::CallError;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::parked::{ClientLeg, Parked};
use crate::place::Place;
use crate::reserved::Reserved;

/// One exchange with an origin. When it ended well its connection goes back to the pool by itself; dropped before, the
/// connection is closed, or its stream is reset, so that no byte of this exchange reaches the next.
pub struct Call<S: Socket>(Carrier<S>);

/// What carries it.
enum Carrier<S: Socket> {
    /// A connection of its own.
    Http1(Http1<S>),
    /// A stream among others.
    Http2(Box<Http2<S>>),
}

macro_rules! either {
    ($call:expr, $carrier:ident => $what:expr) => {
        match $call {
            Carrier::Http1($carrier) => $what,
            Carrier::Http2($carrier) => $what,
        }
    };
}

impl<S: Socket> Call<S> {
    /// An exchange on a connection that was opened for it.
    pub(crate) fn fresh(leg: ClientLeg<S>, place: Place<S>) -> Self {
        Self(Carrier::Http1(Http1::fresh(leg, place)))
    }

    /// An exchange on a connection that was parked.
    pub(crate) fn reused(parked: Parked<S>, place: Place<S>) -> Self {
        Self(Carrier::Http1(Http1::reused(parked, place)))
    }

    /// An exchange in a stream.
    pub(crate) fn stream(reserved: Reserved<S>) -> Self {
        Self(Carrier::Http2(Box::new(Http2::new(reserved))))
    }

    /// Makes it a tunnel from its first byte, without a request.
    pub(crate) fn into_tunnel(self) -> Result<Self, CallError> {
        match self.0 {
            Carrier::Http1(call) => Ok(Self(Carrier::Http1(call.into_tunnel()?))),
            // Its connection belongs to others, too.
            Carrier::Http2(_) => Err(CallError::Misuse(sheave_proto::error::Misuse::WrongState)),
        }
    }

    /// The version of HTTP that carries it.
    pub fn version(&self) -> Version {
        match self.0 {
            Carrier::Http1(_) => Version::Http11,
            Carrier::Http2(_) => Version::Http2,
        }
    }

    /// Waits until it is known what the origin takes, or that it takes nothing more: over HTTP/2, for its SETTINGS (RFC 9113
    /// §3.4), which it sends first of all. At once over HTTP/1.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn settled(&mut self) {
        match &mut self.0 {
            Carrier::Http1(_) => {}
            Carrier::Http2(call) => call.settled().await,
        }
    }

    /// Whether the origin takes a CONNECT with `:protocol` in the stream that carries this. Never over HTTP/1, where Upgrade
    /// asks for the same. RFC 8441 §3
    pub fn takes_extended_connect(&self) -> bool {
        match &self.0 {
            Carrier::Http1(_) => false,
            Carrier::Http2(call) => call.takes_extended_connect(),
        }
    }

    /// Whether the origin can say that it did not act on the request, so that one whose method promises nothing can be sent
    /// again, and its body is worth keeping. RFC 9113 §8.7
    pub fn can_be_refused(&self) -> bool {
        matches!(self.0, Carrier::Http2(_))
    }

    /// The origin's address.
    pub fn address(&self) -> SocketAddr {
        either!(&self.0, call => call.address())
    }

    /// The connection's number.
    pub fn connection_id(&self) -> ConnectionId {
        either!(&self.0, call => call.connection_id())
    }

    /// What TLS has agreed on; `None` without TLS.
    pub fn secured(&self) -> Option<&Arc<Secured>> {
        either!(&self.0, call => call.secured())
    }

    /// Whether the connection had carried an exchange before.
    pub fn is_reused(&self) -> bool {
        either!(&self.0, call => call.is_reused())
    }

    /// Writes the request's head; it leaves with the first bytes of the body, or with a flush. Over HTTP/2 a stream is opened
    /// for it.
    ///
    /// An `Upgrade` field in it offers to switch protocols, as CONNECT does: whoever leaves one in is ready for a response
    /// after which the call [is a tunnel](Self::is_tunnel).
    ///
    /// # Errors
    /// [`CallError::Misuse`] when the head cannot be sent; [`CallError::Ended`] and the like when no stream can be opened any
    /// more, so that nothing was sent.
    pub fn send_head(
        &mut self,
        head: &RequestHead,
        target: &str,
        body: BodyLength,
        now: Time,
    ) -> Result<(), CallError> {
        either!(&mut self.0, call => call.send_head(head, target, body, now))
    }

    /// Writes body: what is owed, then `data`, then the end if `is_end`. What the origin does not take at once is kept;
    /// pass on nothing more before [`Self::poll_flush`] is ready.
    ///
    /// A write that fails is not the end: an origin may answer early and close, and its answer is what counts. After it,
    /// [`Self::is_sending`] is false and the response is waited for.
    ///
    /// # Errors
    /// [`CallError::Misuse`] when this is not what was declared.
    pub fn send_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        data: &[&[u8]],
        is_end: bool,
        trailers: Option<&Fields>,
    ) -> Result<(), CallError> {
        either!(&mut self.0, call => call.send_body(cx, now, data, is_end, trailers))
    }

    /// Ready when nothing is owed to the origin any more, or nothing more can be written. After the end of our direction of a
    /// tunnel a FIN is owed, too.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<()> {
        either!(&mut self.0, call => call.poll_flush(cx, now))
    }

    /// Whether more of the request's body is to be sent; in a tunnel, whether our direction is open.
    pub fn is_sending(&self) -> bool {
        either!(&self.0, call => call.is_sending())
    }

    /// Whether it has become a tunnel; also when that has ended. From then on the response's data is what the origin sends
    /// through it, up to its FIN, and the request's body is what is sent to it, up to ours.
    pub fn is_tunnel(&self) -> bool {
        either!(&self.0, call => call.is_tunnel())
    }

    /// Why writing failed, if it did: nothing more can be sent, whatever still comes.
    pub fn write_fault(&self) -> Option<IoFault> {
        either!(&self.0, call => call.write_fault())
    }

    /// Why writing failed, where that is this machine's fault: there is no response to wait for.
    pub fn local_fault(&self) -> Option<IoFault> {
        either!(&self.0, call => call.local_fault())
    }

    /// Whether a byte of the request was given to the kernel; over HTTP/2, whether a stream was opened for it.
    pub fn has_sent_head(&self) -> bool {
        either!(&self.0, call => call.has_sent_head())
    }

    /// Whether writing failed before the kernel took a byte.
    pub fn has_written_nothing(&self) -> bool {
        either!(&self.0, call => call.has_written_nothing())
    }

    /// Whether bytes are owed to the origin.
    pub fn has_unsent(&self) -> bool {
        either!(&self.0, call => call.has_unsent())
    }

    /// Shows `forward` one read's worth of the response. Over HTTP/2 the origin's window is opened for what `forward` was shown
    /// as soon as it returns: ask again only when that was passed on.
    ///
    /// # Errors
    /// The origin failed, left or broke a rule. Parts that came before it have been shown.
    pub fn poll_response_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, ResponseHead>) -> T,
    ) -> Poll<Result<T, CallError>> {
        either!(&mut self.0, call => call.poll_response_with(cx, now, forward))
    }

    /// Says that the origin is not read from for now, because nothing more can be passed on. Its time stands still.
    pub fn rest(&mut self) {
        either!(&mut self.0, call => call.rest());
    }

    /// Whether the response is whole; in a tunnel, whether the origin has ended its direction.
    pub fn has_whole_response(&self) -> bool {
        either!(&self.0, call => call.has_whole_response())
    }

    /// Whether the response ends only with the connection.
    pub fn ends_by_close(&self) -> bool {
        either!(&self.0, call => call.ends_by_close())
    }

    /// The origin's next deadline.
    pub fn deadline(&self) -> Option<Deadline> {
        either!(&self.0, call => call.deadline())
    }

    /// The origin's deadline has passed.
    pub fn expire(&mut self) -> CallError {
        either!(&mut self.0, call => call.expire())
    }

    /// How far the exchange has come: what a retry is judged by.
    pub fn progress(&self) -> Progress {
        either!(&self.0, call => call.progress())
    }

    /// The response is whole. Where the request is not, because the origin answered early, the connection is closed, or the
    /// stream is reset.
    pub fn finish(self) {
        either!(self.0, call => call.finish());
    }

    /// Gives the exchange up: the connection is closed for `reason`, unless it has ended already, or the stream is reset, which
    /// frees the origin and leaves its neighbours alone.
    pub fn abandon(self, reason: CloseReason) {
        either!(self.0, call => call.abandon(reason));
    }
}
