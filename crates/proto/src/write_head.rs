//! Heads into bytes: our own framing and our own Connection, never a peer's.

use bytes::BytesMut;
use http::{Method, StatusCode};

use crate::error::Misuse;
use crate::framing::{BodyLength, allows_content};
use crate::grammar::is_target;
use crate::head::RequestHead;
use crate::known::Known;
use crate::known_set::KnownSet;
use crate::mapped_head::AnyResponseHead;
use crate::version::Version;

/// What a message says about the connection after it (RFC 9110 §7.6.1, RFC 9112 §9.6).
///
/// Connection is written at the moment of writing and from nothing else: no line of that name in the fields, whoever put
/// it there, is ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionField {
    /// Nothing. That means `close` to a peer of HTTP/1.0 and keep-alive to all others.
    Omit,
    /// `close`.
    Close,
    /// `keep-alive`, for a peer of HTTP/1.0. In a response to anyone else it is left out: there it is the default.
    KeepAlive,
    /// `keep-alive`, and how many seconds an idle connection stays open at least: `Keep-Alive: timeout=`. For a peer of any
    /// version, in a response.
    KeepAliveFor(u32),
    /// `upgrade`. The Upgrade lines of the fields are sent; with any other value they are left out, but in a 426, which
    /// must have them (RFC 9110 §15.5.22).
    Upgrade,
}

/// Room for a start line's fixed parts and the lines that are written here.
const OWN_BYTES: usize = 128;

/// Appends a request head to `out`, as HTTP/1.1. `target` is what stands in the request line: `head.path_and_query()`
/// for an origin server, `head.target()` for another proxy.
///
/// The fields follow in their order, but for Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Content-Length
/// and, as [`ConnectionField`] says, Upgrade. Framing is written for `body`: nothing for `None`, so whoever owes a
/// `Content-Length: 0` (RFC 9110 §8.6: POST without content) passes `Known(0)`. A TE line is named in Connection.
///
/// # Errors
/// [`Misuse::InvalidTarget`], [`Misuse::MissingHost`] and [`Misuse::RepeatedHost`] (RFC 9112 §3.2),
/// [`Misuse::RequestUntilClose`] (RFC 9112 §6.3). Nothing is written then.
pub fn write_request_head(
    out: &mut BytesMut,
    head: &RequestHead,
    target: &str,
    body: BodyLength,
    connection: ConnectionField,
) -> Result<(), Misuse> {
    let fields = head.fields();
    // A CONNECT that asks for a protocol has a path for its target, which HTTP/1 would not understand (RFC 8441 §5).
    let is_right = head.holds_target(target) || (!target.is_empty() && is_target(target.as_bytes()));
    if !is_right || head.protocol().is_some() {
        return Err(Misuse::InvalidTarget);
    }
    match fields.count(Known::Host) {
        0 => return Err(Misuse::MissingHost),
        1 => {}
        _ => return Err(Misuse::RepeatedHost),
    }
    if body == BodyLength::UntilClose {
        return Err(Misuse::RequestUntilClose);
    }
    let method = head.method().as_str().as_bytes();
    out.reserve(method.len() + target.len() + fields.written_bytes() + OWN_BYTES);
    out.extend_from_slice(method);
    out.extend_from_slice(b" ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let upgrade = connection == ConnectionField::Upgrade;
    fields.write_to(out, not_sent(upgrade));
    write_framing(out, body);
    write_connection(
        out,
        &[
            (connection == ConnectionField::Close, b"close"),
            (matches!(connection, ConnectionField::KeepAlive | ConnectionField::KeepAliveFor(_)), b"keep-alive"),
            (upgrade, b"upgrade"),
            // RFC 9110 §10.1.4: a sender of TE names it in Connection.
            (fields.contains(Known::Te), b"TE"),
        ],
    );
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends a response head to `out`, as HTTP/1.1, for a client that speaks `peer` and asked with `request_method`. Says
/// how the content behind it is to be written:
///
/// - where there can be none (RFC 9110 §6.4.1), `None`. In answers to HEAD and in 304 the framing of `body` is written
///   all the same, for what a GET would have got (RFC 9110 §8.6); 1xx, 204 and a 2xx to CONNECT carry none;
/// - otherwise `None` counts as `Known(0)`, since a client would wait for the connection's end;
/// - `Chunked` becomes `UntilClose` for a peer of HTTP/1.0 (RFC 9112 §6.1), and with `UntilClose` the head says `close`,
///   whatever `connection` is.
///
/// The fields follow in their order, with the same exceptions as in [`write_request_head`].
///
/// # Errors
/// [`Misuse::InformationalToHttp10`] (RFC 9110 §15.2); [`Misuse::SwitchWithoutUpgrade`] for a 101 without an Upgrade
/// line, or with another `connection` than `Upgrade` (RFC 9110 §7.8). Nothing is written then.
pub fn write_response_head(
    out: &mut BytesMut,
    head: &impl AnyResponseHead,
    request_method: &Method,
    peer: Version,
    body: BodyLength,
    connection: ConnectionField,
) -> Result<BodyLength, Misuse> {
    let status = head.status();
    if status.is_informational() && peer < Version::Http11 {
        return Err(Misuse::InformationalToHttp10);
    }
    let upgrade = connection == ConnectionField::Upgrade;
    if status == StatusCode::SWITCHING_PROTOCOLS && !(upgrade && head.contains(Known::Upgrade)) {
        return Err(Misuse::SwitchWithoutUpgrade);
    }
    let upgrade = upgrade || (status == StatusCode::UPGRADE_REQUIRED && head.contains(Known::Upgrade));
    let (declared, effective) = response_framing(status, request_method, peer, body);

    out.reserve(head.reason().len() + head.written_bytes() + OWN_BYTES);
    out.extend_from_slice(&status_line(status));
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    head.write_to(out, not_sent(upgrade));
    write_framing(out, declared);
    let close = connection == ConnectionField::Close || effective == BodyLength::UntilClose;
    let promise = match connection {
        ConnectionField::KeepAliveFor(seconds) if !close => Some(seconds),
        _ => None,
    };
    let keep_alive = connection == ConnectionField::KeepAlive && peer < Version::Http11 && !close;
    write_connection(
        out,
        &[(close, b"close"), (keep_alive || promise.is_some(), b"keep-alive"), (upgrade, b"upgrade")],
    );
    if let Some(seconds) = promise {
        // RFC 9112 Appendix C.2.2 names the field; its parameters are RFC 2068's, and what clients read.
        out.extend_from_slice(b"Keep-Alive: timeout=");
        out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(effective)
}

/// What the head declares, and how the content is to be written.
fn response_framing(
    status: StatusCode,
    request_method: &Method,
    peer: Version,
    body: BodyLength,
) -> (BodyLength, BodyLength) {
    let body = match body {
        BodyLength::Chunked if peer < Version::Http11 => BodyLength::UntilClose,
        body => body,
    };
    if allows_content(status, request_method) {
        let body = if body == BodyLength::None { BodyLength::Known(0) } else { body };
        return (body, body);
    }
    // RFC 9110 §8.6, RFC 9112 §6.1: no framing in 1xx, 204 and a 2xx to CONNECT.
    let is_bare = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || (*request_method == Method::CONNECT && status.is_success());
    (if is_bare { BodyLength::None } else { body }, BodyLength::None)
}

/// The status line up to the reason.
fn status_line(status: StatusCode) -> [u8; 13] {
    let mut line = *b"HTTP/1.1 000 ";
    line[9..12].copy_from_slice(status.as_str().as_bytes());
    line
}

/// The lines of the fields that are not sent: what is ours to write, whatever stands in it.
const fn not_sent(upgrade: bool) -> KnownSet {
    const OURS: KnownSet = KnownSet::of(&[
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::TransferEncoding,
        Known::ContentLength,
    ]);
    const AND_UPGRADE: KnownSet = OURS.with(KnownSet::of(&[Known::Upgrade]));
    if upgrade { OURS } else { AND_UPGRADE }
}

/// The only place that writes Content-Length and Transfer-Encoding.
fn write_framing(out: &mut BytesMut, body: BodyLength) {
    match body {
        BodyLength::Known(len) => {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
}

/// The only place that writes Connection, in both roles: one line with the options that apply, or none.
// Inline, as which options there are is known where it is called; mostly none applies.
#[inline(always)]
fn write_connection(out: &mut BytesMut, options: &[(bool, &[u8])]) {
    let mut before: &[u8] = b"Connection: ";
    for (_, option) in options.iter().filter(|(applies, _)| *applies) {
        out.extend_from_slice(before);
        out.extend_from_slice(option);
        before = b", ";
    }
    if before == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::ResponseHead;
    use ConnectionField::{Close, KeepAlive, KeepAliveFor, Omit, Upgrade};

    type Lines<'a> = &'a [(&'a str, &'a str)];

    fn request(method: Method, lines: Lines<'_>) -> RequestHead {
        let target = if method == Method::CONNECT { "a:1" } else { "/p?q" };
        let mut head = RequestHead::new(method, target).unwrap();
        for (name, value) in lines {
            head.fields_mut().push_named(name, value.as_bytes()).unwrap();
        }
        head
    }

    fn response(status: u16, lines: Lines<'_>) -> ResponseHead {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in lines {
            head.fields_mut().push_named(name, value.as_bytes()).unwrap();
        }
        head
    }

    fn text(out: &BytesMut) -> &str {
        std::str::from_utf8(out).unwrap()
    }

    const HOST: (&str, &str) = ("Host", "a");

    /// Lines that a peer or a handler might have put in, and that are never sent.
    const FOREIGN: Lines<'_> = &[
        HOST,
        ("Connection", "keep-alive, x"),
        ("connection", "close"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "99"),
        ("Upgrade", "h2c"),
        ("X", "1"),
    ];

    #[test]
    fn requests() {
        let table: &[(Lines<'_>, BodyLength, ConnectionField, &str)] = &[
            (&[HOST], BodyLength::None, Omit, "GET /p?q HTTP/1.1\r\nHost: a\r\n\r\n"),
            (&[HOST], BodyLength::None, Close, "GET /p?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            (&[HOST], BodyLength::None, KeepAlive, "GET /p?q HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
            (&[HOST], BodyLength::Known(0), Omit, "GET /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
            (
                &[("x", "y"), HOST],
                BodyLength::Known(u64::MAX),
                Omit,
                "GET /p?q HTTP/1.1\r\nx: y\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            ),
            (
                FOREIGN,
                BodyLength::Chunked,
                Omit,
                "GET /p?q HTTP/1.1\r\nHost: a\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (FOREIGN, BodyLength::None, Close, "GET /p?q HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: close\r\n\r\n"),
            (
                &[HOST, ("Upgrade", "websocket")],
                BodyLength::None,
                Upgrade,
                "GET /p?q HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            ),
            (
                &[HOST, ("TE", "trailers")],
                BodyLength::None,
                Close,
                "GET /p?q HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n",
            ),
        ];
        for (lines, body, connection, expected) in table {
            let head = request(Method::GET, lines);
            let mut out = BytesMut::from("before ");
            write_request_head(&mut out, &head, head.path_and_query(), *body, *connection).unwrap();
            assert_eq!(text(&out).strip_prefix("before "), Some(*expected));
        }
    }

    #[test]
    fn targets_of_requests() {
        let mut out = BytesMut::new();
        let connect = request(Method::CONNECT, &[HOST]);
        write_request_head(&mut out, &connect, connect.path_and_query(), BodyLength::None, Omit).unwrap();
        assert_eq!(text(&out), "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");

        let mut head = request(Method::OPTIONS, &[HOST]);
        head.set_target("http://b:2").unwrap();
        for (target, line) in
            [(head.path_and_query(), "OPTIONS * HTTP/1.1"), (head.target(), "OPTIONS http://b:2 HTTP/1.1")]
        {
            out.clear();
            write_request_head(&mut out, &head, target, BodyLength::None, Omit).unwrap();
            assert_eq!(text(&out).lines().next(), Some(line));
        }
    }

    #[test]
    fn requests_that_are_not_written() {
        let head = request(Method::GET, &[HOST]);
        let no_host = request(Method::GET, &[]);
        let two_hosts = request(Method::GET, &[HOST, HOST]);
        let table = [
            (&head, "/", BodyLength::UntilClose, Misuse::RequestUntilClose),
            (&head, "", BodyLength::None, Misuse::InvalidTarget),
            (&head, "/ HTTP/1.1\r\nX: ", BodyLength::None, Misuse::InvalidTarget),
            (&head, "/a b", BodyLength::None, Misuse::InvalidTarget),
            (&no_host, "/", BodyLength::None, Misuse::MissingHost),
            (&two_hosts, "/", BodyLength::None, Misuse::RepeatedHost),
        ];
        for (head, target, body, misuse) in table {
            let mut out = BytesMut::new();
            assert_eq!(write_request_head(&mut out, head, target, body, Omit), Err(misuse));
            assert!(out.is_empty());
        }
    }

    const PROMISE: &str = "Connection: keep-alive\r\nKeep-Alive: timeout=67\r\n";

    #[test]
    fn responses() {
        use BodyLength::{Chunked, Known, None, UntilClose};
        use Version::{Http10, Http11};
        let (get, head, connect) = (Method::GET, Method::HEAD, Method::CONNECT);
        // Status, method, peer, body, connection; then the lines behind the status line, and how content is written.
        let table: &[(u16, &Method, Version, BodyLength, ConnectionField, &str, BodyLength)] = &[
            (200, &get, Http11, Known(5), Omit, "Content-Length: 5\r\n", Known(5)),
            (200, &get, Http11, Chunked, Omit, "Transfer-Encoding: chunked\r\n", Chunked),
            // Without a word a client would wait for the connection's end.
            (200, &get, Http11, None, Omit, "Content-Length: 0\r\n", Known(0)),
            (205, &get, Http11, None, Omit, "Content-Length: 0\r\n", Known(0)),
            (200, &get, Http11, Known(5), Close, "Content-Length: 5\r\nConnection: close\r\n", Known(5)),
            (200, &get, Http11, Known(5), KeepAlive, "Content-Length: 5\r\n", Known(5)),
            (200, &get, Http10, Known(5), KeepAlive, "Content-Length: 5\r\nConnection: keep-alive\r\n", Known(5)),
            (200, &get, Http10, Known(5), Omit, "Content-Length: 5\r\n", Known(5)),
            // A promise is for everybody, but not beside `close`.
            (200, &get, Http11, Known(5), KeepAliveFor(67), &format!("Content-Length: 5\r\n{PROMISE}"), Known(5)),
            (200, &get, Http10, Known(5), KeepAliveFor(67), &format!("Content-Length: 5\r\n{PROMISE}"), Known(5)),
            (200, &get, Http10, Chunked, KeepAliveFor(67), "Connection: close\r\n", UntilClose),
            // No chunks to HTTP/1.0; and what ends with the connection says so.
            (200, &get, Http10, Chunked, KeepAlive, "Connection: close\r\n", UntilClose),
            (200, &get, Http11, UntilClose, Omit, "Connection: close\r\n", UntilClose),
            (200, &get, Http10, UntilClose, Close, "Connection: close\r\n", UntilClose),
            // HEAD and 304 say what a GET would have got.
            (200, &head, Http11, Known(5), Omit, "Content-Length: 5\r\n", None),
            (200, &head, Http11, Chunked, Omit, "Transfer-Encoding: chunked\r\n", None),
            (200, &head, Http10, Chunked, KeepAlive, "Connection: keep-alive\r\n", None),
            (200, &head, Http11, UntilClose, Omit, "", None),
            (404, &head, Http11, None, Omit, "", None),
            (304, &get, Http11, Known(5), Omit, "Content-Length: 5\r\n", None),
            (304, &get, Http11, None, Close, "Connection: close\r\n", None),
            // These say nothing.
            (204, &get, Http11, Known(5), Omit, "", None),
            (204, &head, Http11, Known(5), Close, "Connection: close\r\n", None),
            (100, &get, Http11, Known(5), Omit, "", None),
            (103, &get, Http11, Chunked, Omit, "", None),
            (200, &connect, Http11, Chunked, Omit, "", None),
            (407, &connect, Http11, Known(5), Omit, "Content-Length: 5\r\n", Known(5)),
        ];
        for (status, method, peer, body, connection, lines, effective) in table {
            let head = response(*status, FOREIGN);
            let mut out = BytesMut::new();
            let written = write_response_head(&mut out, &head, method, *peer, *body, *connection);
            let reason = head.status().canonical_reason().unwrap();
            let expected = format!("HTTP/1.1 {status} {reason}\r\nHost: a\r\nX: 1\r\n{lines}\r\n");
            assert_eq!((text(&out), written), (&expected[..], Ok(*effective)), "{status} {method} {peer} {body:?}");
        }
    }

    #[test]
    fn reasons_are_kept() {
        let mut head = response(299, &[]);
        let mut out = BytesMut::new();
        write_response_head(&mut out, &head, &Method::GET, Version::Http11, BodyLength::None, Omit).unwrap();
        assert_eq!(text(&out), "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
        head.set_reason(b"Very Well").unwrap();
        assert!(head.set_reason(b"a\r\nB: c").is_err());
        out.clear();
        write_response_head(&mut out, &head, &Method::GET, Version::Http11, BodyLength::None, Omit).unwrap();
        assert_eq!(text(&out), "HTTP/1.1 299 Very Well\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn switching_protocols() {
        let head = response(101, &[("Upgrade", "websocket"), ("Connection", "Upgrade")]);
        let mut out = BytesMut::new();
        let write = |out: &mut BytesMut, head: &ResponseHead, peer, connection| {
            write_response_head(out, head, &Method::GET, peer, BodyLength::None, connection)
        };
        assert_eq!(write(&mut out, &head, Version::Http11, Upgrade), Ok(BodyLength::None));
        assert_eq!(text(&out), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
        out.clear();
        let bare = response(101, &[]);
        assert_eq!(write(&mut out, &head, Version::Http11, Omit), Err(Misuse::SwitchWithoutUpgrade));
        assert_eq!(write(&mut out, &bare, Version::Http11, Upgrade), Err(Misuse::SwitchWithoutUpgrade));
        assert_eq!(write(&mut out, &head, Version::Http10, Upgrade), Err(Misuse::InformationalToHttp10));
        assert_eq!(write(&mut out, &response(103, &[]), Version::Http10, Omit), Err(Misuse::InformationalToHttp10));
        assert!(out.is_empty());

        let required = response(426, &[("Upgrade", "TLS/1.3")]);
        write(&mut out, &required, Version::Http11, Close).unwrap();
        assert_eq!(
            text(&out),
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.3\r\nContent-Length: 0\r\nConnection: close, upgrade\r\n\r\n"
        );
    }
}
