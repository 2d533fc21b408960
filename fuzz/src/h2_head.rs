//! A head of HTTP/2: refused, or one message in HTTP/1, and the same again in HTTP/2.
//!
//! An input is text: a first line of method, path and authority, or of a status, and a field in every further line. What the
//! types of a framing layer would refuse is left out.

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Parts, PathAndQuery, Scheme, Uri};
use http::{Method, StatusCode};
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::h2_head::{read_request, read_response, read_trailers, write_request, write_trailers};
use sheave_proto::head::RequestHead;
use sheave_proto::limits::Limits;
use sheave_proto::read_head::{RequestReader, ResponseReader};
use sheave_proto::version::Version;
use sheave_proto::write_head::{ConnectionField, write_request_head, write_response_head};

use crate::fields::copied;

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b'=').unwrap_or(line.len()));
        let value = value.strip_prefix(b"=").unwrap_or(value);
        let (Ok(name), Ok(value)) = (HeaderName::from_lowercase(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        map.append(name, value);
    }
    let limits = Limits::default();
    if let Ok(fields) = read_trailers(&map, &limits) {
        let again = write_trailers(&fields).expect("what was read as trailers can be written as such");
        assert_eq!(again.len(), fields.len());
    }
    match StatusCode::from_bytes(first) {
        Ok(status) => response(status, map, &limits),
        Err(_) => request(first, map, &limits),
    }
}

fn request(first: &[u8], map: HeaderMap, limits: &Limits) {
    let mut words = first.split(|byte| *byte == b' ');
    let mut word = || words.next().filter(|word| !word.is_empty());
    let Some(Ok(method)) = word().map(Method::from_bytes) else { return };
    let mut parts = Parts::default();
    parts.path_and_query = word().and_then(|path| PathAndQuery::try_from(path).ok());
    parts.authority = word().and_then(|authority| authority.try_into().ok());
    parts.scheme = parts.authority.as_ref().and(parts.path_and_query.as_ref()).map(|_| Scheme::HTTP);
    let protocol = word().and_then(|protocol| std::str::from_utf8(protocol).ok());
    let Ok(uri) = Uri::from_parts(parts) else { return };
    let mut message = http::Request::new(());
    *message.method_mut() = method;
    *message.uri_mut() = uri;
    *message.headers_mut() = map;
    let (parts, ()) = message.into_parts();
    for is_end in [false, true] {
        let Ok(head) = read_request(&parts, protocol, is_end, limits) else { continue };
        assert_eq!((head.version(), head.has_ended()), (Version::Http2, is_end));
        let body = framing::request_body(&head).expect("it was checked");
        if head.protocol().is_none() {
            is_one_message(&head, body);
        }
        let target =
            if *head.method() == Method::CONNECT && protocol.is_none() { head.target() } else { head.path_and_query() };
        // The types are stricter in some places: then it does not cross, and that is all.
        let Ok(again) = write_request(&head, target, Scheme::HTTP, body) else { continue };
        let (again, ()) = again.into_parts();
        let again = read_request(&again, protocol, is_end, limits).expect("what was written can be read");
        assert_eq!(framing::request_body(&again), Ok(body));
        assert_eq!(
            (again.method(), again.target(), again.fields().len()),
            (head.method(), head.target(), head.fields().len())
        );
    }
}

fn is_one_message(head: &RequestHead, body: BodyLength) {
    let mut out = BytesMut::new();
    write_request_head(&mut out, head, head.target(), body, ConnectionField::Omit)
        .expect("what was read can be written");
    let wide = Limits { max_head_bytes: 65_535, max_request_line_bytes: 65_535, max_fields: 256, ..Limits::default() };
    let mut input = &out[..];
    let again = RequestReader::new().receive(&mut input, &wide);
    let Ok(Some(again)) = again else { panic!("{again:?}: {}", out.escape_ascii()) };
    assert!(input.is_empty(), "something stands behind it: {}", out.escape_ascii());
    assert_eq!((again.method(), again.target()), (head.method(), head.target()));
    assert_eq!(copied(again.fields()), copied(head.fields()));
    assert_eq!(framing::request_body(&again), Ok(body));
}

fn response(status: StatusCode, map: HeaderMap, limits: &Limits) {
    let mut message = http::Response::new(());
    *message.status_mut() = status;
    *message.headers_mut() = map;
    let (parts, ()) = message.into_parts();
    for (is_end, method) in [(false, Method::GET), (true, Method::GET), (true, Method::HEAD)] {
        let Ok(head) = read_response(&parts, &method, is_end, limits) else { continue };
        let body = framing::declared_length(&head).expect("it was checked");
        let mut out = BytesMut::new();
        let sent = write_response_head(&mut out, &head, &method, Version::Http11, body, ConnectionField::Omit)
            .expect("what was read can be written");
        let wide = Limits { max_head_bytes: 65_535, max_fields: 256, ..Limits::default() };
        let mut input = &out[..];
        let again = ResponseReader::new().receive(&mut input, &wide);
        let Ok(Some(again)) = again else { panic!("{again:?}: {}", out.escape_ascii()) };
        assert!(input.is_empty(), "something stands behind it: {}", out.escape_ascii());
        assert_eq!((again.status(), copied(again.fields())), (head.status(), copied(head.fields())));
        assert_eq!(framing::response_body(&again, &method), Ok(sent));
    }
}
