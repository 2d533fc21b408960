//! What is remembered of an exchange for whoever counts or logs it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::observe::{
    ConnectionId, Encryption, ExchangeEnd, MadeBy, Observer, Outcome, RequestWords, UpstreamPart,
};
use sheave_lifecycle::retry::{Evidence, Sent};
use sheave_lifecycle::time::Time;
use sheave_net::leg::LegContext;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;

use crate::exchange::Exchange;

/// One exchange's numbers.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) began: Time,
    pub(crate) number: u64,
    pub(crate) status: u16,
    /// Bytes of the response were refused by the kernel.
    pub(crate) is_cut_off: bool,
    pub(crate) made_by: MadeBy,
    pub(crate) error: Option<&'static str>,
    pub(crate) sent: Sent,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) upstream: Option<UpstreamPart>,
    pub(crate) attempts: u32,
    pub(crate) retried: Option<Evidence>,
    /// When it became a tunnel.
    pub(crate) switched: Option<Time>,
}

impl<S: Socket> Exchange<'_, S> {
    /// How many bytes of the request's content were taken so far.
    pub fn request_bytes(&self) -> u64 {
        self.record.request_bytes
    }
}

impl Record {
    pub(crate) const fn new(began: Time, number: u64) -> Self {
        Self {
            began,
            number,
            status: 0,
            is_cut_off: false,
            made_by: MadeBy::Origin,
            error: None,
            sent: Sent::No,
            request_bytes: 0,
            response_bytes: 0,
            upstream: None,
            attempts: 0,
            retried: None,
            switched: None,
        }
    }

    /// Tells the observer; `head` is absent where it could not be read.
    #[expect(clippy::too_many_arguments, reason = "what is known of the connection, the head and the end")]
    pub(crate) fn tell(
        &self,
        observer: &dyn Observer,
        connection: ConnectionId,
        peer: Option<SocketAddr>,
        encryption: Option<Encryption<'_>>,
        head: Option<&RequestHead>,
        is_whole: bool,
        took: Duration,
    ) {
        let words = head.map(Words);
        observer.exchange_ended(&ExchangeEnd {
            connection,
            number: self.number,
            peer,
            method: head.map_or("", |head| head.method().as_str()),
            target: head.map_or("", RequestHead::target),
            version: head.map_or("", |head| head.version().name()),
            encryption,
            words: words.as_ref().map_or(&(), |words| words),
            status: self.status,
            outcome: if is_whole { Outcome::Answered(self.made_by) } else { Outcome::Reset },
            error: self.error,
            sent: self.sent,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            began: self.began,
            took,
            upstream: self.upstream,
            attempts: self.attempts,
            retried: self.retried,
            tunnel: self.switched.map(|at| took.saturating_sub(at.since(self.began))),
        });
    }
}

/// What a head says for logs.
#[derive(Debug)]
struct Words<'r>(&'r RequestHead);

impl RequestWords for Words<'_> {
    fn host(&self) -> Option<&str> {
        self.0.fields().get_str(Known::Host)
    }

    fn user_agent(&self) -> Option<&str> {
        self.0.fields().get_str(Known::UserAgent)
    }

    fn referer(&self) -> Option<&str> {
        self.0.fields().get_str(Known::Referer)
    }
}

/// A request that was refused, told when it is dropped.
pub(crate) struct Refusal<'r> {
    pub(crate) context: Arc<LegContext>,
    pub(crate) record: Record,
    pub(crate) id: ConnectionId,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) secured: Option<Arc<Secured>>,
    pub(crate) request: Option<&'r RequestHead>,
    pub(crate) is_whole: bool,
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        let took = self.context.clock.now().since(self.record.began);
        let encryption = self.secured.as_deref().map(Secured::told);
        let observer = &*self.context.observer;
        self.record.tell(observer, self.id, self.peer, encryption, self.request, self.is_whole, took);
    }
}
