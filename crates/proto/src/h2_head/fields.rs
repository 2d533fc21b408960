//! Field lines of HTTP/2 into ours and back, each checked.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Misuse, ProtocolError};
use crate::fields::Fields;
use crate::framing::is_forbidden_trailer;
use crate::grammar::{is_blank, is_text, is_text_byte, is_token_byte};
use crate::known::Known;
use crate::limits::Limits;

/// The trailer fields that a peer sent.
///
/// # Errors
/// [`ProtocolError`] for what may not stand there (RFC 9113 §8.1, RFC 9110 §6.5.1), or for too much of it.
pub fn read_trailers(map: &HeaderMap, limits: &Limits) -> Result<Fields, ProtocolError> {
    let limit = limits.max_trailer_bytes;
    let mut reader = Reader::new(map, limits.max_fields, limit, ProtocolError::TrailersTooLarge { limit })?;
    for (name, value) in map {
        let known = reader.check(name.as_str().as_bytes(), value.as_bytes())?;
        if known.is_some_and(is_forbidden_trailer) {
            return Err(ProtocolError::ForbiddenTrailer);
        }
        reader.push(known, name, value.as_bytes())?;
    }
    Ok(reader.fields)
}

/// Trailer fields to send. Those that speak of the connection are left out.
///
/// # Errors
/// [`Misuse::ForbiddenTrailer`] for fields that frame or route the message (RFC 9110 §6.5.1), [`Misuse::TooManyFields`].
pub fn write_trailers(fields: &Fields) -> Result<HeaderMap, Misuse> {
    if fields.iter().any(|field| field.known().is_some_and(is_forbidden_trailer)) {
        return Err(Misuse::ForbiddenTrailer);
    }
    write_fields(fields, None)
}

/// What is read of one head or trailer section, within its bounds.
pub(super) struct Reader {
    pub(super) fields: Fields,
    /// Bytes that may still come.
    left: usize,
    too_large: ProtocolError,
}

impl Reader {
    /// A reader of so many lines at most, and of so many bytes as they would be written in HTTP/1.
    pub(super) fn new(
        map: &HeaderMap,
        max_fields: usize,
        max_bytes: usize,
        too_large: ProtocolError,
    ) -> Result<Self, ProtocolError> {
        if map.len() > max_fields {
            return Err(ProtocolError::TooManyFields { limit: max_fields });
        }
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
        // One more line than came: Host.
        let fields = Fields::with_capacity(map.len() + 1, bytes.min(max_bytes) + 64);
        Ok(Self { fields, left: max_bytes, too_large })
    }

    /// Counts so many bytes.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.left = self.left.checked_sub(bytes).ok_or(self.too_large)?;
        Ok(())
    }

    /// Counts and checks a line.
    pub(super) fn check(&mut self, name: &[u8], value: &[u8]) -> Result<Option<Known>, ProtocolError> {
        self.count(name.len() + value.len() + 4)?;
        check_line(name, value)
    }

    /// Takes a line that was checked.
    pub(super) fn push(&mut self, known: Option<Known>, name: &HeaderName, value: &[u8]) -> Result<(), ProtocolError> {
        match known {
            Some(known) => self.fields.push(known, value),
            None => self.fields.push_named(name.as_str(), value),
        }
        .map_err(|_| self.too_large)
    }
}

/// Checks a field line of HTTP/2 (RFC 9113 §8.2.1, §8.2.2), and says what it is known as.
fn check_line(name: &[u8], value: &[u8]) -> Result<Option<Known>, ProtocolError> {
    if name.first() == Some(&b':') {
        return Err(ProtocolError::MisplacedPseudoField);
    }
    let is_name_byte = |byte: &u8| is_token_byte(*byte) && !byte.is_ascii_uppercase();
    if let Some(&byte) = name.iter().find(|byte| !is_name_byte(byte)) {
        return Err(ProtocolError::InvalidFieldName { byte });
    }
    if name.is_empty() {
        return Err(ProtocolError::InvalidFieldName { byte: b':' });
    }
    if !is_text(value) {
        let byte = value.iter().copied().find(|byte| !is_text_byte(*byte)).unwrap_or_default();
        return Err(ProtocolError::ControlByte { byte });
    }
    if value.first().copied().is_some_and(is_blank) || value.last().copied().is_some_and(is_blank) {
        return Err(ProtocolError::PaddedFieldValue);
    }
    let known = Known::from_bytes(name);
    match known {
        Some(known) if is_of_the_connection(known) => Err(ProtocolError::ConnectionField),
        Some(Known::Te) if !value.eq_ignore_ascii_case(b"trailers") => Err(ProtocolError::InvalidTe),
        known => Ok(known),
    }
}

/// RFC 9113 §8.2.2: what HTTP/1 says of its connection.
const fn is_of_the_connection(name: Known) -> bool {
    matches!(
        name,
        Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Http2Settings
    )
}

/// The lines that may cross into HTTP/2, but `without`: neither those that speak of the connection, nor those that a
/// Connection line names (RFC 9110 §7.6.1), nor Content-Length, which is written from what is sent.
pub(super) fn write_fields(fields: &Fields, without: Option<Known>) -> Result<HeaderMap, Misuse> {
    let is_named = fields.contains(Known::Connection);
    let mut map = HeaderMap::try_with_capacity(fields.len() + 1).map_err(|_| Misuse::TooManyFields)?;
    for field in fields.iter() {
        let known = field.known();
        let stays = match known {
            _ if known.is_some() && known == without => false,
            Some(Known::ContentLength) => false,
            Some(Known::Te) => field.value().eq_ignore_ascii_case(b"trailers"),
            Some(name) if is_of_the_connection(name) => false,
            _ => {
                !is_named || is_kept_by_name(known) || !fields.list(Known::Connection).any(|name| field.is_named(name))
            }
        };
        if !stays {
            continue;
        }
        let name = match known {
            Some(known) => known.header_name(),
            None => HeaderName::from_bytes(field.name().as_bytes()).map_err(|_| Misuse::InvalidField)?,
        };
        let mut value = HeaderValue::from_bytes(field.value()).map_err(|_| Misuse::InvalidField)?;
        // RFC 7541 §7.1.3: what opens doors is kept out of the compression's tables.
        value.set_sensitive(matches!(known, Some(Known::Authorization | Known::ProxyAuthorization)));
        map.try_append(name, value).map_err(|_| Misuse::TooManyFields)?;
    }
    Ok(map)
}

/// What no Connection line can take away, as in HTTP/1 ([`crate::hop::strip_hop_by_hop`]).
const fn is_kept_by_name(known: Option<Known>) -> bool {
    matches!(
        known,
        Some(
            Known::Host
                | Known::Via
                | Known::Forwarded
                | Known::XRealIp
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedPort
                | Known::XForwardedProto
                | Known::Expect
                | Known::MaxForwards
        )
    )
}

/// Writes Content-Length.
pub(super) fn write_length(map: &mut HeaderMap, len: u64) -> Result<(), Misuse> {
    let value = HeaderValue::from_str(itoa::Buffer::new().format(len)).map_err(|_| Misuse::InvalidField)?;
    map.try_insert(http::header::CONTENT_LENGTH, value).map_err(|_| Misuse::TooManyFields)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the types of the `http` crate keep out, should they ever not.
    #[test]
    fn lines_are_checked_byte_by_byte() {
        type Line = (&'static [u8], &'static [u8], Result<Option<Known>, ProtocolError>);
        let table: &[Line] = &[
            (b"a", b"", Ok(None)),
            (b"via", b"1.1 \xe4", Ok(Some(Known::Via))),
            (b"te", b"trailers", Ok(Some(Known::Te))),
            (b"", b"", Err(ProtocolError::InvalidFieldName { byte: b':' })),
            (b":path", b"/", Err(ProtocolError::MisplacedPseudoField)),
            (b":", b"", Err(ProtocolError::MisplacedPseudoField)),
            (b"a:", b"", Err(ProtocolError::InvalidFieldName { byte: b':' })),
            (b"Via", b"", Err(ProtocolError::InvalidFieldName { byte: b'V' })),
            (b"a b", b"", Err(ProtocolError::InvalidFieldName { byte: b' ' })),
            (b"a\r\nb", b"", Err(ProtocolError::InvalidFieldName { byte: b'\r' })),
            (b"a\0", b"", Err(ProtocolError::InvalidFieldName { byte: 0 })),
            (b"\xe4", b"", Err(ProtocolError::InvalidFieldName { byte: 0xe4 })),
            (b"a", b"b\r\nc: d", Err(ProtocolError::ControlByte { byte: b'\r' })),
            (b"a", b"b\nc", Err(ProtocolError::ControlByte { byte: b'\n' })),
            (b"a", b"b\0", Err(ProtocolError::ControlByte { byte: 0 })),
            (b"a", b"\x7f", Err(ProtocolError::ControlByte { byte: 0x7f })),
            (b"a", b" b", Err(ProtocolError::PaddedFieldValue)),
            (b"connection", b"", Err(ProtocolError::ConnectionField)),
            (b"te", b"", Err(ProtocolError::InvalidTe)),
        ];
        for (name, value, expected) in table {
            assert_eq!(check_line(name, value), *expected, "{}: {}", name.escape_ascii(), value.escape_ascii());
        }
    }
}
