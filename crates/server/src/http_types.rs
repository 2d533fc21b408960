//! Requests into the ecosystem's types, and responses out of them.

use std::cell::Cell;

use http::response::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body::SizeHint;
use sheave_net::socket::Socket;
use sheave_proto::error::{InvalidField, ProtocolError};
use sheave_proto::fields::Fields;
use sheave_proto::framing::{BodyLength, allows_content};
use sheave_proto::head::ResponseHead;
use sheave_proto::mapped_head::MappedHead;
use sheave_proto::version::Version;

use crate::answer::Answer;
use crate::error::HandlerError;
use crate::exchange::Exchange;

/// Makes `request` the one of `exchange`, where it stands.
///
/// # Errors
/// The answer to a target that `http` cannot hold, or to more fields than it can.
pub(crate) fn fill<S: Socket, B>(request: &mut Request<B>, exchange: &Exchange<'_, S>) -> Result<(), Answer> {
    let head = exchange.request();
    *request.method_mut() = head.method().clone();
    // What it is by default.
    if head.target() != "/" {
        *request.uri_mut() =
            Uri::try_from(head.target()).map_err(|_| Answer::to_error(ProtocolError::InvalidTarget))?;
    }
    *request.version_mut() = match head.version() {
        Version::Http10 => http::Version::HTTP_10,
        Version::Http11 => http::Version::HTTP_11,
        Version::Http2 => http::Version::HTTP_2,
    };
    let map = request.headers_mut();
    if let Some(spare) = SPARE_MAP.take() {
        *map = spare;
    }
    let is_filled = head.fields().append_to(map);
    is_filled.map_err(|_| Answer::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-fields"))
}

/// For how many names there may be room in a map that is left to the next request.
const MAX_SPARE_NAMES: usize = 64;

thread_local! {
    /// The map of the last response's fields, without a line: a new one costs as much as reading some.
    static SPARE_MAP: Cell<Option<HeaderMap>> = const { Cell::new(None) };
}

/// Leaves the memory of a response's fields to those of the next request.
pub(crate) fn spare_map(mut map: HeaderMap) {
    if (1..=MAX_SPARE_NAMES).contains(&map.capacity()) {
        map.clear();
        SPARE_MAP.set(Some(map));
    }
}

/// A response's head, and how its content is framed, where the content is as long as `hint` says.
///
/// A Content-Length among the fields counts, as for a file whose body does not know its length; it must not contradict a
/// body that does. To HEAD, and with a 304, it says what a GET would have got. RFC 9110 §8.6
///
/// # Errors
/// [`HandlerError::Failed`] with what contradicts itself.
pub(crate) fn head_of<'p>(
    parts: &'p Parts,
    hint: &SizeHint,
    method: &Method,
) -> Result<(MappedHead<'p>, BodyLength), HandlerError> {
    // RFC 9110 §15.2: a client would go on waiting for the final one. A 101 is judged where it is sent.
    if parts.status.is_informational() && parts.status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(HandlerError::Failed("interim-status"));
    }
    let head = MappedHead::new(parts.status, &parts.headers).map_err(|error| HandlerError::Failed(error.label()))?;
    let declared = head.declared_length().map_err(|error| HandlerError::Failed(error.label()))?;
    let has_content = allows_content(parts.status, method);
    let length = match (declared, hint.exact()) {
        (BodyLength::Known(len), Some(exact)) if has_content && len != exact => {
            return Err(HandlerError::Failed("content-length-mismatch"));
        }
        (BodyLength::Known(len), _) => BodyLength::Known(len),
        (BodyLength::Chunked, _) => BodyLength::Chunked,
        // An empty body says nothing of what a GET would have got.
        (_, Some(0)) if !has_content => BodyLength::None,
        (_, Some(exact)) => BodyLength::Known(exact),
        (_, None) => BodyLength::Chunked,
    };
    Ok((head, length))
}

/// The same head in lines of our own.
///
/// # Errors
/// None for names that were looked at.
pub(crate) fn own_head(head: &MappedHead<'_>) -> Result<ResponseHead, InvalidField> {
    let mut own = ResponseHead::new(head.status());
    own.fields_mut().push_all(head.map())?;
    Ok(own)
}

/// Trailer fields that `http` can hold.
pub(crate) fn trailers_of(fields: Option<Fields>) -> Option<Box<HeaderMap>> {
    HeaderMap::try_from(&fields?).ok().map(Box::new)
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[test]
    fn how_content_is_framed() {
        let none: &[(&str, &str)] = &[];
        let five: &[(&str, &str)] = &[("content-length", "5")];
        let chunked: &[(&str, &str)] = &[("transfer-encoding", "chunked")];
        for (method, status, fields, exact, expected) in [
            (Method::GET, 200, none, Some(5), Ok(BodyLength::Known(5))),
            (Method::GET, 200, none, Some(0), Ok(BodyLength::Known(0))),
            (Method::GET, 200, none, None, Ok(BodyLength::Chunked)),
            (Method::GET, 200, five, None, Ok(BodyLength::Known(5))),
            (Method::GET, 200, five, Some(5), Ok(BodyLength::Known(5))),
            (Method::GET, 200, five, Some(4), Err("content-length-mismatch")),
            (Method::GET, 200, chunked, Some(5), Ok(BodyLength::Chunked)),
            (Method::GET, 200, &[("content-length", "five")], None, Err("invalid-content-length")),
            (Method::HEAD, 200, five, Some(0), Ok(BodyLength::Known(5))),
            (Method::HEAD, 200, none, Some(0), Ok(BodyLength::None)),
            (Method::HEAD, 200, none, Some(5), Ok(BodyLength::Known(5))),
            (Method::GET, 304, five, Some(0), Ok(BodyLength::Known(5))),
            (Method::GET, 304, none, Some(0), Ok(BodyLength::None)),
            (Method::GET, 204, none, Some(0), Ok(BodyLength::None)),
            (Method::GET, 103, none, Some(0), Err("interim-status")),
        ] {
            let mut response = Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let (parts, ()) = response.body(()).unwrap().into_parts();
            let hint = exact.map_or_else(SizeHint::new, SizeHint::with_exact);
            let length = head_of(&parts, &hint, &method).map(|(_, length)| length);
            assert_eq!(length, expected.map_err(HandlerError::Failed), "{method} {status} {fields:?} {exact:?}");
        }
    }
}
