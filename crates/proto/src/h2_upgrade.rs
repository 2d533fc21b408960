//! The same tunnel in both protocols' words: Upgrade in HTTP/1, CONNECT with `:protocol` in HTTP/2. RFC 8441

use http::{Method, StatusCode};

use crate::error::ProtocolError;
use crate::framing;
use crate::grammar::is_token;
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::version::Version;

mod accept;

use accept::{Accept, Key, accept_for, base64};

/// The protocol that has a handshake of its own beside the Upgrade. RFC 6455
const WEBSOCKET: &str = "websocket";

/// What the answer to a translated request is held against, and made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    protocol: Box<str>,
    /// What Sec-WebSocket-Accept must say, or will.
    accept: Option<Accept>,
}

impl Handshake {
    /// The protocol, in the client's spelling.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// An HTTP/1 origin's answer, as a client of HTTP/2 expects it: a 101 that takes the offer becomes a 200 without the
    /// handshake, with which the stream is a tunnel. Any other status but a 2xx is passed on as it is.
    ///
    /// # Errors
    /// [`ProtocolError::UnaskedSwitch`] for a 101 that names another protocol, or whose Sec-WebSocket-Accept is not the one
    /// that the key asks for (RFC 6455 §4.1); and for a 2xx, which says that the origin did not switch, and would mean here
    /// that it did. A proxy answers 502.
    pub fn into_http2(&self, mut head: ResponseHead) -> Result<ResponseHead, ProtocolError> {
        if head.status().is_success() {
            return Err(ProtocolError::UnaskedSwitch);
        }
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(head);
        }
        let fields = head.fields_mut();
        let mut upgrades = fields.list(Known::Upgrade);
        let is_taken = upgrades.next().is_some_and(|name| name.eq_ignore_ascii_case(self.protocol.as_bytes()));
        if !is_taken || upgrades.next().is_some() {
            return Err(ProtocolError::UnaskedSwitch);
        }
        drop(upgrades);
        let mut accepts = fields.get_all(Known::SecWebSocketAccept);
        if let Some(accept) = &self.accept
            && (accepts.next() != Some(accept.as_slice()) || accepts.next().is_some())
        {
            return Err(ProtocolError::UnaskedSwitch);
        }
        drop(accepts);
        for name in [Known::Upgrade, Known::Connection, Known::SecWebSocketAccept] {
            fields.remove(name);
        }
        Ok(head.into_status(StatusCode::OK))
    }

    /// An HTTP/2 origin's answer, as a client of HTTP/1 expects it: a 2xx becomes a 101 with the handshake that the client's
    /// key asks for. Anything else is passed on as it is.
    #[must_use]
    pub fn into_http1(&self, mut head: ResponseHead) -> ResponseHead {
        if !head.status().is_success() {
            return head;
        }
        let fields = head.fields_mut();
        fields.remove(Known::ContentLength);
        // Tokens and base64 are values that can be sent.
        let _ = fields.set(Known::Upgrade, self.protocol.as_bytes());
        let _ = fields.set(Known::Connection, b"upgrade");
        if let Some(accept) = &self.accept {
            let _ = fields.set(Known::SecWebSocketAccept, accept);
        }
        head.into_status(StatusCode::SWITCHING_PROTOCOLS)
    }
}

/// A CONNECT with `:protocol` as an HTTP/1 origin expects it: a GET with Upgrade and Connection, and for WebSocket with a key
/// made of `random`, which nobody must be able to guess (RFC 8441 §5, RFC 6455 §4.1). The target and the other fields stay.
///
/// # Errors
/// [`ProtocolError::InvalidProtocol`] for a request that asks for no protocol.
pub fn request_into_http1(head: RequestHead, random: [u8; 16]) -> Result<(RequestHead, Handshake), ProtocolError> {
    let Some(protocol) = head.protocol().map(Box::<str>::from) else { return Err(ProtocolError::InvalidProtocol) };
    let mut head = head.into_asking(Method::GET, None);
    let fields = head.fields_mut();
    let invalid = |_| ProtocolError::InvalidProtocol;
    fields.set(Known::Upgrade, protocol.as_bytes()).map_err(invalid)?;
    fields.set(Known::Connection, b"upgrade").map_err(invalid)?;
    let mut accept = None;
    if protocol.eq_ignore_ascii_case(WEBSOCKET) {
        let key: Key = base64(&random);
        fields.set(Known::SecWebSocketKey, &key).map_err(invalid)?;
        accept = Some(accept_for(&key));
    }
    Ok((head, Handshake { protocol, accept }))
}

/// A GET with Upgrade as an HTTP/2 origin expects it: a CONNECT with `:protocol`, without the handshake, whose answer
/// [`Handshake::into_http1`] makes up.
///
/// `None` where it cannot be said so: another method, a request with content, no offer or one of several protocols, or a
/// WebSocket without exactly one key. Then the request is not translated, and may be answered without switching.
#[must_use]
pub fn request_into_http2(head: &RequestHead) -> Option<(RequestHead, Handshake)> {
    let is_bare = matches!(framing::request_body(head), Ok(framing::BodyLength::None));
    if *head.method() != Method::GET || head.version() == Version::Http2 || !is_bare {
        return None;
    }
    let protocol = framing::upgrade(head).filter(|protocol| is_token(protocol))?;
    let protocol: Box<str> = std::str::from_utf8(protocol).ok()?.into();
    let mut accept = None;
    if protocol.eq_ignore_ascii_case(WEBSOCKET) {
        let mut keys = head.fields().get_all(Known::SecWebSocketKey);
        accept = Some(accept_for(keys.next().filter(|key| !key.is_empty())?));
        if keys.next().is_some() {
            return None;
        }
    }
    let mut head = head.clone().into_asking(Method::CONNECT, Some(&protocol));
    // A target that named its host says it by Host alone from here on.
    let path = head.path_and_query().to_owned();
    head.set_target(&path).ok()?;
    for name in [Known::Upgrade, Known::Connection, Known::SecWebSocketKey] {
        head.fields_mut().remove(name);
    }
    Some((head, Handshake { protocol, accept }))
}
