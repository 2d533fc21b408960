//! What carries an exchange: a connection of HTTP/1, or a stream of HTTP/2. One interface for both.

use sheave_lifecycle::errno::Op;
use sheave_net::socket::Socket;
use sheave_proto::error::ProtocolError;
use sheave_proto::state::{RequestState, ResponseState, State};

use crate::http1::Http1;
use crate::http2::stream::Http2;

/// What carries an exchange.
///
/// An enum and not a trait object: what is done for each byte stays a call that the compiler sees through.
pub(crate) enum Carrier<'c, S: Socket> {
    /// A connection of HTTP/1, whole.
    Http1(Http1<'c, S>),
    /// One stream of a connection of HTTP/2.
    Http2(&'c mut Http2),
}

/// Calls the same method, whatever carries the exchange.
macro_rules! carried {
    ($carrier:expr, $it:ident => $call:expr) => {
        match $carrier {
            $crate::carrier::Carrier::Http1($it) => $call,
            $crate::carrier::Carrier::Http2($it) => $call,
        }
    };
}

pub(crate) use carried;

/// Whether more of the request, or of what the client sends through a tunnel, is to come.
pub(crate) const fn is_receiving(state: State) -> bool {
    matches!(state.request, RequestState::Body | RequestState::Tunnel)
}

/// Whether more of the response, or of what is sent through a tunnel, is to go.
pub(crate) const fn is_answering(state: State) -> bool {
    matches!(state.response, ResponseState::Owed | ResponseState::Body | ResponseState::Tunnel)
}

/// Why nothing more comes from, or goes to, the client of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// It broke a rule, and may be told so.
    Broken(ProtocolError),
    /// The kernel, or TLS, said so in such an operation; the label says what.
    Fault(Op, &'static str),
    /// It is gone, or its end cannot be trusted; the label says how.
    Gone(&'static str),
}
