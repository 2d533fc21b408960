//! Request heads of HTTP/2.

use http::header::{self, HeaderMap};
use http::uri::{self, PathAndQuery, Scheme, Uri};
use http::{Method, request};

use super::fields::{Reader, write_fields, write_length};
use crate::error::{Misuse, ProtocolError};
use crate::framing::{self, BodyLength};
use crate::grammar::{is_target, is_token};
use crate::head::RequestHead;
use crate::known::Known;
use crate::limits::{Limits, MAX_SECTION_BYTES};
use crate::target::{Authority, Target};

/// The head of a request that a client sent. `protocol` is its `:protocol` (RFC 8441 §4); `is_end` says that the stream
/// ended with it.
///
/// Its target is a path (an authority for CONNECT without a protocol, `*` for OPTIONS), Host stands first and is what
/// `:authority` says, and Cookie is one line (RFC 9113 §8.2.3).
///
/// # Errors
/// [`ProtocolError`] for what HTTP/2 forbids, for what HTTP/1 could not carry or would read otherwise, and for what exceeds a
/// limit. [`ProtocolError::resets_stream`] says what becomes of it.
pub fn read_request(
    parts: &request::Parts,
    protocol: Option<&str>,
    is_end: bool,
    limits: &Limits,
) -> Result<RequestHead, ProtocolError> {
    let method = &parts.method;
    if protocol.is_some_and(|protocol| *method != Method::CONNECT || !is_token(protocol.as_bytes())) {
        return Err(ProtocolError::InvalidProtocol);
    }
    let authority = parts.uri.authority().map(uri::Authority::as_str);
    let target = target(&parts.uri, method, protocol.is_some())?;
    let start_line_bytes = method.as_str().len() + target.as_bytes().len() + " HTTP/1.1 ".len();
    if start_line_bytes > limits.max_request_line_bytes {
        return Err(ProtocolError::RequestLineTooLong { limit: limits.max_request_line_bytes });
    }

    let limit = limits.max_head_bytes.min(MAX_SECTION_BYTES);
    let mut reader = Reader::new(&parts.headers, limits.max_fields, limit, ProtocolError::HeadTooLarge { limit })?;
    reader.count(start_line_bytes)?;
    let host = host(&parts.headers, authority)?;
    if authority.is_some() {
        reader.count(host.len())?;
    }
    reader.fields.push(Known::Host, host.as_bytes()).map_err(|_| ProtocolError::InvalidHost)?;
    let mut has_cookie = false;
    for (name, value) in &parts.headers {
        let known = reader.check(name.as_str().as_bytes(), value.as_bytes())?;
        match known {
            // It stands there already, as the authority says it.
            Some(Known::Host) => {}
            Some(Known::Cookie) if has_cookie => {}
            Some(Known::Cookie) => {
                has_cookie = true;
                let crumbs = join(&parts.headers);
                reader.push(known, name, &crumbs)?;
            }
            known => reader.push(known, name, value.as_bytes())?,
        }
    }
    let head = RequestHead::from_stream(method.clone(), target, protocol, is_end, reader.fields);
    if *method == Method::CONNECT && head.fields().contains(Known::ContentLength) {
        return Err(ProtocolError::ContentLengthInConnect);
    }
    // RFC 9113 §8.1.1: the frames are as long as the field says.
    match framing::request_body(&head)? {
        BodyLength::Known(1..) if is_end => Err(ProtocolError::ContentLengthMismatch),
        _ => Ok(head),
    }
}

/// What the pseudo-fields ask for. RFC 9113 §8.3.1, §8.5; RFC 8441 §4
fn target(uri: &Uri, method: &Method, is_extended: bool) -> Result<Target, ProtocolError> {
    if *method == Method::CONNECT && !is_extended {
        let (Some(authority), None, None) = (uri.authority(), uri.scheme(), uri.path_and_query()) else {
            return Err(ProtocolError::InvalidTarget);
        };
        return Target::parse(method, authority.as_str().as_bytes());
    }
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(ProtocolError::InvalidScheme);
    }
    match uri.path_and_query().map(PathAndQuery::as_str) {
        // Only these two forms: an absolute one would name a second host.
        Some(path) if path.starts_with('/') || path == "*" => {
            // RFC 8441 §4: an extended CONNECT has a path like any other request.
            Target::parse(if is_extended { &Method::GET } else { method }, path.as_bytes())
        }
        _ => Err(ProtocolError::InvalidTarget),
    }
}

/// For whom the request is: `:authority`, else Host, and never two of them. RFC 9113 §8.3.1
fn host<'a>(map: &'a HeaderMap, authority: Option<&'a str>) -> Result<&'a str, ProtocolError> {
    let mut lines = map.get_all(header::HOST).iter();
    let line = lines.next().map(|line| std::str::from_utf8(line.as_bytes()).map_err(|_| ProtocolError::InvalidHost));
    let line = line.transpose()?;
    if lines.next().is_some() {
        return Err(ProtocolError::RepeatedHost);
    }
    let host = match (authority, line) {
        (Some(authority), Some(line)) if !authority.eq_ignore_ascii_case(line) => {
            return Err(ProtocolError::HostMismatch);
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(ProtocolError::MissingHost),
    };
    match Authority::parse(host.as_bytes()) {
        Some(_) => Ok(host),
        None => Err(ProtocolError::InvalidHost),
    }
}

/// RFC 9113 §8.2.3: Cookie may come in crumbs, which are one line elsewhere.
fn join(map: &HeaderMap) -> Vec<u8> {
    let mut joined = Vec::new();
    for crumb in map.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    joined
}

/// A request's head as it is sent to an origin. `target` is what stands in `:path`, or in `:authority` for CONNECT without a
/// protocol. The `:protocol` of [`RequestHead::protocol`] has no place in the result: whoever sends it adds it.
///
/// Content-Length is written for `body`, and Host becomes `:authority`. What speaks of the connection does not cross.
///
/// # Errors
/// [`Misuse`] when HTTP/2 cannot carry it.
pub fn write_request(
    head: &RequestHead,
    target: &str,
    scheme: Scheme,
    body: BodyLength,
) -> Result<http::Request<()>, Misuse> {
    let fields = head.fields();
    match fields.count(Known::Host) {
        0 => return Err(Misuse::MissingHost),
        1 => {}
        _ => return Err(Misuse::RepeatedHost),
    }
    if body == BodyLength::UntilClose {
        return Err(Misuse::RequestUntilClose);
    }
    let is_plain_connect = *head.method() == Method::CONNECT && head.protocol().is_none();
    let authority = if is_plain_connect { target.as_bytes() } else { fields.get(Known::Host).unwrap_or_default() };
    let checked = Authority::parse(authority).and_then(|_| uri::Authority::try_from(authority).ok());
    let authority = checked.ok_or(Misuse::InvalidHost)?;
    let mut parts = uri::Parts::default();
    parts.authority = Some(authority);
    if !is_plain_connect {
        let is_path = target.starts_with('/') || (target == "*" && *head.method() == Method::OPTIONS);
        if !is_path || !is_target(target.as_bytes()) {
            return Err(Misuse::InvalidTarget);
        }
        let path = PathAndQuery::try_from(target).map_err(|_| Misuse::InvalidTarget)?;
        parts.path_and_query = Some(path);
        parts.scheme = Some(scheme);
    }
    let mut map = write_fields(fields, Some(Known::Host))?;
    if let BodyLength::Known(len) = body
        && *head.method() != Method::CONNECT
    {
        write_length(&mut map, len)?;
    }
    let mut request = http::Request::new(());
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Misuse::InvalidTarget)?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = map;
    Ok(request)
}
