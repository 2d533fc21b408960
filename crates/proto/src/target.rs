//! The four forms of a request target, and the authority within two of them and within Host.

use std::fmt;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::str::FromStr;

use http::Method;
use smallvec::SmallVec;

use crate::error::ProtocolError;
use crate::grammar::{decimal, is_target};

/// The form of a request target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, with CONNECT only
    Authority,
    /// `*`, with OPTIONS only
    Asterisk,
}

/// A checked `uri-host [":" port]` (RFC 9110 §7.2), as Host and request targets hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads an authority: a registered name, an IPv4 address or an IPv6 address in brackets, then at most one colon and
    /// a port of up to five digits, 65535 at most. An empty port (`a:`) is none (RFC 3986 §3.2.3).
    ///
    /// `None` for anything else: no userinfo, no empty host, no blank, no zone, no `IPvFuture`, no byte that RFC 3986
    /// keeps out of a registered name.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (host_len, port) = Self::read(bytes)?;
        Some(Self { host: std::str::from_utf8(&bytes[..host_len]).ok()?, port })
    }

    /// Whether these bytes are one, as [`parse`](Self::parse) reads it.
    pub(crate) fn is_one(bytes: &[u8]) -> bool {
        Self::read(bytes).is_some()
    }

    /// The host's length, and the port.
    fn read(bytes: &[u8]) -> Option<(usize, Option<u16>)> {
        let host_len = match bytes {
            [b'[', literal @ ..] => {
                let len = literal.iter().position(|&byte| byte == b']')?;
                Ipv6Addr::from_str(std::str::from_utf8(&literal[..len]).ok()?).ok()?;
                len + 2
            }
            _ => registered_name_len(bytes)?,
        };
        match &bytes[host_len..] {
            [] | [b':'] => Some((host_len, None)),
            [b':', digits @ ..] if digits.len() <= 5 => {
                Some((host_len, Some(u16::try_from(decimal(digits).ok()?).ok()?)))
            }
            _ => None,
        }
    }

    /// The host as it came; an IPv6 address with its brackets.
    #[must_use]
    pub const fn host(&self) -> &'a str {
        self.host
    }

    /// The port, if one was given.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

/// How many bytes are a registered name. RFC 3986 §3.2.2: unreserved, sub-delims and percent-encoded bytes; here at least
/// one of them.
fn registered_name_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        let rest = &bytes[len..];
        len += rest.iter().position(|&byte| !NAME[usize::from(byte)]).unwrap_or(rest.len());
        match bytes[len..] {
            // Hardly any is percent-encoded.
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => len += 3,
            _ => return (len > 0).then_some(len),
        }
    }
}

/// What [`is_name_byte`] says of every byte.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // Below 256 by the loop's bound.
        #[expect(clippy::cast_possible_truncation)]
        let is_in_it = is_name_byte(byte as u8);
        table[byte] = is_in_it;
        byte += 1;
    }
    table
};

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// A checked request target, byte for byte, with the places of its parts.
#[derive(Clone)]
pub(crate) struct Target {
    /// The target; behind it, for an absolute form without a path, the path that is written upstream.
    text: SmallVec<[u8; INLINE_BYTES]>,
    /// The target's own length.
    len: u32,
    /// Where the path to write upstream begins. It reaches to the text's end.
    path: u32,
    authority: Range<u32>,
    form: TargetForm,
}

/// Targets up to this length need no allocation of their own.
const INLINE_BYTES: usize = 64;

impl Target {
    /// Reads a target. The form must fit the method.
    pub(crate) fn parse(method: &Method, raw: &[u8]) -> Result<Self, ProtocolError> {
        if raw.is_empty() || !is_target(raw) {
            return Err(ProtocolError::InvalidTarget);
        }
        let target = Self::of_path(raw).ok_or(ProtocolError::InvalidTarget)?;
        // RFC 9112 §3.2.3: CONNECT takes a host with a port and nothing else, and no other method takes that.
        if *method == Method::CONNECT {
            return target.into_authority_form();
        }
        match raw {
            [b'/', ..] => Ok(target),
            b"*" if *method == Method::OPTIONS => Ok(Self { form: TargetForm::Asterisk, ..target }),
            b"*" => Err(ProtocolError::TargetFormMismatch),
            _ => target.into_absolute_form(*method == Method::OPTIONS),
        }
    }

    /// A target in origin-form, of bytes that have been checked.
    #[inline]
    pub(crate) fn of_path(raw: &[u8]) -> Option<Self> {
        let len = u32::try_from(raw.len()).ok()?;
        Some(Self { text: SmallVec::from_slice(raw), len, path: 0, authority: 0..0, form: TargetForm::Origin })
    }

    fn into_authority_form(self) -> Result<Self, ProtocolError> {
        if matches!(self.text[..], [b'/', ..] | [b'*']) {
            return Err(ProtocolError::TargetFormMismatch);
        }
        match Authority::parse(&self.text) {
            Some(authority) if authority.port().is_some() => {
                Ok(Self { form: TargetForm::Authority, authority: 0..self.len, ..self })
            }
            _ => Err(ProtocolError::InvalidTarget),
        }
    }

    fn into_absolute_form(mut self, is_options: bool) -> Result<Self, ProtocolError> {
        // RFC 9110 §4.2: the schemes that HTTP serves. Another one is no request that we could answer.
        let start = ["http://", "https://"]
            .into_iter()
            .find(|scheme| {
                self.text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme.as_bytes()))
            })
            .ok_or(ProtocolError::InvalidTarget)?
            .len();
        let rest = &self.text[start..];
        let authority_len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        Authority::parse(&rest[..authority_len]).ok_or(ProtocolError::InvalidTarget)?;
        let end = start + authority_len;
        let path = match rest.get(authority_len) {
            Some(b'/') => end,
            // RFC 9112 §3.2.1: an empty path is written as `/`; §3.2.4: for OPTIONS without a query as `*`.
            missing => {
                let query = rest[authority_len..].to_vec();
                self.text.push(if missing.is_none() && is_options { b'*' } else { b'/' });
                self.text.extend_from_slice(&query);
                self.len as usize
            }
        };
        let offset = |at: usize| u32::try_from(at).map_err(|_| ProtocolError::InvalidTarget);
        Ok(Self { form: TargetForm::Absolute, authority: offset(start)?..offset(end)?, path: offset(path)?, ..self })
    }

    pub(crate) fn as_str(&self) -> &str {
        text(&self.text[..self.len as usize])
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len as usize]
    }

    pub(crate) const fn form(&self) -> TargetForm {
        self.form
    }

    /// The authority, of an absolute or authority form.
    pub(crate) fn authority(&self) -> Option<&str> {
        match self.form {
            TargetForm::Absolute | TargetForm::Authority => {
                Some(text(&self.text[self.authority.start as usize..self.authority.end as usize]))
            }
            TargetForm::Origin | TargetForm::Asterisk => None,
        }
    }

    pub(crate) fn path_and_query(&self) -> &str {
        text(&self.text[self.path as usize..])
    }

    /// Whether `target` is what [`path_and_query`](Self::path_and_query) says: not the same bytes, but these.
    pub(crate) fn holds(&self, target: &str) -> bool {
        std::ptr::eq(target.as_bytes(), &self.text[self.path as usize..])
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("request targets are ASCII")
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Target {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ProtocolError::{InvalidTarget, TargetFormMismatch};

    #[test]
    fn targets_and_what_goes_upstream() {
        let table = [
            (Method::GET, "/", TargetForm::Origin, None, "/"),
            (Method::GET, "/a/../b?c=d&/?", TargetForm::Origin, None, "/a/../b?c=d&/?"),
            (Method::GET, "//a:b@c/", TargetForm::Origin, None, "//a:b@c/"),
            (Method::GET, "/%2e%2E/%zz\\", TargetForm::Origin, None, "/%2e%2E/%zz\\"),
            (Method::OPTIONS, "*", TargetForm::Asterisk, None, "*"),
            (Method::OPTIONS, "/", TargetForm::Origin, None, "/"),
            (Method::GET, "http://a", TargetForm::Absolute, Some("a"), "/"),
            (Method::GET, "http://a/", TargetForm::Absolute, Some("a"), "/"),
            (Method::GET, "HTTPS://A:443/b?c", TargetForm::Absolute, Some("A:443"), "/b?c"),
            (Method::GET, "http://a?b/c", TargetForm::Absolute, Some("a"), "/?b/c"),
            (Method::GET, "http://a?", TargetForm::Absolute, Some("a"), "/?"),
            (Method::GET, "http://[::1]:8/x", TargetForm::Absolute, Some("[::1]:8"), "/x"),
            (Method::OPTIONS, "http://a:1", TargetForm::Absolute, Some("a:1"), "*"),
            (Method::OPTIONS, "http://a:1/", TargetForm::Absolute, Some("a:1"), "/"),
            (Method::OPTIONS, "http://a:1?b", TargetForm::Absolute, Some("a:1"), "/?b"),
            (Method::CONNECT, "a:443", TargetForm::Authority, Some("a:443"), "a:443"),
            (Method::CONNECT, "[::1]:443", TargetForm::Authority, Some("[::1]:443"), "[::1]:443"),
        ];
        for (method, raw, form, authority, path) in table {
            let target = Target::parse(&method, raw.as_bytes()).unwrap();
            assert_eq!((target.as_str(), target.form()), (raw, form));
            assert_eq!((target.authority(), target.path_and_query()), (authority, path), "{raw}");
        }
        let long = format!("http://a?{}", "b".repeat(1000));
        let target = Target::parse(&Method::GET, long.as_bytes()).unwrap();
        assert_eq!((target.as_str(), target.path_and_query().len()), (&long[..], 1002));
    }

    #[test]
    fn targets_that_are_refused() {
        let table = [
            (Method::GET, "", InvalidTarget),
            (Method::GET, "a", InvalidTarget),
            (Method::GET, "a/b", InvalidTarget),
            (Method::GET, "a:80", InvalidTarget),
            (Method::GET, "*/", InvalidTarget),
            (Method::GET, "http:/a", InvalidTarget),
            (Method::GET, "http:a", InvalidTarget),
            (Method::GET, "http://", InvalidTarget),
            (Method::GET, "http:///", InvalidTarget),
            (Method::GET, "http://?", InvalidTarget),
            (Method::GET, "http://:80/", InvalidTarget),
            (Method::GET, "http://a\\b/", InvalidTarget),
            (Method::GET, "http://a@b/", InvalidTarget),
            (Method::GET, "ws://a/", InvalidTarget),
            (Method::GET, "file:///etc", InvalidTarget),
            (Method::GET, "/a b", InvalidTarget),
            (Method::GET, "/a#b", InvalidTarget),
            (Method::GET, "/a\r\nB: c", InvalidTarget),
            (Method::GET, "/\u{e4}", InvalidTarget),
            (Method::GET, "*", TargetFormMismatch),
            (Method::OPTIONS, "**", InvalidTarget),
            (Method::CONNECT, "a", InvalidTarget),
            (Method::CONNECT, "a:", InvalidTarget),
            (Method::CONNECT, ":1", InvalidTarget),
            (Method::CONNECT, "u@a:1", InvalidTarget),
            (Method::CONNECT, "a:1/", InvalidTarget),
            (Method::CONNECT, "/a:1", TargetFormMismatch),
            (Method::CONNECT, "*", TargetFormMismatch),
        ];
        for (method, raw, refusal) in table {
            assert_eq!(Target::parse(&method, raw.as_bytes()).unwrap_err(), refusal, "{method} {raw}");
        }
    }

    #[test]
    fn authorities() {
        let table: [(&str, &str, Option<u16>); 13] = [
            ("a", "a", None),
            ("a.example", "a.example", None),
            ("a.example:80", "a.example", Some(80)),
            ("a:", "a", None),
            ("a:0", "a", Some(0)),
            ("a:00080", "a", Some(80)),
            ("a:65535", "a", Some(65_535)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::]", "[::]", None),
            ("[::1]:65535", "[::1]", Some(65_535)),
            ("[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]", Some(1)),
            ("a_b-c~d.e!$&'()*+,;=%20", "a_b-c~d.e!$&'()*+,;=%20", None),
            ("xn--e1afmkfd", "xn--e1afmkfd", None),
        ];
        for (text, host, port) in table {
            assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":",
            ":80",
            "a:b",
            "a:80:90",
            "a:-1",
            "a:+1",
            "a: 1",
            "a:1 ",
            "a:65536",
            "a:99999",
            "a:123456",
            "a:0x1",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]80",
            "[::1]:",
            "[::1]::1",
            "[::1]:x",
            "[]",
            "[g::]",
            "[1]",
            "[127.0.0.1]",
            "[::1%25lo]",
            "[::1%lo]",
            "[vF.a]",
            "[[::1]]",
            "a]",
            "a[",
            "u@a",
            "u:p@a:1",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "<a",
            "a>",
            "\"a\"",
            "a b",
            "a\tb",
            " a",
            "a ",
            "a\0",
            "a\r\nb",
            "\u{e4}",
            "%",
            "%4",
            "%4g",
            "a%",
            "{",
            "}",
            "|",
            "^",
            "`",
        ] {
            let expected = (text == "[::1]:").then_some(Authority { host: "[::1]", port: None });
            assert_eq!(Authority::parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
