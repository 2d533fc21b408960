//! Which protocols clients may switch to through the proxy.

use http::{Method, StatusCode};
use sheave_proto::fields::Fields;
use sheave_proto::framing;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;

/// What is HTTP itself: switching to it would take the rest of the connection out of our sight. RFC 9113 §3.1
const NEVER: [&str; 3] = ["h2c", "h2", "http"];

/// Whether it may be configured: `name` or `name/version`, each a token, and not HTTP. RFC 9110 §7.8
#[must_use]
pub fn is_protocol(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let (name, version) = name_and_version(text.as_bytes());
    text.split('/').all(is_token)
        && version.is_none_or(|version| !version.contains(&b'/'))
        && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
}

fn name_and_version(protocol: &[u8]) -> (&[u8], Option<&[u8]>) {
    match protocol.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&protocol[..slash], Some(&protocol[slash + 1..])),
        None => (protocol, None),
    }
}

/// Whether one of `upgrades` stands for this protocol.
pub(crate) fn allows(upgrades: &[String], protocol: &[u8]) -> bool {
    upgrades.iter().any(|allowed| {
        let wanted = if allowed.contains('/') { protocol } else { name_and_version(protocol).0 };
        wanted.eq_ignore_ascii_case(allowed.as_bytes())
    })
}

/// Of the protocols that the Upgrade lines name, those that are allowed, as one list in their order.
fn allowed(fields: &Fields, upgrades: &[String]) -> Option<Vec<u8>> {
    let mut list: Vec<u8> = Vec::new();
    for protocol in fields.list(Known::Upgrade).filter(|protocol| allows(upgrades, protocol)) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(protocol);
    }
    (!list.is_empty()).then_some(list)
}

/// What of a request's offer is passed on, to be read before its fields are stripped. The rest is as if it had not been
/// said, which is what RFC 9110 §7.8 lets a server do.
pub(crate) fn offer(head: &RequestHead, upgrades: &[String]) -> Option<Vec<u8>> {
    // A 2xx to CONNECT is a tunnel already.
    if *head.method() == Method::CONNECT {
        return None;
    }
    framing::upgrade(head).and_then(|_| allowed(head.fields(), upgrades))
}

/// What of a response's Upgrade is passed on, to be read before its fields are stripped: in a 101, what is switched to; in
/// a 426, what is asked for (RFC 9110 §15.5.22). Anywhere else it is for this hop alone.
pub(crate) fn answer(head: &ResponseHead, upgrades: &[String]) -> Option<Vec<u8>> {
    match head.status() {
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED => allowed(head.fields(), upgrades),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_configured() {
        for text in ["websocket", "WebSocket", "IRC/6.9", "TLS/1.0", "x-tunnel", "connect-udp"] {
            assert!(is_protocol(text), "{text}");
        }
        for text in ["", "/", "a/", "/1", "a/1/2", "a b", "a,b", "h2c", "H2C", "h2", "HTTP/2.0", "http", "a\r\n"] {
            assert!(!is_protocol(text), "{text}");
        }
    }

    #[test]
    fn what_is_passed_on() {
        let upgrades = ["websocket".to_owned(), "irc/6.9".to_owned()];
        for (lines, version_and_connection, passed) in [
            (&["websocket"][..], "Upgrade", Some("websocket")),
            (&["WebSocket"], "keep-alive, upgrade", Some("WebSocket")),
            (&["websocket/13"], "upgrade", Some("websocket/13")),
            (&["h2c, websocket,IRC/6.9 , IRC/7"], "upgrade", Some("websocket, IRC/6.9")),
            (&["h2c"], "upgrade", None),
            (&["irc"], "upgrade", None),
            (&["websockets"], "upgrade", None),
            (&[""], "upgrade", None),
            (&["websocket"], "keep-alive", None),
            (&["websocket", "websocket"], "upgrade", None),
        ] {
            let mut head = RequestHead::new(Method::GET, "/").expect("a target");
            head.fields_mut().push(Known::Connection, version_and_connection.as_bytes()).expect("a value");
            for line in lines {
                head.fields_mut().push(Known::Upgrade, line.as_bytes()).expect("a value");
            }
            let passed = passed.map(|list| list.as_bytes().to_vec());
            assert_eq!(offer(&head, &upgrades), passed, "{lines:?} {version_and_connection}");
            assert_eq!(offer(&head, &[]), None);
        }
    }

    #[test]
    fn what_comes_back() {
        let upgrades = ["websocket".to_owned()];
        for (status, value, passed) in [
            (101, "WebSocket", Some("WebSocket")),
            (426, "h2c, websocket", Some("websocket")),
            (426, "h2c", None),
            (200, "websocket", None),
        ] {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).expect("a status"));
            head.fields_mut().push(Known::Upgrade, value.as_bytes()).expect("a value");
            assert_eq!(answer(&head, &upgrades), passed.map(|list| list.as_bytes().to_vec()), "{status} {value}");
        }
    }
}
