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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;
    use crate::framing::BodyLength;
    use crate::target::Target;

    type Lines<'a> = &'a [(&'a str, &'a str)];

    fn fields(lines: Lines<'_>) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push_named(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn lines(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().map(|field| (field.name(), std::str::from_utf8(field.value()).unwrap())).collect()
    }

    fn connect(protocol: Option<&str>) -> RequestHead {
        let target = Target::parse(&Method::GET, b"/chat").unwrap();
        let fields = fields(&[("Host", "a"), ("sec-websocket-version", "13")]);
        RequestHead::from_stream(Method::CONNECT, target, protocol, false, fields)
    }

    fn get(target: &str, lines: Lines<'_>) -> RequestHead {
        let mut head = RequestHead::new(Method::GET, target).unwrap();
        *head.fields_mut() = fields(lines);
        head
    }

    fn response(status: u16, lines: Lines<'_>) -> ResponseHead {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        *head.fields_mut() = fields(lines);
        head
    }

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn a_stream_asks_an_origin_of_http1() {
        let (head, handshake) = request_into_http1(connect(Some("WebSocket")), *b"the sample nonce").unwrap();
        assert_eq!((head.method(), head.target(), head.protocol()), (&Method::GET, "/chat", None));
        assert_eq!(handshake.protocol(), "WebSocket");
        assert_eq!(
            lines(head.fields()),
            [
                ("Host", "a"),
                ("sec-websocket-version", "13"),
                ("Upgrade", "WebSocket"),
                ("Connection", "upgrade"),
                ("Sec-WebSocket-Key", KEY)
            ]
        );
        assert_eq!(framing::request_body(&head), Ok(BodyLength::None), "what follows is the tunnel's");
        assert_eq!(framing::upgrade(&head), Some(&b"WebSocket"[..]));

        let (head, handshake) = request_into_http1(connect(Some("masque")), [0; 16]).unwrap();
        assert!(!head.fields().contains(Known::SecWebSocketKey), "only WebSocket has one");
        assert_eq!(handshake.accept, None);
        assert_eq!(request_into_http1(connect(None), [0; 16]).map(|_| ()), Err(ProtocolError::InvalidProtocol));
    }

    #[test]
    fn only_a_switch_to_what_was_asked_for_makes_a_tunnel_of_a_stream() {
        let upgrade = ("Upgrade", "websocket");
        let accept = ("Sec-WebSocket-Accept", ACCEPT);
        let unasked = Err(ProtocolError::UnaskedSwitch);
        type Case<'a> = (u16, Lines<'a>, Result<(u16, Vec<(&'a str, &'a str)>), ProtocolError>);
        let table: &[Case<'_>] = &[
            (101, &[upgrade, accept, ("Connection", "Upgrade"), ("X", "1")], Ok((200, vec![("X", "1")]))),
            (101, &[("upgrade", "WEBSOCKET"), accept], Ok((200, vec![]))),
            (101, &[accept], unasked.clone()),
            (101, &[upgrade], unasked.clone()),
            (101, &[upgrade, ("Sec-WebSocket-Accept", "x")], unasked.clone()),
            (101, &[upgrade, accept, accept], unasked.clone()),
            (101, &[("Upgrade", "h2c"), accept], unasked.clone()),
            (101, &[("Upgrade", "websocket, h2c"), accept], unasked.clone()),
            (101, &[upgrade, upgrade, accept], unasked.clone()),
            // In a stream it would mean the opposite.
            (200, &[], unasked.clone()),
            (204, &[upgrade, accept], unasked.clone()),
            (103, &[("Link", "</a>")], Ok((103, vec![("Link", "</a>")]))),
            (403, &[("X", "1")], Ok((403, vec![("X", "1")]))),
            (302, &[("Location", "/")], Ok((302, vec![("Location", "/")]))),
        ];
        let (_, handshake) = request_into_http1(connect(Some("websocket")), *b"the sample nonce").unwrap();
        for (status, answer, expected) in table {
            let answered = handshake.into_http2(response(*status, answer));
            let seen = answered.as_ref().map(|head| (head.status().as_u16(), lines(head.fields())));
            assert_eq!(seen.map_err(|error| *error), *expected, "{status} {answer:?}");
        }
        let (_, other) = request_into_http1(connect(Some("masque")), [0; 16]).unwrap();
        assert!(other.into_http2(response(101, &[("Upgrade", "masque")])).is_ok(), "no key, no proof");
    }

    #[test]
    fn an_upgrade_asks_an_origin_of_http2() {
        let asked: Lines<'_> = &[
            ("Host", "a"),
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ];
        let (head, handshake) = request_into_http2(&get("http://a/chat?x", asked)).unwrap();
        assert_eq!((head.method(), head.protocol(), head.target()), (&Method::CONNECT, Some("websocket"), "/chat?x"));
        assert_eq!(lines(head.fields()), [("Host", "a"), ("Sec-WebSocket-Version", "13")]);

        let answered = handshake.into_http1(response(200, &[("Content-Length", "0"), ("X", "1")]));
        assert_eq!(
            (answered.status(), answered.reason()),
            (StatusCode::SWITCHING_PROTOCOLS, &b"Switching Protocols"[..])
        );
        assert_eq!(
            lines(answered.fields()),
            [("X", "1"), ("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Accept", ACCEPT)]
        );
        let refused = response(403, &[("X", "1")]);
        assert_eq!(handshake.into_http1(refused.clone()), refused);
    }

    #[test]
    fn what_cannot_be_said_in_a_stream_is_left_as_it_is() {
        let connection = ("Connection", "upgrade");
        let websocket = ("Upgrade", "websocket");
        let key = ("Sec-WebSocket-Key", KEY);
        for asked in [
            &[connection, key][..],
            &[websocket, key],
            &[connection, websocket],
            &[connection, websocket, key, key],
            &[connection, websocket, ("Sec-WebSocket-Key", "")],
            &[connection, ("Upgrade", "websocket, h2c"), key],
            &[connection, ("Upgrade", "TLS/1.0")],
            &[connection, websocket, key, ("Content-Length", "1")],
            &[connection, websocket, key, ("Transfer-Encoding", "chunked")],
        ] {
            assert_eq!(request_into_http2(&get("/", asked)), None, "{asked:?}");
        }
        assert_eq!(request_into_http2(&connect(Some("websocket"))), None);
        let mut head = RequestHead::new(Method::POST, "/").unwrap();
        *head.fields_mut() = fields(&[connection, websocket, key]);
        assert_eq!(request_into_http2(&head), None);
    }
}
