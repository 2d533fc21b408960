//! What ends at this hop: the fields of the connection removed, Via and Max-Forwards kept.

use crate::error::{InvalidField, ProtocolError};
use crate::fields::Fields;
use crate::grammar::{NotDecimal, decimal, is_blank, trim};
use crate::head::RequestHead;
use crate::known::Known;
use crate::known_set::KnownSet;
use crate::text::{OwnedText, Text};
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
    // Most messages have no such line.
    let named = if fields.contains(Known::Connection) { remove_unknown_named(fields)? } else { KnownSet::EMPTY };
    fields.remove_all(ALWAYS.with(named).without(NEVER));
    Ok(())
}

/// Removes the fields that Connection names and that are not known ones, and says which of those it names.
fn remove_unknown_named(fields: &mut Fields) -> Result<KnownSet, ProtocolError> {
    let mut known = KnownSet::EMPTY;
    let mut others = SmallVec::<[SmallVec<[u8; 24]>; 4]>::new();
    for (count, option) in fields.list(Known::Connection).enumerate() {
        if count == MAX_CONNECTION_OPTIONS {
            return Err(ProtocolError::TooManyConnectionOptions { limit: MAX_CONNECTION_OPTIONS });
        }
        match Known::from_bytes(option) {
            Some(name) => known = known.with(KnownSet::of(&[name])),
            // `close` and `keep-alive` are options of their own, and no field has the first name.
            None if option.eq_ignore_ascii_case(b"close") || is_testimony(option) => {}
            None => others.push(SmallVec::from_slice(option)),
        }
    }
    if !others.is_empty() {
        fields.retain_unknown(|field| !others.iter().any(|option| field.is_named(option)));
    }
    Ok(known)
}

const ALWAYS: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
    Known::ProxyAuthenticate,
    Known::ProxyAuthenticationInfo,
    Known::ProxyAuthorization,
]);

const NEVER: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::ContentLength,
    Known::Via,
    Known::Forwarded,
    Known::XRealIp,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedProto,
    Known::Expect,
    Known::MaxForwards,
]);

const _: () = assert!(!ALWAYS.meets(NEVER));

/// X-Forwarded-Prefix and the like: not known here, but not for a peer to remove either.
fn is_testimony(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"X-Forwarded-";
    name.get(..PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX))
}

/// A proxy's entry in Via (RFC 9110 §7.6.3), ready for each message.
#[derive(Clone, Debug)]
pub struct ViaEntry {
    pseudonym: Box<[u8]>,
    /// In the order of [`Version`].
    by_version: [OwnedText; 3],
}

impl ViaEntry {
    /// The entry of a proxy that calls itself so.
    ///
    /// # Errors
    /// [`InvalidField::Value`] when the pseudonym is empty or cannot stand in Via: it holds a blank, a comma or a byte
    /// that cannot be sent.
    pub fn new(pseudonym: &str) -> Result<Self, InvalidField> {
        if pseudonym.is_empty() || pseudonym.bytes().any(|byte| is_blank(byte) || byte == b',') {
            return Err(InvalidField::Value);
        }
        let entry = |version: Version| {
            let text = format!("{} {pseudonym}", version.number());
            Text::new(text.as_bytes()).map(OwnedText::from)
        };
        Ok(Self {
            by_version: [entry(Version::Http10)?, entry(Version::Http11)?, entry(Version::Http2)?],
            pseudonym: pseudonym.as_bytes().into(),
        })
    }

    /// Appends the entry to Via: the version in which the message came, and the pseudonym.
    pub fn append_to(&self, fields: &mut Fields, version: Version) {
        // Nothing is left out but where all lines together exceed 4 GiB.
        let _ = fields.push_text(Known::Via, [self.by_version[version as usize].as_text()]);
    }

    /// True when an entry of Via is by this pseudonym, in any case: the message went around in a circle.
    #[must_use]
    pub fn is_in(&self, fields: &Fields) -> bool {
        fields.contains(Known::Via) && fields.list(Known::Via).any(|entry| self.is_by_same(entry))
    }

    fn is_by_same(&self, entry: &[u8]) -> bool {
        // received-protocol RWS received-by [ RWS comment ]
        let by = entry.iter().position(|&byte| is_blank(byte)).map_or(&[][..], |end| trim(&entry[end..]));
        let by = by.split(|&byte| is_blank(byte)).next().unwrap_or_default();
        by.eq_ignore_ascii_case(&self.pseudonym)
    }
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
        let fields = fields(&[("Via", "1.0 fred, HTTP/1.1 p.example:80 (a comment)")]);
        let sheave = ViaEntry::new("sheave").unwrap();
        assert!(!sheave.is_in(&Fields::new()) && !sheave.is_in(&fields));
        for (version, entry) in
            [(Version::Http10, "1.0 sheave"), (Version::Http11, "1.1 sheave"), (Version::Http2, "2 sheave")]
        {
            let mut fields = fields.clone();
            sheave.append_to(&mut fields, version);
            assert_eq!(fields.get_all(Known::Via).last(), Some(entry.as_bytes()));
            assert!(sheave.is_in(&fields) && fields.count(Known::Via) == 2);
        }
        for (name, is_in) in [
            ("fred", true),
            ("P.example:80", true),
            ("1.0", false),
            ("p.example", false),
            ("(a", false),
            ("comment)", false),
            ("fre", false),
            ("sheave", false),
        ] {
            assert_eq!(ViaEntry::new(name).unwrap().is_in(&fields), is_in, "{name}");
        }
        for name in ["", "a b", "a,b", "a\t", "a\r\nB: c", "a\x7f"] {
            assert_eq!(ViaEntry::new(name).err(), Some(InvalidField::Value), "{name:?}");
        }
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
