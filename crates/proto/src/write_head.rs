//! Heads into bytes: our own framing and our own Connection, never a peer's.

use bytes::BytesMut;
use http::Method;

use crate::error::Misuse;
use crate::framing::BodyLength;
use crate::head::{RequestHead, ResponseHead};
use crate::version::Version;

/// What the message says about the connection after it (RFC 9112 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionField {
    /// Nothing: the version's default holds. For a 1.0 peer that means `close`.
    Omit,
    /// `close`.
    Close,
    /// `keep-alive`, written only to a peer of HTTP/1.0.
    KeepAlive,
    /// `upgrade`: the head's Upgrade lines are written. With any other value they are left out (but for 426, which needs
    /// them: RFC 9110 §15.5.22).
    Upgrade,
}

/// Writes a request head. `target` is what stands in the request line, such as the head's `path_and_query()`.
///
/// Every Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding and Content-Length line in the fields is left out.
pub fn write_request_head(
    out: &mut BytesMut,
    head: &RequestHead,
    target: &str,
    body: BodyLength,
    connection: ConnectionField,
) -> Result<(), Misuse> {
    let _ = (out, head, target, body, connection);
    Err(Misuse::WrongState)
}

/// Writes a response head and says how its content is to be written: `None` where there can be none (then `body` is what
/// the fields declare, for HEAD and 304), `UntilClose` instead of `Chunked` for a peer of HTTP/1.0.
pub fn write_response_head(
    out: &mut BytesMut,
    head: &ResponseHead,
    request_method: &Method,
    peer: Version,
    body: BodyLength,
    connection: ConnectionField,
) -> Result<BodyLength, Misuse> {
    let _ = (out, head, request_method, peer, body, connection);
    Err(Misuse::WrongState)
}
