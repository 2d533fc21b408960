//! What happens to connections and exchanges, told to whoever counts or logs.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::close::CloseReason;
use crate::drain::DrainPhase;
use crate::errno::IoFault;
use crate::phase::{Phase, Side};
use crate::retry::{Evidence, Sent};
use crate::ring::Ring;
use crate::time::Time;

/// A connection's number, unique in the process for each side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// A connection that came to be.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Which side.
    pub side: Side,
    /// Its number.
    pub id: ConnectionId,
    /// The other end; absent for sockets that have no address.
    pub peer: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// When.
    pub at: Time,
}

/// A connection whose ends became known better.
#[derive(Clone, Copy, Debug)]
pub struct Identified {
    /// Which side.
    pub side: Side,
    /// Its number.
    pub id: ConnectionId,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
}

/// A connection that ended.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Which side.
    pub side: Side,
    /// Its number.
    pub id: ConnectionId,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// Why.
    pub reason: CloseReason,
    /// The phase in which the reason came up.
    pub phase: Phase,
    /// How long it lived.
    pub age: Duration,
    /// How many exchanges it began.
    pub exchanges: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// The last events, for whoever must find out why.
    pub last: Ring,
}

/// A live connection that moved: for the list of live connections.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Which side.
    pub side: Side,
    /// Its number.
    pub id: ConnectionId,
    /// Where it stands now.
    pub phase: Phase,
    /// How many exchanges it began.
    pub exchanges: u64,
    /// Bytes received so far.
    pub bytes_in: u64,
    /// Bytes sent so far.
    pub bytes_out: u64,
}

/// What TLS has agreed on for a connection. Borrowed, as [`ExchangeEnd`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encryption<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name, as IANA's registry has it.
    pub cipher: &'static str,
    /// The protocol that ALPN agreed on, as its registry has it; `None` where nothing was offered.
    pub alpn: Option<&'static str>,
    /// The name that the client asked for (SNI).
    pub server_name: Option<&'a str>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
}

/// A handshake that failed: the PROXY header's, or that of TLS.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeFailed<'a> {
    /// Which side.
    pub side: Side,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// The cause. The label is stable for ever.
    pub label: &'static str,
    /// What more is known, for people.
    pub detail: &'a str,
}

/// Who made a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MadeBy {
    /// The origin, or the handler.
    Origin,
    /// We: an error of our own.
    Us,
}

impl MadeBy {
    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Us => "sheave",
        }
    }
}

/// How one exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// A response went out whole.
    Answered(MadeBy),
    /// A response was begun and cut off, or none could be sent.
    Reset,
}

/// The upstream half of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamPart {
    /// The origin's address.
    pub address: SocketAddr,
    /// The number of the connection that carried the last attempt.
    pub connection: ConnectionId,
    /// Whether that connection had carried an exchange before.
    pub is_reused: bool,
    /// From the request's head leaving to the response's head.
    pub response_after: Option<Duration>,
}

/// What logs show of a request's fields. They are looked for when they are asked for.
pub trait RequestWords: fmt::Debug + Sync {
    /// `Host`, if it was sent and is text.
    fn host(&self) -> Option<&str> {
        None
    }
    /// `User-Agent`, if it was sent and is text.
    fn user_agent(&self) -> Option<&str> {
        None
    }
    /// `Referer`, if it was sent and is text.
    fn referer(&self) -> Option<&str> {
        None
    }
}

/// Nothing was said, or it could not be read.
impl RequestWords for () {}

/// One exchange, when it is over. Borrowed: it costs nothing to whoever does not look.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeEnd<'a> {
    /// The downstream connection.
    pub connection: ConnectionId,
    /// Which exchange of this connection it was, from 1.
    pub number: u64,
    /// The client.
    pub peer: Option<SocketAddr>,
    /// The method; empty when the head could not be read.
    pub method: &'a str,
    /// The target as it came; empty when the head could not be read.
    pub target: &'a str,
    /// The version as written, such as `HTTP/1.1`.
    pub version: &'static str,
    /// What TLS has agreed on for the connection; `None` without TLS.
    pub encryption: Option<Encryption<'a>>,
    /// What else the request said that logs show.
    pub words: &'a dyn RequestWords,
    /// The status that was sent; zero when none was.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The stable label of what went wrong, if anything did.
    pub error: Option<&'static str>,
    /// Whether an origin may have acted on the request.
    pub sent: Sent,
    /// Bytes of the request's content.
    pub request_bytes: u64,
    /// Bytes of the response's content.
    pub response_bytes: u64,
    /// When the head had been read.
    pub began: Time,
    /// From the head's last byte to the response's last.
    pub took: Duration,
    /// The origin's side, if one was chosen and reached.
    pub upstream: Option<UpstreamPart>,
    /// Attempts that were made upstream.
    pub attempts: u32,
    /// The evidence on which the last retry was made.
    pub retried: Option<Evidence>,
    /// For how long it was a tunnel, if it became one. Then the request's and the response's bytes are those that went
    /// through it, too.
    pub tunnel: Option<Duration>,
}

/// Listens to the life of connections. Called on the hot path: it must neither block nor panic.
///
/// Every method has an empty body to begin with, so that an observer names only what it cares about.
pub trait Observer: Send + Sync {
    /// A connection came to be.
    fn opened(&self, _: &Opened) {}
    /// A connection's ends are others than its socket had said when it was opened: a PROXY header has named them. Called at
    /// most once for each, before its first exchange.
    fn identified(&self, _: &Identified) {}
    /// TLS was agreed on for a connection of this side: a handshake is over.
    fn secured(&self, _side: Side, _: &Encryption<'_>) {}
    /// A handshake failed. A client's connection was opened before and is closed after; one to an origin never came to be,
    /// which is told, too.
    fn handshake_failed(&self, _: &HandshakeFailed<'_>) {}
    /// A live connection moved to another phase. Not called for every step: at the beginning and end of exchanges.
    fn moved(&self, _: &Moved) {}
    /// A connection ended. Called exactly once for each that was opened.
    fn closed(&self, _: &Closed) {}
    /// A connection or a request was turned away by the limit of this name: answered with 503, or closed. Told once for
    /// each. A connection that is answered is also opened and closed; one that is closed at once never is.
    fn refused(&self, _limit: &'static str) {}
    /// The limit of this name is reached while somebody waits: nothing is accepted until there is room, and clients wait
    /// in the kernel's backlog. Told once each time that it begins.
    fn held_back(&self, _limit: &'static str) {}
    /// `accept` failed.
    fn accept_failed(&self, _: IoFault) {}
    /// An exchange on this downstream connection has become a tunnel: its end will say so, too.
    fn switched(&self, _: ConnectionId) {}
    /// Whether anybody wants to know of exchanges. Where nobody does, nothing is gathered for [`Self::exchange_ended`], which
    /// is not called. Asked at the end of each.
    fn hears_exchanges(&self) -> bool {
        true
    }
    /// An exchange is over.
    fn exchange_ended(&self, _: &ExchangeEnd<'_>) {}
    /// An origin could not be reached; no connection came to be.
    fn connect_failed(&self, _address: Option<SocketAddr>, _reason: CloseReason) {}
    /// A connection was put into the pool, and stands as is said here: that its exchange is over is not told otherwise.
    fn parked(&self, _: &Moved) {}
    /// A connection was taken from the pool for its next exchange. Over HTTP/1 that it begins is not told otherwise.
    fn reused(&self, _: ConnectionId, _parked_for: Duration) {}
    /// A parked connection was found dead by the check before reuse, or by the sweep.
    fn found_dead(&self, _: ConnectionId, _: CloseReason) {}
    /// A request is sent again.
    fn retried(&self, _: Evidence) {}
    /// A drain moved on.
    fn drain_moved(&self, _: DrainPhase) {}
}

/// Looks away.
#[derive(Clone, Copy, Default, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn hears_exchanges(&self) -> bool {
        false
    }
}
