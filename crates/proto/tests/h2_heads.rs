//! Heads of HTTP/2: what is refused, what crosses, and that nothing comes out of them that HTTP/1 would read otherwise.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{self, PathAndQuery, Scheme, Uri};
use http::{Method, StatusCode};
use proptest::prelude::*;
use sheave_proto::error::{Misuse, ProtocolError as E};
use sheave_proto::fields::Fields;
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::h2_head::{
    read_request, read_response, read_trailers, write_request, write_response, write_trailers,
};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;
use sheave_proto::limits::Limits;
use sheave_proto::read_head::{RequestReader, ResponseReader};
use sheave_proto::target::TargetForm;
use sheave_proto::version::Version;
use sheave_proto::write_head::{ConnectionField, write_request_head, write_response_head};

type Lines<'a> = &'a [(&'a str, &'a [u8])];

/// As a framing layer makes it out of a header block: names and values as strict as those types are, and no stricter.
fn map(lines: Lines<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_lowercase(name.as_bytes()).expect("a name that a framing layer lets through");
        map.append(name, HeaderValue::from_bytes(value).expect("a value that a framing layer lets through"));
    }
    map
}

/// The target as a framing layer makes it out of the pseudo-fields.
fn target(scheme: Option<&str>, authority: Option<&str>, path: Option<&str>) -> Uri {
    let mut parts = uri::Parts::default();
    parts.authority = authority.map(|authority| authority.parse().expect("an authority that is let through"));
    // Without an authority there is no place for it.
    parts.scheme = authority.and(scheme).map(|scheme| scheme.parse::<Scheme>().expect("a scheme that is let through"));
    parts.path_and_query = path.map(|path| {
        PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(path.as_bytes())).expect("a path that is let through")
    });
    Uri::from_parts(parts).expect("pseudo-fields that are let through")
}

fn parts(method: &str, uri: Uri, lines: Lines<'_>) -> http::request::Parts {
    let mut request = http::Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("the tests know what is valid");
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = map(lines);
    request.into_parts().0
}

fn request(method: &str, path: &str, lines: Lines<'_>) -> Result<RequestHead, E> {
    let parts = parts(method, target(Some("https"), Some("a.example"), Some(path)), lines);
    read_request(&parts, None, false, &Limits::default())
}

fn response(status: u16, lines: Lines<'_>, method: &Method, is_end: bool) -> Result<ResponseHead, E> {
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).expect("the tests know what is valid");
    *response.headers_mut() = map(lines);
    read_response(&response.into_parts().0, method, is_end, &Limits::default())
}

fn lines(fields: &Fields) -> Vec<(&str, &[u8])> {
    fields.iter().map(|field| (field.name(), field.value())).collect()
}

fn fields(lines: Lines<'_>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push_named(name, value).expect("a field that can be sent");
    }
    fields
}

#[test]
fn a_request_in_our_words() {
    let head = request(
        "POST",
        "/a/%2e?b=c",
        &[
            ("x-one", b"1"),
            ("cookie", b"a=b"),
            ("te", b"trailers"),
            ("cookie", b"c=d"),
            ("content-length", b"3"),
            ("x-two", b""),
            ("x-one", b"\xe4\t2"),
        ],
    )
    .unwrap();
    assert_eq!((head.method(), head.target(), head.form()), (&Method::POST, "/a/%2e?b=c", TargetForm::Origin));
    assert_eq!((head.version(), head.protocol(), head.has_ended()), (Version::Http2, None, false));
    assert_eq!(framing::request_body(&head), Ok(BodyLength::Known(3)));
    let expected: Lines<'_> = &[
        ("Host", b"a.example"),
        ("x-one", b"1"),
        ("x-one", b"\xe4\t2"),
        ("Cookie", b"a=b; c=d"),
        ("TE", b"trailers"),
        ("Content-Length", b"3"),
        ("x-two", b""),
    ];
    assert_eq!(lines(head.fields()), expected);
}

#[test]
fn where_a_request_goes_and_for_whom() {
    let long = format!("/{}", "a".repeat(20_000));
    type Case<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Lines<'a>, Result<(&'a str, &'a str), E>);
    let table: &[Case<'_>] = &[
        ("GET", Some("a"), Some("/"), &[], Ok(("/", "a"))),
        ("GET", Some("a:1"), Some("/"), &[("host", b"a:1")], Ok(("/", "a:1"))),
        ("GET", Some("A.example"), Some("/"), &[("host", b"a.EXAMPLE")], Ok(("/", "A.example"))),
        ("GET", None, Some("/"), &[("host", b"a")], Ok(("/", "a"))),
        ("GET", Some("[::1]:8"), Some("/?"), &[], Ok(("/?", "[::1]:8"))),
        ("OPTIONS", Some("a"), Some("*"), &[], Ok(("*", "a"))),
        ("OPTIONS", Some("a"), Some("/"), &[], Ok(("/", "a"))),
        ("CONNECT", Some("a:1"), None, &[], Ok(("a:1", "a:1"))),
        ("GET", Some("a"), Some("*"), &[], Err(E::TargetFormMismatch)),
        // What the types let pass.
        ("GET", Some("a"), Some("?b"), &[], Err(E::InvalidTarget)),
        ("GET", Some("a"), Some("/\u{e4}"), &[], Err(E::InvalidTarget)),
        ("GET", Some("a"), Some("/?\u{e4}"), &[], Err(E::InvalidTarget)),
        ("GET", Some("a"), Some(&long), &[], Err(E::RequestLineTooLong { limit: 16_384 })),
        ("GET", None, Some("/"), &[], Err(E::MissingHost)),
        ("GET", Some("u@a"), Some("/"), &[], Err(E::InvalidHost)),
        ("GET", Some("u:p@a"), Some("/"), &[], Err(E::InvalidHost)),
        ("GET", None, Some("/"), &[("host", b"u@a")], Err(E::InvalidHost)),
        ("GET", None, Some("/"), &[("host", b"a/b")], Err(E::InvalidHost)),
        ("GET", None, Some("/"), &[("host", b"a b")], Err(E::InvalidHost)),
        ("GET", None, Some("/"), &[("host", b"")], Err(E::InvalidHost)),
        ("GET", None, Some("/"), &[("host", b"\xe4")], Err(E::InvalidHost)),
        ("GET", None, Some("/"), &[("host", b"a"), ("host", b"a")], Err(E::RepeatedHost)),
        ("GET", Some("a"), Some("/"), &[("host", b"a"), ("host", b"b")], Err(E::RepeatedHost)),
        ("GET", Some("a"), Some("/"), &[("host", b"b")], Err(E::HostMismatch)),
        ("GET", Some("a"), Some("/"), &[("host", b"a:443")], Err(E::HostMismatch)),
        ("GET", Some("a"), Some("/"), &[("host", b"")], Err(E::HostMismatch)),
        ("CONNECT", Some("a"), None, &[], Err(E::InvalidTarget)),
        ("CONNECT", Some("u@a:1"), None, &[], Err(E::InvalidTarget)),
        ("CONNECT", Some("a:1"), Some("/"), &[], Err(E::InvalidTarget)),
        ("CONNECT", Some("a:1"), None, &[("host", b"b:1")], Err(E::HostMismatch)),
        ("CONNECT", Some("a:1"), None, &[("content-length", b"0")], Err(E::ContentLengthInConnect)),
    ];
    for (method, authority, path, lines, expected) in table {
        let scheme = path.map(|_| "http");
        let parts = parts(method, target(scheme, *authority, *path), lines);
        let read = read_request(&parts, None, false, &Limits::default());
        let read = read.as_ref().map(|head| (head.target(), head.fields().get_str(Known::Host).unwrap_or_default()));
        assert_eq!(read.map_err(|error| *error), *expected, "{method} {authority:?} {path:?} {lines:?}");
    }
    for scheme in ["ftp", "ws", "https+x"] {
        let parts = parts("GET", target(Some(scheme), Some("a"), Some("/")), &[]);
        assert_eq!(read_request(&parts, None, true, &Limits::default()), Err(E::InvalidScheme), "{scheme}");
    }
}

#[test]
fn fields_that_are_refused_in_every_section() {
    let table: &[(Lines<'_>, E)] = &[
        // A name of HTTP/2 that is none in HTTP/1, let through by its type.
        (&[("a\"b", b"1")], E::InvalidFieldName { byte: b'"' }),
        (&[("a", b" b")], E::PaddedFieldValue),
        (&[("a", b"b ")], E::PaddedFieldValue),
        (&[("a", b"\tb")], E::PaddedFieldValue),
        (&[("a", b"b\t")], E::PaddedFieldValue),
        (&[("a", b" ")], E::PaddedFieldValue),
        (&[("connection", b"close")], E::ConnectionField),
        (&[("connection", b"content-length")], E::ConnectionField),
        (&[("keep-alive", b"timeout=5")], E::ConnectionField),
        (&[("proxy-connection", b"close")], E::ConnectionField),
        (&[("transfer-encoding", b"chunked")], E::ConnectionField),
        (&[("transfer-encoding", b"")], E::ConnectionField),
        (&[("upgrade", b"h2c")], E::ConnectionField),
        (&[("http2-settings", b"AAMAAABk")], E::ConnectionField),
        (&[("te", b"chunked")], E::InvalidTe),
        (&[("te", b"trailers, chunked")], E::InvalidTe),
    ];
    for (lines, error) in table {
        assert_eq!(request("GET", "/", lines), Err(*error), "{lines:?}");
        assert_eq!(response(200, lines, &Method::GET, false), Err(*error), "{lines:?}");
        assert_eq!(response(103, lines, &Method::GET, false), Err(*error), "{lines:?}");
        assert_eq!(read_trailers(&map(lines), &Limits::default()), Err(*error), "{lines:?}");
    }
    assert!(request("GET", "/", &[("te", b"Trailers")]).is_ok());
    assert_eq!(request("GET", "/", &[("te", b"trailers"), ("te", b"gzip")]), Err(E::InvalidTe));
}

#[test]
fn lengths_that_are_refused() {
    let digits: Lines<'_> = &[("content-length", b"3")];
    let table: &[(Lines<'_>, E)] = &[
        (&[("content-length", b"3"), ("content-length", b"3")], E::RepeatedContentLength),
        (&[("content-length", b"3"), ("content-length", b"4")], E::RepeatedContentLength),
        (&[("content-length", b"3, 3")], E::InvalidContentLength),
        (&[("content-length", b"+3")], E::InvalidContentLength),
        (&[("content-length", b"-0")], E::InvalidContentLength),
        (&[("content-length", b"0x3")], E::InvalidContentLength),
        (&[("content-length", b"")], E::InvalidContentLength),
        (&[("content-length", b"18446744073709551616")], E::ContentLengthOverflow),
    ];
    for (lines, error) in table {
        assert_eq!(request("POST", "/", lines), Err(*error), "{lines:?}");
        assert_eq!(response(200, lines, &Method::GET, false), Err(*error), "{lines:?}");
        // Where there is no content, the field is checked all the same.
        assert_eq!(response(304, lines, &Method::GET, true), Err(*error), "{lines:?}");
    }
    let ended = parts("POST", target(Some("http"), Some("a"), Some("/")), digits);
    assert_eq!(read_request(&ended, None, true, &Limits::default()), Err(E::ContentLengthMismatch));
    assert_eq!(response(200, digits, &Method::GET, true), Err(E::ContentLengthMismatch));
    for (status, method) in [(200, Method::HEAD), (304, Method::GET)] {
        let head = response(status, digits, &method, true).unwrap();
        assert_eq!(framing::declared_length(&head), Ok(BodyLength::Known(3)), "what a GET would have got");
        assert_eq!(framing::response_body(&head, &method), Ok(BodyLength::None));
    }
}

#[test]
fn what_follows_a_head_is_said_by_its_frames() {
    let uri = || target(Some("http"), Some("a"), Some("/"));
    for (is_end, lines, body) in [
        (false, &[][..], BodyLength::Chunked),
        (true, &[], BodyLength::None),
        (true, &[("content-length", &b"0"[..])], BodyLength::Known(0)),
        (false, &[("content-length", b"0")], BodyLength::Known(0)),
        (false, &[("content-length", b"7")], BodyLength::Known(7)),
    ] {
        let head = read_request(&parts("PUT", uri(), lines), None, is_end, &Limits::default()).unwrap();
        assert_eq!(framing::request_body(&head), Ok(body), "{is_end} {lines:?}");
        let head = response(200, lines, &Method::GET, is_end).unwrap();
        assert_eq!(framing::response_body(&head, &Method::GET), Ok(body), "{is_end} {lines:?}");
    }
    // A tunnel's bytes are no content, whoever sends them first.
    let parts = parts("CONNECT", target(None, Some("a:1"), None), &[]);
    let head = read_request(&parts, None, false, &Limits::default()).unwrap();
    assert_eq!(framing::request_body(&head), Ok(BodyLength::None));
}

#[test]
fn statuses() {
    for status in [600, 999] {
        assert_eq!(response(status, &[], &Method::GET, false), Err(E::InvalidStatus), "{status}");
    }
    assert_eq!(response(101, &[], &Method::GET, false), Err(E::UnaskedSwitch));
    assert_eq!(response(100, &[], &Method::GET, true), Err(E::TruncatedHead));
    let head = response(103, &[("link", b"</a>")], &Method::GET, false).unwrap();
    assert_eq!((head.reason(), head.version()), (&b"Early Hints"[..], Version::Http2));
    assert_eq!(response(599, &[], &Method::GET, true).unwrap().reason(), b"");
}

#[test]
fn too_much_is_refused_before_it_is_copied() {
    let limits = Limits { max_head_bytes: 100, max_request_line_bytes: 50, max_fields: 3, ..Limits::default() };
    let read = |path: &str, lines: Lines<'_>| {
        read_request(&parts("GET", target(Some("http"), Some("a"), Some(path)), lines), None, true, &limits).map(|_| ())
    };
    assert_eq!(read("/", &[("a", b""), ("b", b""), ("c", b"")]), Ok(()));
    assert_eq!(read("/", &[("a", b""), ("a", b""), ("a", b""), ("a", b"")]), Err(E::TooManyFields { limit: 3 }));
    assert_eq!(read("/", &[("a", &[b'b'; 75])]), Ok(()));
    assert_eq!(read("/", &[("a", &[b'b'; 90])]), Err(E::HeadTooLarge { limit: 100 }));
    assert_eq!(read("/", &[("cookie", &[b'b'; 45]), ("cookie", &[b'b'; 45])]), Err(E::HeadTooLarge { limit: 100 }));
    assert_eq!(read(&format!("/{}", "p".repeat(50)), &[]), Err(E::RequestLineTooLong { limit: 50 }));

    let mut big = http::Response::new(());
    *big.headers_mut() = map(&[("a", &[b'b'; 100])]);
    let (big, ()) = big.into_parts();
    assert_eq!(read_response(&big, &Method::GET, true, &limits), Err(E::HeadTooLarge { limit: 100 }));

    let limits = Limits { max_trailer_bytes: 20, max_fields: 2, ..Limits::default() };
    let read = |lines: Lines<'_>| read_trailers(&map(lines), &limits).map(|_| ());
    assert_eq!(read(&[("a", b"0123456789")]), Ok(()));
    assert_eq!(read(&[("a", b"0123456789"), ("b", b"1")]), Err(E::TrailersTooLarge { limit: 20 }));
    assert_eq!(read(&[("a", b""), ("b", b""), ("c", b"")]), Err(E::TooManyFields { limit: 2 }));
}

#[test]
fn trailers_frame_and_route_nothing() {
    for name in ["content-length", "host"] {
        assert_eq!(read_trailers(&map(&[(name, b"1")]), &Limits::default()), Err(E::ForbiddenTrailer), "{name}");
    }
    for name in ["Content-Length", "Host", "Transfer-Encoding", "Connection", "TE", "Upgrade", "Keep-Alive"] {
        assert_eq!(write_trailers(&fields(&[(name, b"1")])), Err(Misuse::ForbiddenTrailer), "{name}");
    }
    let map = map(&[("grpc-status", b"0"), ("grpc-message", b"\xc3\xa4")]);
    let read = read_trailers(&map, &Limits::default()).unwrap();
    assert_eq!(lines(&read), [("grpc-status", &b"0"[..]), ("grpc-message", b"\xc3\xa4")]);
    assert_eq!(write_trailers(&read), Ok(map));
}

#[test]
fn a_tunnel_in_a_stream_asks_for_a_protocol() {
    let uri = || target(Some("https"), Some("a"), Some("/chat?x"));
    let read = |method: &str, protocol: &str| {
        read_request(
            &parts(method, uri(), &[("sec-websocket-version", b"13")]),
            Some(protocol),
            false,
            &Limits::default(),
        )
    };
    let mut head = read("CONNECT", "websocket").unwrap();
    assert_eq!((head.protocol(), head.target(), head.form()), (Some("websocket"), "/chat?x", TargetForm::Origin));
    assert_eq!(head.fields().get_str(Known::Host), Some("a"));
    head.set_target("/other").unwrap();
    assert_eq!(head.path_and_query(), "/other");
    let written = write_request_head(&mut BytesMut::new(), &head, "/other", BodyLength::None, ConnectionField::Omit);
    assert_eq!(written, Err(Misuse::InvalidTarget), "HTTP/1 says it otherwise");
    assert_eq!(read("GET", "websocket"), Err(E::InvalidProtocol));
    for protocol in ["", "a b", "a\r\nb: c", "a/1", "\u{e4}"] {
        assert_eq!(read("CONNECT", protocol), Err(E::InvalidProtocol), "{protocol:?}");
    }
}

#[test]
fn what_is_reset_and_what_is_answered() {
    let resets: Vec<_> = E::ALL.iter().filter(|error| error.resets_stream()).map(|error| error.label()).collect();
    let expected = [
        "control-byte",
        "invalid-field-name",
        "invalid-method",
        "invalid-content-length",
        "repeated-content-length",
        "forbidden-trailer",
        "unasked-bytes",
        "truncated-head",
        "truncated-body",
        "padded-field-value",
        "connection-field",
        "invalid-te",
        "misplaced-pseudo-field",
        "invalid-scheme",
        "invalid-protocol",
        "content-length-mismatch",
        "content-length-in-connect",
    ];
    assert_eq!(resets, expected);
}

#[test]
fn requests_that_cross_lose_what_is_of_the_connection() {
    let mut head = RequestHead::new(Method::POST, "/a?b").unwrap();
    *head.fields_mut() = fields(&[
        ("Host", b"a.example:8080"),
        ("Connection", b"close, X-Hop, Via, te"),
        ("Keep-Alive", b"timeout=5"),
        ("Proxy-Connection", b"close"),
        ("Transfer-Encoding", b"chunked"),
        ("Upgrade", b"h2c"),
        ("HTTP2-Settings", b"AAMAAABk"),
        ("TE", b"trailers, gzip"),
        ("TE", b"Trailers"),
        ("Content-Length", b"77"),
        ("X-Hop", b"1"),
        ("Via", b"1.1 x"),
        ("X-Mixed-CASE", b"\xe4"),
        ("Authorization", b"s3cret"),
        ("x-two", b"1"),
        ("X-Two", b"2"),
    ]);
    let request = write_request(&head, head.path_and_query(), Scheme::HTTPS, BodyLength::Known(3)).unwrap();
    assert_eq!(
        (request.uri().to_string().as_str(), request.version()),
        ("https://a.example:8080/a?b", http::Version::HTTP_2)
    );
    let expected = map(&[
        ("te", b"Trailers"),
        ("via", b"1.1 x"),
        ("x-mixed-case", b"\xe4"),
        ("authorization", b"s3cret"),
        ("x-two", b"1"),
        ("x-two", b"2"),
        ("content-length", b"3"),
    ]);
    assert_eq!(request.headers(), &expected);
    assert!(request.headers()["authorization"].is_sensitive() && !request.headers()["via"].is_sensitive());
}

#[test]
fn requests_that_cannot_cross() {
    let host = &b"a"[..];
    type Case<'a> = (Method, Lines<'a>, &'a str, BodyLength, Misuse);
    let table: &[Case<'_>] = &[
        (Method::GET, &[], "/", BodyLength::None, Misuse::MissingHost),
        (Method::GET, &[("Host", b"a"), ("host", b"a")], "/", BodyLength::None, Misuse::RepeatedHost),
        (Method::GET, &[("Host", b"u@a")], "/", BodyLength::None, Misuse::InvalidHost),
        (Method::GET, &[("Host", b"")], "/", BodyLength::None, Misuse::InvalidHost),
        (Method::GET, &[("Host", b"a%20b")], "/", BodyLength::None, Misuse::InvalidHost),
        (Method::PUT, &[("Host", host)], "/", BodyLength::UntilClose, Misuse::RequestUntilClose),
        (Method::GET, &[("Host", host)], "", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "*", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "a", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "http://b/", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "/a b", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "/a#b", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "/<", BodyLength::None, Misuse::InvalidTarget),
        (Method::GET, &[("Host", host)], "/\r\n", BodyLength::None, Misuse::InvalidTarget),
    ];
    for (method, lines, target, body, misuse) in table {
        let mut head = RequestHead::new(method.clone(), "/").unwrap();
        *head.fields_mut() = fields(lines);
        let written = write_request(&head, target, Scheme::HTTP, *body).map(|_| ());
        assert_eq!(written, Err(*misuse), "{method} {lines:?} {target}");
    }
    let mut head = RequestHead::new(Method::CONNECT, "a:1").unwrap();
    *head.fields_mut() = fields(&[("Host", b"a:1"), ("Content-Length", b"1")]);
    let request = write_request(&head, "a:1", Scheme::HTTP, BodyLength::Known(1)).unwrap();
    assert_eq!((request.uri().to_string().as_str(), request.headers().len()), ("a:1", 0));
    assert_eq!(write_request(&head, "/", Scheme::HTTP, BodyLength::None).map(|_| ()), Err(Misuse::InvalidHost));
    let mut head = RequestHead::new(Method::OPTIONS, "*").unwrap();
    *head.fields_mut() = fields(&[("Host", b"a")]);
    let request = write_request(&head, "*", Scheme::HTTP, BodyLength::None).unwrap();
    assert_eq!(request.uri().path_and_query().map(PathAndQuery::as_str), Some("*"));
}

#[test]
fn responses_that_cross() {
    let lines: Lines<'_> = &[
        ("Connection", b"x-hop"),
        ("X-Hop", b"1"),
        ("Content-Length", b"9"),
        ("Set-Cookie", b"a"),
        ("set-cookie", b"b"),
    ];
    let table = [
        (200, Method::GET, BodyLength::None, None, BodyLength::None),
        (200, Method::GET, BodyLength::Known(0), Some("0"), BodyLength::Known(0)),
        (200, Method::GET, BodyLength::Known(5), Some("5"), BodyLength::Known(5)),
        (200, Method::GET, BodyLength::Chunked, None, BodyLength::Chunked),
        (200, Method::GET, BodyLength::UntilClose, None, BodyLength::Chunked),
        (200, Method::HEAD, BodyLength::Known(5), Some("5"), BodyLength::None),
        (200, Method::HEAD, BodyLength::Chunked, None, BodyLength::None),
        (304, Method::GET, BodyLength::Known(5), Some("5"), BodyLength::None),
        (204, Method::GET, BodyLength::Known(5), None, BodyLength::None),
        (103, Method::GET, BodyLength::Known(5), None, BodyLength::None),
        (200, Method::CONNECT, BodyLength::Known(5), None, BodyLength::None),
        (404, Method::CONNECT, BodyLength::Known(5), Some("5"), BodyLength::Known(5)),
    ];
    for (status, method, body, length, effective) in table {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        *head.fields_mut() = fields(lines);
        let (response, sent) = write_response(&head, &method, body).unwrap();
        let written = response.headers().get("content-length").map(|value| value.to_str().unwrap());
        assert_eq!((written, sent), (length, effective), "{status} to {method}, {body:?}");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert!(!response.headers().contains_key("x-hop") && !response.headers().contains_key("connection"));
    }
    let switch = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(write_response(&switch, &Method::GET, BodyLength::None).map(|_| ()), Err(Misuse::SwitchWithoutUpgrade));
}

/// Writes a head that was read from HTTP/2 as HTTP/1, and reads it there: one message, the same, and nothing behind it.
fn is_one_message(head: &RequestHead) {
    let body = framing::request_body(head).expect("it was read before");
    let mut out = BytesMut::new();
    let target = if *head.method() == Method::CONNECT { head.target() } else { head.path_and_query() };
    write_request_head(&mut out, head, target, body, ConnectionField::Omit).expect("it can be written");
    let limits =
        Limits { max_head_bytes: 65_535, max_request_line_bytes: 65_535, max_fields: 4096, ..Limits::default() };
    let mut input = &out[..];
    let again = RequestReader::new().receive(&mut input, &limits).expect("it is read").expect("it is whole");
    assert!(input.is_empty(), "nothing may stand behind it: {}", out.escape_ascii());
    assert_eq!((again.method(), again.target()), (head.method(), head.target()));
    assert_eq!(framing::request_body(&again), Ok(body));
    let ours =
        |name: &str| ["content-length", "transfer-encoding", "connection"].contains(&&*name.to_ascii_lowercase());
    let kept = |head: &RequestHead| -> Vec<(String, Vec<u8>)> {
        let kept = head.fields().iter().filter(|field| !ours(field.name()));
        kept.map(|field| (field.name().to_owned(), field.value().to_owned())).collect()
    };
    assert_eq!(kept(&again), kept(head));
}

/// Everything that the types of a framing layer can hold and that somebody might want to smuggle: it is refused, or it comes
/// out as exactly one message in which it is what it was.
#[test]
fn nothing_is_smuggled() {
    let values: &[&[u8]] = &[
        b"",
        b" ",
        b"\t",
        b"a\tb",
        b"\xff",
        b"chunked",
        b"\"\"",
        b"a, b;c=\"d\\\"\"",
        b"0",
        b"close",
        b"100-continue",
        b"trailers",
        b"HTTP/1.1 200 OK",
        b"GET / HTTP/1.1",
        b":",
        b"h2c",
        b"a\xc4\x8d\xc4\x8ab: c",
        b"\\r\\nHost: x",
        b"%0d%0aHost: x",
    ];
    let names = [
        "a",
        "a\"b",
        "host",
        "content-length",
        "transfer-encoding",
        "transfer_encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "cookie",
        "via",
        "x-forwarded-for",
        "http2-settings",
        "'~`!#$%^&*|._+-",
    ];
    let paths = [
        "/",
        "*",
        "/a b",
        "/%20",
        "/a\\b",
        "/a|b",
        "/\u{e4}",
        "?",
        "/?a=b HTTP/1.1",
        "//b/",
        "/http://b/",
        "/..",
        "/a?b#c",
        "/\"",
        "/{}",
        "/:80",
        "/;a",
        "/%00",
        "/%0d%0a",
    ];
    let authorities = ["a", "a:80", "u@a", "u:p@a:80", "[::1]", "[::1]:80", "a:", "a..b", "-", "A"];
    let mut crossed = 0;
    let mut refused = 0;
    let mut judge =
        |parts: &http::request::Parts, is_end: bool| match read_request(parts, None, is_end, &Limits::default()) {
            Ok(head) => {
                is_one_message(&head);
                crossed += 1;
            }
            Err(_) => refused += 1,
        };
    for name in names {
        for value in values {
            for again in [false, true] {
                let twice = [(name, *value), (name, *value)];
                let lines = &twice[..1 + usize::from(again)];
                for is_end in [false, true] {
                    judge(&parts("POST", target(Some("http"), Some("a"), Some("/")), lines), is_end);
                }
            }
        }
    }
    for method in ["GET", "OPTIONS", "CONNECT", "get", "PRI", "a!#$%&'*+-.^_`|~b"] {
        for path in paths.into_iter().map(Some).chain([None]) {
            for authority in authorities.into_iter().map(Some).chain([None]) {
                let path = path.and_then(|path| PathAndQuery::try_from(path.as_bytes()).ok());
                let mut uri = uri::Parts::default();
                uri.authority = authority.and_then(|authority| authority.parse().ok());
                uri.scheme = path.as_ref().and(uri.authority.as_ref()).map(|_| Scheme::HTTP);
                uri.path_and_query = path;
                let Ok(uri) = Uri::from_parts(uri) else { continue };
                judge(&parts(method, uri.clone(), &[]), true);
                judge(&parts(method, uri, &[("host", b"a")]), false);
            }
        }
    }
    assert!(crossed > 300 && refused > 300, "{crossed} crossed, {refused} were refused");
}

/// Names that a framing layer lets through, and values with every byte that one lets through.
fn any_lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        "[a-z0-9\"!#$%&'*+.^_`|~-]{1,12}",
        prop::sample::select(vec![
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "cookie",
            "expect",
            "upgrade",
            "via",
            "set-cookie",
            "trailer",
            "date",
        ])
        .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8], 0..20),
        "[0-9]{1,3}".prop_map(String::into_bytes),
        Just(b"a.example".to_vec()),
        Just(b"trailers".to_vec()),
    ];
    prop::collection::vec((name, value), 0..8)
}

fn borrowed(lines: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    lines.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// HTTP/2 → HTTP/1: refused, or one message.
    #[test]
    fn any_request_is_one_message_or_none(
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "HEAD", "M-SEARCH"]),
        path in "[/*?][!-~]{0,30}",
        lines in any_lines(),
        has_authority in any::<bool>(),
        is_end in any::<bool>(),
    ) {
        let Ok(path) = PathAndQuery::try_from(path.as_bytes()) else { return Ok(()) };
        let mut uri = uri::Parts::default();
        if has_authority {
            uri.authority = Some("a.example".parse().unwrap());
            uri.scheme = Some(Scheme::HTTPS);
        }
        uri.path_and_query = Some(path);
        let parts = parts(method, Uri::from_parts(uri).unwrap(), &borrowed(&lines));
        if let Ok(head) = read_request(&parts, None, is_end, &Limits::default()) {
            is_one_message(&head);
        }
    }

    /// HTTP/2 → HTTP/1 in the other direction: refused, or one message.
    #[test]
    fn any_response_is_one_message_or_none(
        status in 100..=999u16,
        lines in any_lines(),
        is_end in any::<bool>(),
        method in prop::sample::select(vec![Method::GET, Method::HEAD]),
    ) {
        if let Ok(head) = response(status, &borrowed(&lines), &method, is_end) {
            let body = framing::declared_length(&head).unwrap();
            let mut out = BytesMut::new();
            let sent = write_response_head(&mut out, &head, &method, Version::Http11, body, ConnectionField::Omit).unwrap();
            let mut input = &out[..];
            let again = ResponseReader::new().receive(&mut input, &Limits::default()).unwrap().unwrap();
            prop_assert!(input.is_empty());
            prop_assert_eq!(again.status(), head.status());
            prop_assert_eq!(framing::response_body(&again, &method), Ok(sent));
        }
    }

    /// Neither panics nor lets pass what HTTP/1 would read as more than fields.
    #[test]
    fn any_trailers_can_be_written_or_are_refused(lines in any_lines()) {
        if let Ok(fields) = read_trailers(&map(&borrowed(&lines)), &Limits::default()) {
            prop_assert!(fields.iter().all(|field| field.name() != "Content-Length"));
            prop_assert_eq!(write_trailers(&fields).unwrap().len(), fields.len());
        }
    }

    /// HTTP/1 → HTTP/2 → HTTP/1: the same request but for what the versions cannot share: the fields of the connection, the
    /// case of names, and the order of lines of different names.
    #[test]
    fn requests_there_and_back(
        method in prop::sample::select(vec!["GET", "PUT", "OPTIONS", "M-SEARCH"]),
        path in "/[a-z0-9%=&?.;:@!$'()*+,_~-]{0,40}",
        lines in prop::collection::vec(("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8], 0..20)), 0..8),
        body in prop_oneof![Just(BodyLength::None), any::<u64>().prop_map(BodyLength::Known), Just(BodyLength::Chunked)],
    ) {
        let mut head = RequestHead::new(Method::from_bytes(method.as_bytes()).unwrap(), &path).unwrap();
        head.fields_mut().push(Known::Host, b"a.example:1").unwrap();
        for (name, value) in &lines {
            prop_assume!(!matches!(Known::from_bytes(name.as_bytes()), Some(Known::Host | Known::Te | Known::Upgrade | Known::Connection)));
            head.fields_mut().push_named(name, value).unwrap();
        }
        let ends = matches!(body, BodyLength::None | BodyLength::Known(0));
        let (parts, ()) = write_request(&head, head.path_and_query(), Scheme::HTTP, body).unwrap().into_parts();
        let back = read_request(&parts, None, ends, &Limits::default()).unwrap();
        prop_assert_eq!((back.method(), back.target()), (head.method(), head.target()));
        prop_assert_eq!(framing::request_body(&back), Ok(body));
        let sorted = |head: &RequestHead| {
            let fields = head.fields().iter().filter(|field| field.known() != Some(Known::ContentLength));
            let mut lines: Vec<_> = fields.map(|field| (field.name().to_ascii_lowercase(), field.value().to_owned())).collect();
            lines.sort_by(|one, other| one.0.cmp(&other.0));
            lines
        };
        prop_assert_eq!(sorted(&back), sorted(&head));
        is_one_message(&back);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// HTTP/1 → HTTP/2 → HTTP/1: the same response but for what the versions cannot share, the reason phrase among it.
    #[test]
    fn responses_there_and_back(
        status in 200..600u16,
        lines in prop::collection::vec(("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8], 0..20)), 0..8),
        body in prop_oneof![Just(BodyLength::None), any::<u64>().prop_map(BodyLength::Known), Just(BodyLength::Chunked), Just(BodyLength::UntilClose)],
        method in prop::sample::select(vec![Method::GET, Method::HEAD]),
    ) {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in &lines {
            prop_assume!(!matches!(Known::from_bytes(name.as_bytes()), Some(Known::Te | Known::Upgrade | Known::Connection)));
            head.fields_mut().push_named(name, value).unwrap();
        }
        let (written, sent) = write_response(&head, &method, body).unwrap();
        let ends = matches!(sent, BodyLength::None | BodyLength::Known(0));
        let back = read_response(&written.into_parts().0, &method, ends, &Limits::default()).unwrap();
        prop_assert_eq!(back.status(), head.status());
        prop_assert_eq!(framing::response_body(&back, &method), Ok(sent));
        let sorted = |head: &ResponseHead| {
            let fields = head.fields().iter().filter(|field| field.known() != Some(Known::ContentLength));
            let mut lines: Vec<_> = fields.map(|field| (field.name().to_ascii_lowercase(), field.value().to_owned())).collect();
            lines.sort_by(|one, other| one.0.cmp(&other.0));
            lines
        };
        prop_assert_eq!(sorted(&back), sorted(&head));
        let mut out = BytesMut::new();
        let framed = write_response_head(&mut out, &back, &method, Version::Http11, sent, ConnectionField::Omit).unwrap();
        let mut input = &out[..];
        let again = ResponseReader::new().receive(&mut input, &Limits::default()).unwrap().unwrap();
        prop_assert!(input.is_empty());
        prop_assert_eq!(framing::response_body(&again, &method), Ok(framed));
    }
}

#[test]
fn every_method_of_the_http_crate_is_a_token_here() {
    for byte in 0..=u8::MAX {
        let Ok(method) = Method::from_bytes(&[b'A', byte]) else { continue };
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(RequestReader::new().receive(&mut head.as_bytes(), &Limits::default()).is_ok(), "{method}");
    }
}
