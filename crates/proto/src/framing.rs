//! What the fields of a head say about the body behind it, and about the connection after it.

use http::{Method, StatusCode};

use crate::error::ProtocolError;
use crate::fields::{Fields, Repeated};
use crate::grammar::{NotDecimal, decimal, is_token, trim};
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::known_set::KnownSet;
use crate::list::Members;
use crate::version::Version;

/// How a message's content ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// There is none.
    None,
    /// After so many bytes.
    Known(u64),
    /// With the last chunk and the trailer section.
    Chunked,
    /// With the connection; in responses only.
    UntilClose,
}

/// How a request's content ends. Without Content-Length and Transfer-Encoding there is none.
///
/// In HTTP/2 the frames end it: content of unknown length counts as `Chunked`, and as `None` where the head was the end.
/// What follows a CONNECT there is the tunnel's, and no content (RFC 9113 §8.5).
///
/// # Errors
/// A [`ProtocolError`] for whatever two readers might read differently (RFC 9112 §6.1, §6.3; RFC 9110 §8.6).
pub fn request_body(head: &RequestHead) -> Result<BodyLength, ProtocolError> {
    let ends = head.has_ended() || *head.method() == Method::CONNECT;
    declared(head.version(), ends, head.fields())
}

/// How the content of a response to `request_method` ends.
///
/// A response to HEAD, a 1xx, 204 and 304, and a 2xx to CONNECT have none, whatever their fields say (RFC 9112 §6.3).
/// The fields are checked all the same.
///
/// # Errors
/// As for [`request_body`].
pub fn response_body(head: &ResponseHead, request_method: &Method) -> Result<BodyLength, ProtocolError> {
    let declared = declared_length(head)?;
    if !allows_content(head.status(), request_method) {
        return Ok(BodyLength::None);
    }
    Ok(match declared {
        BodyLength::None if head.version() != Version::Http2 => BodyLength::UntilClose,
        declared => declared,
    })
}

/// What a response's fields say, whether content follows or not: for HEAD and 304, where they tell what a GET would
/// have got (RFC 9110 §8.6). `None` when they say nothing; never `UntilClose`.
///
/// # Errors
/// As for [`request_body`].
pub fn declared_length(head: &ResponseHead) -> Result<BodyLength, ProtocolError> {
    declared(head.version(), head.has_ended(), head.fields())
}

/// Whether a response of this status to this method can have content (RFC 9110 §6.4.1).
#[must_use]
pub fn allows_content(status: StatusCode, request_method: &Method) -> bool {
    !(status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *request_method == Method::HEAD
        || (*request_method == Method::CONNECT && status.is_success()))
}

/// RFC 9110 §6.5.1: fields that frame or route a message, or manage the connection, mean nothing in a trailer section
/// and mislead whoever merges it into the head.
pub(crate) const fn is_forbidden_trailer(name: Known) -> bool {
    matches!(
        name,
        Known::ContentLength
            | Known::TransferEncoding
            | Known::Host
            | Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Upgrade
    )
}

/// Whether the sender of this message keeps the connection open after it: HTTP/1.1 unless it says `close`, HTTP/1.0
/// only if it says `keep-alive` (RFC 9112 §9.3). Every Connection line counts, in any case, and `close` wins.
#[must_use]
pub fn keeps_alive(version: Version, fields: &Fields) -> bool {
    let mut keep_alive = version >= Version::Http11;
    if !fields.may_have(KnownSet::of(&[Known::Connection])) {
        return keep_alive;
    }
    for option in fields.list(Known::Connection) {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep_alive
}

/// Whether the client waits for a 100 before it sends its content.
///
/// # Errors
/// [`ProtocolError::UnknownExpectation`] when Expect names anything but `100-continue` (RFC 9110 §10.1.1: 417).
pub fn expectation(head: &RequestHead) -> Result<bool, ProtocolError> {
    if !head.fields().may_have(KnownSet::of(&[Known::Expect])) {
        return Ok(false);
    }
    let mut expects = false;
    for member in head.fields().list(Known::Expect) {
        if !member.eq_ignore_ascii_case(b"100-continue") {
            return Err(ProtocolError::UnknownExpectation);
        }
        expects = true;
    }
    // RFC 9110 §10.1.1: 100-continue from HTTP/1.0 is ignored.
    Ok(expects && head.version() >= Version::Http11)
}

/// Whether the client waits for a 100 before it sends its content; false too if it expects something unknown.
#[must_use]
pub fn expects_continue(head: &RequestHead) -> bool {
    expectation(head).unwrap_or(false)
}

/// The value of Upgrade, if Connection names it and the sender speaks HTTP/1.1 (RFC 9110 §7.8). Several protocols stand
/// in it as a list; more than one Upgrade line counts as no offer at all.
#[must_use]
pub fn upgrade(head: &RequestHead) -> Option<&[u8]> {
    let mut lines = head.fields().get_all(Known::Upgrade);
    let protocols = lines.next().filter(|protocols| !protocols.is_empty())?;
    let named = head.fields().has_token(Known::Connection, "upgrade");
    (named && lines.next().is_none() && head.version() >= Version::Http11).then_some(protocols)
}

/// Whether a 101 with these fields answers an offer of these protocols: it names at least one, and none that was not
/// offered (RFC 9110 §7.8). Names are compared in any case, versions with them.
#[must_use]
pub fn answers_upgrade(fields: &Fields, offered: &[u8]) -> bool {
    let mut chosen = fields.list(Known::Upgrade).peekable();
    chosen.peek().is_some()
        && chosen.all(|protocol| Members::new(offered).any(|offer| offer.eq_ignore_ascii_case(protocol)))
}

/// `ends` is of interest in HTTP/2 alone: whether the head is the end of the message.
#[inline]
fn declared(version: Version, ends: bool, fields: &Fields) -> Result<BodyLength, ProtocolError> {
    match fields.may_have(KnownSet::of(&[Known::ContentLength, Known::TransferEncoding])) {
        true => declared_by_fields(version, ends, fields),
        false => Ok(undeclared(version, ends)),
    }
}

/// How content ends of which no field says it.
const fn undeclared(version: Version, ends: bool) -> BodyLength {
    match version {
        Version::Http2 if !ends => BodyLength::Chunked,
        _ => BodyLength::None,
    }
}

fn declared_by_fields(version: Version, ends: bool, fields: &Fields) -> Result<BodyLength, ProtocolError> {
    declared_by(version, ends, fields.get_only(Known::ContentLength), fields.get_only(Known::TransferEncoding))
}

/// What the one line of either name says, where there is one.
pub(crate) fn declared_by(
    version: Version,
    ends: bool,
    content_length: Result<Option<&[u8]>, Repeated>,
    transfer_encoding: Result<Option<&[u8]>, Repeated>,
) -> Result<BodyLength, ProtocolError> {
    // RFC 9112 §6.3 lets equal repetitions pass; whoever sends them wants two readers to disagree.
    let content_length = content_length.map_err(|_| ProtocolError::RepeatedContentLength)?;
    let transfer_encoding = transfer_encoding.map_err(|_| ProtocolError::InvalidTransferEncoding)?;
    match (content_length, transfer_encoding) {
        (None, None) => Ok(undeclared(version, ends)),
        (Some(_), Some(_)) => Err(ProtocolError::ContentLengthWithTransferEncoding),
        (Some(digits), None) => match decimal(digits) {
            Ok(length) => Ok(BodyLength::Known(length)),
            Err(NotDecimal::Malformed) => Err(ProtocolError::InvalidContentLength),
            Err(NotDecimal::Overflow) => Err(ProtocolError::ContentLengthOverflow),
        },
        // RFC 9112 §6.1: a message of HTTP/1.0 with Transfer-Encoding has faulty framing.
        (None, Some(_)) if version < Version::Http11 => Err(ProtocolError::TransferEncodingInHttp10),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(BodyLength::Chunked),
        (None, Some(codings)) => Err(refused_coding(codings)),
    }
}

/// RFC 9112 §6.1: a coding that is well formed and not known is 501; §6.3: chunked in a wrong place, twice, with a
/// parameter, or no coding at all is 400.
fn refused_coding(codings: &[u8]) -> ProtocolError {
    let is_known = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut well_formed = true;
    let mut chunked_before = false;
    let mut unknown = false;
    for coding in Members::new(codings) {
        let name = trim(coding.split(|&byte| byte == b';').next().unwrap_or_default());
        well_formed &= is_token(name) && !chunked_before && (coding.len() == name.len() || !is_known(name));
        chunked_before |= is_known(name);
        unknown |= !is_known(name);
    }
    if well_formed && unknown { ProtocolError::UnknownTransferCoding } else { ProtocolError::InvalidTransferEncoding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: Lines<'_>) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push_named(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn request(version: Version, lines: Lines<'_>) -> RequestHead {
        let mut head = RequestHead::new(Method::POST, "/").unwrap();
        if version == Version::Http10 {
            let mut bytes = &b"POST / HTTP/1.0\r\n\r\n"[..];
            head = crate::read_head::RequestReader::new().receive(&mut bytes, &Default::default()).unwrap().unwrap();
        }
        *head.fields_mut() = fields(lines);
        head
    }

    fn response(status: u16, lines: Lines<'_>) -> ResponseHead {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        *head.fields_mut() = fields(lines);
        head
    }

    type Lines<'a> = &'a [(&'a str, &'a str)];

    const TE: &str = "Transfer-Encoding";
    const CL: &str = "Content-Length";

    #[test]
    fn lengths_that_are_read_in_both_directions() {
        let table: &[(Lines<'_>, BodyLength)] = &[
            (&[], BodyLength::None),
            (&[(CL, "0")], BodyLength::Known(0)),
            (&[("content-LENGTH", "00042")], BodyLength::Known(42)),
            (&[(CL, "18446744073709551615")], BodyLength::Known(u64::MAX)),
            (&[(TE, "chunked")], BodyLength::Chunked),
            (&[("transfer-encoding", "\tCHUNKED ")], BodyLength::Chunked),
            // Look-alikes are other fields.
            (&[("Content_Length", "5"), ("Transfer_Encoding", "chunked")], BodyLength::None),
            (&[("X-Content-Length", "5")], BodyLength::None),
        ];
        for (lines, expected) in table {
            assert_eq!(request_body(&request(Version::Http11, lines)), Ok(*expected), "{lines:?}");
            let in_response = if *expected == BodyLength::None { BodyLength::UntilClose } else { *expected };
            assert_eq!(response_body(&response(200, lines), &Method::GET), Ok(in_response), "{lines:?}");
            assert_eq!(declared_length(&response(200, lines)), Ok(*expected), "{lines:?}");
        }
    }

    #[test]
    fn lengths_that_are_refused_in_both_directions() {
        use ProtocolError::*;
        let table: &[(Lines<'_>, ProtocolError)] = &[
            (&[(CL, "")], InvalidContentLength),
            (&[(CL, "+5")], InvalidContentLength),
            (&[(CL, "-5")], InvalidContentLength),
            (&[(CL, "5, 5")], InvalidContentLength),
            (&[(CL, "5,5")], InvalidContentLength),
            (&[(CL, "5,")], InvalidContentLength),
            (&[(CL, "5 5")], InvalidContentLength),
            (&[(CL, "0x5")], InvalidContentLength),
            (&[(CL, "5a")], InvalidContentLength),
            (&[(CL, "5.0")], InvalidContentLength),
            (&[(CL, "5;a")], InvalidContentLength),
            (&[(CL, "\"5\"")], InvalidContentLength),
            (&[(CL, "\u{665}")], InvalidContentLength),
            (&[(CL, "18446744073709551616")], ContentLengthOverflow),
            (&[(CL, "18446744073709551618")], ContentLengthOverflow),
            (&[(CL, "99999999999999999999999999")], ContentLengthOverflow),
            (&[(CL, "5"), (CL, "5")], RepeatedContentLength),
            (&[(CL, "5"), ("A", "b"), ("content-length", "6")], RepeatedContentLength),
            (&[(CL, "5"), (TE, "chunked")], ContentLengthWithTransferEncoding),
            (&[(TE, "chunked"), (CL, "0")], ContentLengthWithTransferEncoding),
            (&[(TE, "gzip"), (CL, "5")], ContentLengthWithTransferEncoding),
            (&[(TE, "chunked"), (TE, "chunked")], InvalidTransferEncoding),
            (&[(TE, "gzip"), (TE, "chunked")], InvalidTransferEncoding),
            (&[(TE, "")], InvalidTransferEncoding),
            (&[(TE, "chunked,")], InvalidTransferEncoding),
            (&[(TE, ",chunked")], InvalidTransferEncoding),
            (&[(TE, "chunked, chunked")], InvalidTransferEncoding),
            (&[(TE, "chunked, gzip")], InvalidTransferEncoding),
            (&[(TE, "chunked;a=b")], InvalidTransferEncoding),
            (&[(TE, "chunked;")], InvalidTransferEncoding),
            (&[(TE, "\"chunked\"")], InvalidTransferEncoding),
            (&[(TE, "chun ked")], InvalidTransferEncoding),
            (&[(TE, "gzip x, chunked")], InvalidTransferEncoding),
            (&[(TE, "ch\u{fc}nked")], InvalidTransferEncoding),
            (&[(TE, "gzip")], UnknownTransferCoding),
            (&[(TE, "identity")], UnknownTransferCoding),
            (&[(TE, "xchunked")], UnknownTransferCoding),
            (&[(TE, "chunke")], UnknownTransferCoding),
            (&[(TE, "gzip, chunked")], UnknownTransferCoding),
            (&[(TE, "gzip;q=1, chunked")], UnknownTransferCoding),
        ];
        for (lines, refusal) in table {
            assert_eq!(request_body(&request(Version::Http11, lines)), Err(*refusal), "{lines:?}");
            assert_eq!(response_body(&response(200, lines), &Method::GET), Err(*refusal), "{lines:?}");
            // Responses without content are read no less strictly.
            assert_eq!(response_body(&response(304, lines), &Method::GET), Err(*refusal), "{lines:?}");
        }
        let in_http10 = request_body(&request(Version::Http10, &[(TE, "chunked")]));
        assert_eq!(in_http10, Err(TransferEncodingInHttp10));
        let mut bytes = &b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..];
        let head = crate::read_head::ResponseReader::new().receive(&mut bytes, &Default::default()).unwrap().unwrap();
        assert_eq!(response_body(&head, &Method::GET), Err(TransferEncodingInHttp10));
    }

    #[test]
    fn responses_without_content() {
        for lines in [&[][..], &[(CL, "5")], &[(TE, "chunked")]] {
            for status in [100, 101, 103, 199, 204, 304] {
                assert_eq!(response_body(&response(status, lines), &Method::GET), Ok(BodyLength::None));
            }
            assert_eq!(response_body(&response(200, lines), &Method::HEAD), Ok(BodyLength::None));
            assert_eq!(response_body(&response(404, lines), &Method::HEAD), Ok(BodyLength::None));
            assert_eq!(response_body(&response(200, lines), &Method::CONNECT), Ok(BodyLength::None));
            assert_eq!(response_body(&response(299, lines), &Method::CONNECT), Ok(BodyLength::None));
            for (status, method) in [(407, Method::CONNECT), (205, Method::GET), (300, Method::GET)] {
                assert_ne!(response_body(&response(status, lines), &method), Ok(BodyLength::None));
            }
        }
    }

    #[test]
    fn connections_that_are_kept() {
        let table: &[(Version, &[&str], bool)] = &[
            (Version::Http11, &[], true),
            (Version::Http11, &["keep-alive"], true),
            (Version::Http11, &["close"], false),
            (Version::Http11, &["CLOSE"], false),
            (Version::Http11, &["upgrade, Close"], false),
            (Version::Http11, &["keep-alive", "x", "a,close ,b"], false),
            (Version::Http11, &["keep-alive, close"], false),
            (Version::Http11, &["closed"], true),
            (Version::Http11, &["\"close\""], true),
            (Version::Http10, &[], false),
            (Version::Http10, &["keep-alive"], true),
            (Version::Http10, &["x, Keep-Alive"], true),
            (Version::Http10, &["x", "Keep-Alive"], true),
            (Version::Http10, &["keep-alive, close"], false),
            (Version::Http10, &["close", "keep-alive"], false),
            (Version::Http10, &["x"], false),
        ];
        for (version, values, kept) in table {
            let lines: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
            assert_eq!(keeps_alive(*version, &fields(&lines)), *kept, "{version} {values:?}");
        }
    }

    #[test]
    fn expectations() {
        use ProtocolError::UnknownExpectation;
        let table: &[(&[&str], Result<bool, ProtocolError>)] = &[
            (&[], Ok(false)),
            (&[""], Ok(false)),
            (&["100-continue"], Ok(true)),
            (&["100-Continue"], Ok(true)),
            (&["100-continue", "100-continue"], Ok(true)),
            (&["100-continue, x"], Err(UnknownExpectation)),
            (&["100-continue", "x"], Err(UnknownExpectation)),
            (&["100-continue;a"], Err(UnknownExpectation)),
            (&["200-ok"], Err(UnknownExpectation)),
        ];
        for (values, expected) in table {
            let lines: Vec<_> = values.iter().map(|value| ("Expect", *value)).collect();
            let head = request(Version::Http11, &lines);
            assert_eq!(expectation(&head), *expected, "{values:?}");
            assert_eq!(expects_continue(&head), *expected == Ok(true));
            // No 100 to HTTP/1.0.
            assert_eq!(expectation(&request(Version::Http10, &lines)), expected.map(|_| false), "{values:?}");
        }
    }

    #[test]
    fn upgrades() {
        let table: &[(Lines<'_>, Option<&str>)] = &[
            (&[("Connection", "Upgrade"), ("Upgrade", "websocket")], Some("websocket")),
            (&[("Connection", "keep-alive, upgrade"), ("upgrade", "h2c, a/1")], Some("h2c, a/1")),
            (&[("Connection", "a"), ("Connection", "UPGRADE"), ("Upgrade", "a")], Some("a")),
            (&[("Upgrade", "websocket")], None),
            (&[("Connection", "close"), ("Upgrade", "websocket")], None),
            (&[("Connection", "Upgrade")], None),
            (&[("Connection", "Upgrade"), ("Upgrade", "")], None),
            (&[("Connection", "Upgrade"), ("Upgrade", "a"), ("Upgrade", "b")], None),
        ];
        for (lines, expected) in table {
            let expected = expected.map(str::as_bytes);
            assert_eq!(upgrade(&request(Version::Http11, lines)), expected, "{lines:?}");
            assert_eq!(upgrade(&request(Version::Http10, lines)), None, "{lines:?}");
        }
    }
}
