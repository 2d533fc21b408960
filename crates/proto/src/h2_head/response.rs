//! Response heads of HTTP/2.

use http::{Method, StatusCode, response};

use super::fields::{Reader, write_fields, write_length};
use crate::error::{Misuse, ProtocolError};
use crate::framing::{self, BodyLength};
use crate::head::ResponseHead;
use crate::limits::{Limits, MAX_SECTION_BYTES};

/// The head of a response, interim or final, that an origin sent to a request of this method. `is_end` says that the stream
/// ended with it.
///
/// # Errors
/// [`ProtocolError`] for what HTTP/2 forbids, for what HTTP/1 could not carry or would read otherwise, and for what exceeds a
/// limit. A proxy answers 502.
pub fn read_response(
    parts: &response::Parts,
    request_method: &Method,
    is_end: bool,
    limits: &Limits,
) -> Result<ResponseHead, ProtocolError> {
    let status = parts.status;
    if status.as_u16() > 599 {
        return Err(ProtocolError::InvalidStatus);
    }
    // RFC 9113 §8.6: nothing is switched to in HTTP/2.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ProtocolError::UnaskedSwitch);
    }
    // RFC 9113 §8.1: a final response follows an interim one.
    if status.is_informational() && is_end {
        return Err(ProtocolError::TruncatedHead);
    }
    let limit = limits.max_head_bytes.min(MAX_SECTION_BYTES);
    let mut reader = Reader::new(&parts.headers, limits.max_fields, limit, ProtocolError::HeadTooLarge { limit })?;
    reader.count("HTTP/1.1 200 ".len())?;
    for (name, value) in &parts.headers {
        let known = reader.check(name.as_str().as_bytes(), value.as_bytes())?;
        reader.push(known, name, value.as_bytes())?;
    }
    // Where there can be no content there is none to come, whatever the frames say.
    let has_ended = is_end || !framing::allows_content(status, request_method);
    let head = ResponseHead::from_stream(status, has_ended, reader.fields);
    // RFC 9113 §8.1.1: the frames are as long as the field says.
    match framing::response_body(&head, request_method)? {
        BodyLength::Known(1..) if is_end => Err(ProtocolError::ContentLengthMismatch),
        _ => Ok(head),
    }
}

/// A response's head, interim or final, as it is sent to a client that asked with `request_method`, and how the content
/// behind it is to be sent: `None` where there is none, so that the stream ends with the head.
///
/// `UntilClose` counts as `Chunked`: the stream's end is told by its last frame. Content-Length is written for `body`, also
/// in answers to HEAD and in 304, where nothing follows it (RFC 9110 §8.6). What speaks of the connection does not cross;
/// the reason phrase cannot.
///
/// # Errors
/// [`Misuse::SwitchWithoutUpgrade`] for a 101, which HTTP/2 does not know (RFC 9113 §8.6), and [`Misuse`] when HTTP/2 cannot
/// carry it.
pub fn write_response(
    head: &ResponseHead,
    request_method: &Method,
    body: BodyLength,
) -> Result<(http::Response<()>, BodyLength), Misuse> {
    let status = head.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Misuse::SwitchWithoutUpgrade);
    }
    let is_tunnel = *request_method == Method::CONNECT && status.is_success();
    // RFC 9110 §8.6: no Content-Length in 1xx, 204 and a 2xx to CONNECT.
    let is_bare = status.is_informational() || status == StatusCode::NO_CONTENT || is_tunnel;
    let mut map = write_fields(head.fields(), None)?;
    if let BodyLength::Known(len) = body
        && !is_bare
    {
        write_length(&mut map, len)?;
    }
    let effective = match body {
        _ if !framing::allows_content(status, request_method) => BodyLength::None,
        BodyLength::UntilClose => BodyLength::Chunked,
        body => body,
    };
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = map;
    Ok((response, effective))
}
