//! What the fields of a head say about the body behind it, and about the connection after it.

use http::{Method, StatusCode};

use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::grammar::{NotDecimal, decimal, is_token, trim};
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
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
/// # Errors
/// A [`ProtocolError`] for whatever two readers might read differently (RFC 9112 §6.1, §6.3; RFC 9110 §8.6).
pub fn request_body(head: &RequestHead) -> Result<BodyLength, ProtocolError> {
    declared(head.version(), head.fields())
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
        BodyLength::None => BodyLength::UntilClose,
        declared => declared,
    })
}

/// What a response's fields say, whether content follows or not: for HEAD and 304, where they tell what a GET would
/// have got (RFC 9110 §8.6). `None` when they say nothing; never `UntilClose`.
///
/// # Errors
/// As for [`request_body`].
pub fn declared_length(head: &ResponseHead) -> Result<BodyLength, ProtocolError> {
    declared(head.version(), head.fields())
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

fn declared(version: Version, fields: &Fields) -> Result<BodyLength, ProtocolError> {
    let mut content_length = None;
    let mut transfer_encoding = None;
    for field in fields.iter() {
        match field.known() {
            // RFC 9112 §6.3 lets equal repetitions pass; whoever sends them wants two readers to disagree.
            Some(Known::ContentLength) if content_length.replace(field.value()).is_some() => {
                return Err(ProtocolError::RepeatedContentLength);
            }
            Some(Known::TransferEncoding) if transfer_encoding.replace(field.value()).is_some() => {
                return Err(ProtocolError::InvalidTransferEncoding);
            }
            _ => {}
        }
    }
    match (content_length, transfer_encoding) {
        (None, None) => Ok(BodyLength::None),
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
