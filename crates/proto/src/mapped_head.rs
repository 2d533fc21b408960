//! A response's head that is written out of the ecosystem's types, without being turned into lines of our own first.

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use crate::date::ImfFixdate;
use crate::error::{InvalidField, ProtocolError};
use crate::fields::Repeated;
use crate::framing::{BodyLength, declared_by};
use crate::grammar::is_token;
use crate::head::ResponseHead;
use crate::known::Known;
use crate::known_set::KnownSet;
use crate::text::Text;
use crate::version::Version;

/// What a response's head is written from: our own, or one that lies in a map.
pub trait AnyResponseHead {
    /// The status.
    fn status(&self) -> StatusCode;

    /// The reason phrase; empty if there is none.
    fn reason(&self) -> &[u8];

    /// True when a line of this name exists.
    fn contains(&self, name: Known) -> bool;

    /// At most so many bytes are written when all lines are.
    fn written_bytes(&self) -> usize;

    /// Writes all lines but those of the names in `without`, each as `name: value CRLF`.
    fn write_to(&self, out: &mut BytesMut, without: KnownSet);
}

impl AnyResponseHead for ResponseHead {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn reason(&self) -> &[u8] {
        self.reason()
    }

    fn contains(&self, name: Known) -> bool {
        self.fields().contains(name)
    }

    fn written_bytes(&self) -> usize {
        self.fields().written_bytes()
    }

    fn write_to(&self, out: &mut BytesMut, without: KnownSet) {
        self.fields().write_to(out, without);
    }
}

/// A status and a map of fields, and `Date` if it lacks there. Its names were looked at once; its values can be sent by their
/// type.
///
/// Known names are written in the registry's spelling, others in lower case.
#[derive(Debug)]
pub struct MappedHead<'a> {
    status: StatusCode,
    map: &'a HeaderMap,
    /// What each line of the map is known as, in its order.
    known: SmallVec<[Option<Known>; 24]>,
    names: KnownSet,
    bytes: usize,
    date: Option<ImfFixdate>,
}

impl<'a> MappedHead<'a> {
    /// Looks through the names.
    ///
    /// # Errors
    /// [`InvalidField::Name`] on the one byte, `"`, that an `http::HeaderName` read from HTTP/2 may hold and a token may not.
    pub fn new(status: StatusCode, map: &'a HeaderMap) -> Result<Self, InvalidField> {
        let mut head = Self { status, map, known: SmallVec::new(), names: KnownSet::EMPTY, bytes: 0, date: None };
        for (name, value) in map {
            let name = name.as_str().as_bytes();
            let known = Known::from_bytes(name);
            if known.is_none() && !is_token(name) {
                return Err(InvalidField::Name);
            }
            head.known.push(known);
            head.names = head.names.with(KnownSet::one(known));
            head.bytes += name.len() + value.len() + 4;
        }
        Ok(head)
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The map.
    #[must_use]
    pub const fn map(&self) -> &HeaderMap {
        self.map
    }

    /// What is said as `Date`, if the map does not say it.
    #[must_use]
    pub const fn date(&self) -> Option<ImfFixdate> {
        self.date
    }

    /// Says this as `Date`, unless the map says it.
    pub fn set_date(&mut self, date: ImfFixdate) {
        if !self.names.contains(Known::Date) {
            self.date = Some(date);
        }
    }

    /// As [`declared_length`](crate::framing::declared_length).
    ///
    /// # Errors
    /// As for [`declared_length`](crate::framing::declared_length).
    pub fn declared_length(&self) -> Result<BodyLength, ProtocolError> {
        if !self.names.meets(KnownSet::of(&[Known::ContentLength, Known::TransferEncoding])) {
            return Ok(BodyLength::None);
        }
        declared_by(Version::Http11, false, self.only(Known::ContentLength), self.only(Known::TransferEncoding))
    }

    fn only(&self, name: Known) -> Result<Option<&[u8]>, Repeated> {
        let mut lines = self.lines().filter(|(known, ..)| *known == Some(name)).map(|(_, _, value)| value.as_bytes());
        let only = lines.next();
        if lines.next().is_some() { Err(Repeated) } else { Ok(only) }
    }

    fn lines(&self) -> impl Iterator<Item = (Option<Known>, &[u8], Text<'_>)> {
        let lines = self.map.iter().zip(&self.known);
        lines.map(|((name, value), known)| (*known, name.as_str().as_bytes(), value.into()))
    }
}

impl AnyResponseHead for MappedHead<'_> {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn reason(&self) -> &[u8] {
        self.status.canonical_reason().unwrap_or_default().as_bytes()
    }

    fn contains(&self, name: Known) -> bool {
        self.names.contains(name)
    }

    fn written_bytes(&self) -> usize {
        // `Date`, the two bytes behind it and the end of the line are 8, the moment 29.
        self.bytes + if self.date.is_some() { 37 } else { 0 }
    }

    fn write_to(&self, out: &mut BytesMut, without: KnownSet) {
        for (known, name, value) in self.lines() {
            match known {
                Some(known) if without.contains(known) => continue,
                Some(known) => out.extend_from_slice(known.line_begin()),
                None => {
                    out.extend_from_slice(name);
                    out.extend_from_slice(b": ");
                }
            }
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(date) = &self.date {
            out.extend_from_slice(Known::Date.line_begin());
            out.extend_from_slice(date.as_text().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::framing::declared_length;
    use crate::write_head::{ConnectionField, write_response_head};

    fn map(lines: &[(&str, &[u8])]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
        });
        lines.collect()
    }

    fn written(head: &impl AnyResponseHead, connection: ConnectionField) -> Result<String, crate::error::Misuse> {
        let mut out = BytesMut::new();
        let body = BodyLength::Known(5);
        write_response_head(&mut out, head, &Method::GET, Version::Http11, body, connection)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    const MAPS: &[&[(&str, &[u8])]] = &[
        &[],
        &[("content-type", b"text/plain"), ("x-other", b" padded\t"), ("vary", b"")],
        &[("set-cookie", b"a=1"), ("etag", b"\"\xe4\""), ("set-cookie", b"b=2")],
        &[("content-length", b"5")],
        &[("content-length", b"5"), ("content-length", b"5")],
        &[("content-length", b"+5")],
        &[("transfer-encoding", b"chunked")],
        &[("transfer-encoding", b"gzip")],
        &[("transfer-encoding", b"chunked"), ("content-length", b"5")],
        &[
            ("connection", b"x, close"),
            ("keep-alive", b"timeout=5"),
            ("proxy-connection", b"close"),
            ("upgrade", b"h2c"),
        ],
        &[("upgrade", b"websocket"), ("date", b"now")],
    ];

    #[test]
    fn it_is_written_and_read_as_one_of_our_own_lines() {
        for lines in MAPS {
            for status in [200, 299, 304, 426, 101] {
                let status = StatusCode::from_u16(status).unwrap();
                let map = map(lines);
                let mapped = MappedHead::new(status, &map).unwrap();
                let mut own = ResponseHead::new(status);
                own.fields_mut().push_all(&map).unwrap();
                assert_eq!(mapped.declared_length(), declared_length(&own), "{lines:?}");
                for connection in [ConnectionField::Omit, ConnectionField::Close, ConnectionField::Upgrade] {
                    let text = written(&mapped, connection);
                    assert_eq!(text, written(&own, connection), "{lines:?}");
                    assert!(text.map_or(0, |text| text.len()) < mapped.written_bytes() + mapped.reason().len() + 128);
                }
            }
        }
    }

    #[test]
    fn the_time_is_said_once() {
        let date = ImfFixdate::at(784_111_777);
        let (none, some) = (HeaderMap::new(), map(&[("date", b"now")]));
        let mut heads = [&none, &some].map(|map| MappedHead::new(StatusCode::OK, map).unwrap());
        heads.iter_mut().for_each(|head| head.set_date(date));
        let [added, left] = heads.map(|head| written(&head, ConnectionField::Omit).unwrap());
        assert_eq!(added, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(left, "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\n");
    }

    #[test]
    fn a_name_that_is_no_token_in_http1_is_refused() {
        let mut map = HeaderMap::new();
        map.insert(HeaderName::from_lowercase(b"a\"b").unwrap(), HeaderValue::from_static("c"));
        assert_eq!(MappedHead::new(StatusCode::OK, &map).err(), Some(InvalidField::Name));
    }
}
