//! What ends at this hop: the fields of the connection removed, Via and Max-Forwards kept.

use crate::error::{InvalidField, ProtocolError};
use crate::fields::Fields;
use crate::grammar::{NotDecimal, decimal, is_blank, trim};
use crate::head::RequestHead;
use crate::known::{Known, bit};
use crate::version::Version;

use http::Method;
use smallvec::SmallVec;

/// Connection options that one message may name. Real ones name two or three; each is compared with every field.
pub const MAX_CONNECTION_OPTIONS: usize = 32;

/// Removes what was meant for this hop alone, from a head or a trailer section of either direction (RFC 9110 §7.6.1):
///
/// - every field that any Connection line names, and Connection itself;
/// - Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade and HTTP2-Settings, named or not;
/// - Proxy-Authenticate, Proxy-Authentication-Info and Proxy-Authorization, which speak of the next proxy (RFC 9110
///   §11.7): that is us.
///
/// What Connection cannot remove, since a peer would then edit what this hop or an earlier one testifies: Host,
/// Content-Length, Via, Forwarded, X-Real-IP, every X-Forwarded-*, Expect and Max-Forwards. Framing is read before and
/// written anew after, so nothing is lost with Transfer-Encoding. Read [`keeps_alive`](crate::framing::keeps_alive),
/// [`upgrade`](crate::framing::upgrade) and the body's length first; add our own fields after.
///
/// # Errors
/// [`ProtocolError::TooManyConnectionOptions`] beyond [`MAX_CONNECTION_OPTIONS`]; nothing is removed then.
pub fn strip_hop_by_hop(fields: &mut Fields) -> Result<(), ProtocolError> {
    let mut known = ALWAYS;
    let mut others = SmallVec::<[SmallVec<[u8; 24]>; 4]>::new();
    for (count, option) in fields.list(Known::Connection).enumerate() {
        if count == MAX_CONNECTION_OPTIONS {
            return Err(ProtocolError::TooManyConnectionOptions { limit: MAX_CONNECTION_OPTIONS });
        }
        match Known::from_bytes(option) {
            Some(name) => known |= bit(name),
            // `close` and `keep-alive` are options of their own, and no field has the first name.
            None if option.eq_ignore_ascii_case(b"close") || is_testimony(option) => {}
            None => others.push(SmallVec::from_slice(option)),
        }
    }
    let known = known & !NEVER;
    fields.remove_known(known);
    if !others.is_empty() {
        fields.retain(|field| field.known().is_some() || !others.iter().any(|option| field.is_named(option)));
    }
    Ok(())
}

const ALWAYS: u64 = bit(Known::Connection)
    | bit(Known::KeepAlive)
    | bit(Known::ProxyConnection)
    | bit(Known::Te)
    | bit(Known::TransferEncoding)
    | bit(Known::Upgrade)
    | bit(Known::Http2Settings)
    | bit(Known::ProxyAuthenticate)
    | bit(Known::ProxyAuthenticationInfo)
    | bit(Known::ProxyAuthorization);

const NEVER: u64 = bit(Known::Host)
    | bit(Known::ContentLength)
    | bit(Known::Via)
    | bit(Known::Forwarded)
    | bit(Known::XRealIp)
    | bit(Known::XForwardedFor)
    | bit(Known::XForwardedHost)
    | bit(Known::XForwardedPort)
    | bit(Known::XForwardedProto)
    | bit(Known::Expect)
    | bit(Known::MaxForwards);

const _: () = assert!(ALWAYS & NEVER == 0);

/// X-Forwarded-Prefix and the like: not known here, but not for a peer to remove either.
fn is_testimony(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"X-Forwarded-";
    name.get(..PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX))
}

/// Appends our entry to Via: the version in which the message came, and our pseudonym (RFC 9110 §7.6.3).
///
/// # Errors
/// [`InvalidField::Value`] when the pseudonym is empty or cannot stand in Via: it holds a blank, a comma or a byte that
/// cannot be sent.
pub fn append_via(fields: &mut Fields, version: Version, pseudonym: &str) -> Result<(), InvalidField> {
    if pseudonym.is_empty() || pseudonym.bytes().any(|byte| is_blank(byte) || byte == b',') {
        return Err(InvalidField::Value);
    }
    fields.push_joined(Known::Via, &[version.number().as_bytes(), b" ", pseudonym.as_bytes()])
}

/// True when an entry of Via is by this pseudonym, in any case: the message went around in a circle.
#[must_use]
pub fn via_contains(fields: &Fields, pseudonym: &str) -> bool {
    fields.list(Known::Via).any(|entry| {
        // received-protocol RWS received-by [ RWS comment ]
        let by = entry.iter().position(|&byte| is_blank(byte)).map_or(&[][..], |end| trim(&entry[end..]));
        let by = by.split(|&byte| is_blank(byte)).next().unwrap_or_default();
        by.eq_ignore_ascii_case(pseudonym.as_bytes())
    })
}

/// How often an OPTIONS or TRACE request may still be forwarded: at zero it is answered here, else it goes on with one
/// less (RFC 9110 §7.6.2). `None` without the field, and with every other method, where it means nothing.
///
/// # Errors
/// [`ProtocolError::InvalidMaxForwards`] when the field comes twice or is not `1*DIGIT`. What does not fit into 64 bits
/// reads as the largest number that does.
pub fn max_forwards(head: &RequestHead) -> Result<Option<u64>, ProtocolError> {
    if !matches!(*head.method(), Method::OPTIONS | Method::TRACE) {
        return Ok(None);
    }
    let mut lines = head.fields().get_all(Known::MaxForwards);
    let Some(value) = lines.next() else { return Ok(None) };
    match (decimal(value), lines.next()) {
        (Ok(count), None) => Ok(Some(count)),
        (Err(NotDecimal::Overflow), None) => Ok(Some(u64::MAX)),
        _ => Err(ProtocolError::InvalidMaxForwards),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push_named(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn names(fields: &Fields) -> Vec<&str> {
        fields.iter().map(|field| field.name()).collect()
    }

    #[test]
    fn what_is_always_removed() {
        let mut fields = fields(&[
            ("A", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("te", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("UPGRADE", "h2c"),
            ("HTTP2-Settings", "AAMAAABk"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Proxy-Authenticate", "Basic"),
            ("Trailer", "X-Sum"),
            ("B", "2"),
        ]);
        strip_hop_by_hop(&mut fields).unwrap();
        assert_eq!(names(&fields), ["A", "Trailer", "B"]);
    }

    #[test]
    fn what_connection_names_is_removed() {
        let mut fields = fields(&[
            ("Connection", "close, x-one ,Cookie"),
            ("X-One", "1"),
            ("A", "1"),
            ("CONNECTION", "\t,keep-alive,X-TWO"),
            ("x-two", "2"),
            ("cookie", "a=b"),
            ("X-One", "3"),
            ("X-Three", "3"),
            ("Close", "4"),
        ]);
        strip_hop_by_hop(&mut fields).unwrap();
        assert_eq!(names(&fields), ["A", "X-Three", "Close"]);
    }

    #[test]
    fn what_connection_cannot_remove() {
        let testimony = [
            "Host",
            "Content-Length",
            "Via",
            "Forwarded",
            "X-Real-IP",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Proto",
            "X-Forwarded-Prefix",
            "Expect",
            "Max-Forwards",
        ];
        for name in testimony {
            let mut fields = fields(&[("connection", &name.to_ascii_lowercase()), (name, "1"), (name, "2")]);
            strip_hop_by_hop(&mut fields).unwrap();
            assert_eq!(names(&fields), [name, name]);
        }
    }

    #[test]
    fn too_many_options_are_refused() {
        let options = |count| vec!["x"; count].join(",");
        let mut fields = fields(&[("Connection", &options(20)), ("X", "1"), ("Connection", &options(12))]);
        let mut one_more = fields.clone();
        strip_hop_by_hop(&mut fields).unwrap();
        assert!(fields.is_empty());
        one_more.push(Known::Connection, b"x").unwrap();
        let refusal = ProtocolError::TooManyConnectionOptions { limit: 32 };
        assert_eq!(strip_hop_by_hop(&mut one_more), Err(refusal));
        assert_eq!(one_more.len(), 4);
    }

    #[test]
    fn via() {
        let mut fields = fields(&[("Via", "1.0 fred, HTTP/1.1 p.example:80 (a comment)")]);
        append_via(&mut fields, Version::Http10, "sheave").unwrap();
        assert_eq!(fields.get_all(Known::Via).last(), Some(&b"1.0 sheave"[..]));
        for name in ["fred", "P.example:80", "SHEAVE"] {
            assert!(via_contains(&fields, name), "{name}");
        }
        for name in ["1.0", "p.example", "(a", "comment", "", "sheav"] {
            assert!(!via_contains(&fields, name), "{name}");
        }
        for name in ["", "a b", "a,b", "a\r\nB: c"] {
            assert_eq!(append_via(&mut fields, Version::Http11, name), Err(InvalidField::Value), "{name:?}");
        }
        assert_eq!(fields.count(Known::Via), 2);
    }

    #[test]
    fn max_forwards_is_read_for_two_methods() {
        let invalid = Err(ProtocolError::InvalidMaxForwards);
        type Expected = Result<Option<u64>, ProtocolError>;
        let table: &[(Method, &[&str], Expected)] = &[
            (Method::OPTIONS, &[], Ok(None)),
            (Method::OPTIONS, &["0"], Ok(Some(0))),
            (Method::TRACE, &["10"], Ok(Some(10))),
            (Method::TRACE, &["99999999999999999999"], Ok(Some(u64::MAX))),
            (Method::TRACE, &["-1"], invalid),
            (Method::TRACE, &[""], invalid),
            (Method::TRACE, &["1", "1"], invalid),
            (Method::TRACE, &["1, 1"], invalid),
            (Method::GET, &["x"], Ok(None)),
        ];
        for (method, values, expected) in table {
            let mut head = RequestHead::new(method.clone(), "/").unwrap();
            for value in *values {
                head.fields_mut().push(Known::MaxForwards, value.as_bytes()).unwrap();
            }
            assert_eq!(max_forwards(&head), *expected, "{method} {values:?}");
        }
    }
}
