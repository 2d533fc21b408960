//! The field names that a proxy, a server or a client acts upon, found without hashing.

use std::fmt;

macro_rules! known {
    ( $( $variant:ident = $name:literal, )+ ) => {
        /// A field name that something in this stack acts upon. One byte; every other name stays a string.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Known {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )+
        }

        impl Known {
            /// Every known name once, in the order of the enum.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The name in the spelling of the registry, which is the one that we write.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// The name as a key of [`http::HeaderMap`]. Costs no more than a copy.
            #[must_use]
            pub fn header_name(self) -> http::HeaderName {
                static NAMES: [http::HeaderName; Known::ALL.len()] = [
                    $({
                        const LOWER: [u8; MAX_LEN] = lower($name);
                        header_name(&LOWER, $name.len())
                    },)+
                ];
                NAMES[self as usize].clone()
            }
        }
    };
}

/// No known name is longer.
const MAX_LEN: usize = 32;

const fn lower(name: &str) -> [u8; MAX_LEN] {
    let (bytes, mut out, mut at) = (name.as_bytes(), [0; MAX_LEN], 0);
    while at < bytes.len() {
        out[at] = bytes[at].to_ascii_lowercase();
        at += 1;
    }
    out
}

/// The first `len` bytes as a name, when this is compiled.
const fn header_name(lower: &'static [u8; MAX_LEN], len: usize) -> http::HeaderName {
    match std::str::from_utf8(lower.split_at(len).0) {
        Ok(name) => http::HeaderName::from_static(name),
        Err(_) => unreachable!(),
    }
}

known! {
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    Age = "Age",
    Allow = "Allow",
    AltSvc = "Alt-Svc",
    Authorization = "Authorization",
    CacheControl = "Cache-Control",
    Connection = "Connection",
    ContentEncoding = "Content-Encoding",
    ContentLength = "Content-Length",
    ContentRange = "Content-Range",
    ContentType = "Content-Type",
    Cookie = "Cookie",
    Date = "Date",
    Etag = "ETag",
    Expect = "Expect",
    Expires = "Expires",
    Forwarded = "Forwarded",
    From = "From",
    Host = "Host",
    Http2Settings = "HTTP2-Settings",
    IdempotencyKey = "Idempotency-Key",
    IfMatch = "If-Match",
    IfModifiedSince = "If-Modified-Since",
    IfNoneMatch = "If-None-Match",
    IfRange = "If-Range",
    IfUnmodifiedSince = "If-Unmodified-Since",
    KeepAlive = "Keep-Alive",
    LastModified = "Last-Modified",
    Link = "Link",
    Location = "Location",
    MaxForwards = "Max-Forwards",
    Origin = "Origin",
    Pragma = "Pragma",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthenticationInfo = "Proxy-Authentication-Info",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyConnection = "Proxy-Connection",
    Range = "Range",
    Referer = "Referer",
    RetryAfter = "Retry-After",
    SecWebSocketAccept = "Sec-WebSocket-Accept",
    SecWebSocketKey = "Sec-WebSocket-Key",
    Server = "Server",
    SetCookie = "Set-Cookie",
    SheaveError = "Sheave-Error",
    Te = "TE",
    Traceparent = "traceparent",
    Trailer = "Trailer",
    TransferEncoding = "Transfer-Encoding",
    Upgrade = "Upgrade",
    UserAgent = "User-Agent",
    Vary = "Vary",
    Via = "Via",
    WwwAuthenticate = "WWW-Authenticate",
    XForwardedFor = "X-Forwarded-For",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XForwardedProto = "X-Forwarded-Proto",
    XRealIp = "X-Real-IP",
    XRequestId = "X-Request-ID",
}

impl Known {
    /// The known name that `name` spells, in any case; `None` for every other name.
    ///
    /// Length and first letter leave one candidate, seldom two; then the bytes are compared once.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        let first = name.first()?.to_ascii_lowercase();
        let candidate = match (name.len(), first) {
            (2, b't') => Self::Te,
            (3, b'a') => Self::Age,
            (3, b'v') => Self::Via,
            (4, b'd') => Self::Date,
            (4, b'e') => Self::Etag,
            (4, b'f') => Self::From,
            (4, b'h') => Self::Host,
            (4, b'l') => Self::Link,
            (4, b'v') => Self::Vary,
            (5, b'a') => Self::Allow,
            (5, b'r') => Self::Range,
            (6, b'a') => Self::Accept,
            (6, b'c') => Self::Cookie,
            (6, b'e') => Self::Expect,
            (6, b'o') => Self::Origin,
            (6, b'p') => Self::Pragma,
            (6, b's') => Self::Server,
            (7, b'a') => Self::AltSvc,
            (7, b'e') => Self::Expires,
            (7, b'r') => Self::Referer,
            (7, b't') => Self::Trailer,
            (7, b'u') => Self::Upgrade,
            (8, b'i') if name[3].eq_ignore_ascii_case(&b'm') => Self::IfMatch,
            (8, b'i') => Self::IfRange,
            (8, b'l') => Self::Location,
            (9, b'f') => Self::Forwarded,
            (9, b'x') => Self::XRealIp,
            (10, b'c') => Self::Connection,
            (10, b'k') => Self::KeepAlive,
            (10, b's') => Self::SetCookie,
            (10, b'u') => Self::UserAgent,
            (11, b'r') => Self::RetryAfter,
            (11, b't') => Self::Traceparent,
            (12, b'c') => Self::ContentType,
            (12, b'm') => Self::MaxForwards,
            (12, b's') => Self::SheaveError,
            (12, b'x') => Self::XRequestId,
            (13, b'a') => Self::Authorization,
            (13, b'c') if name[1].eq_ignore_ascii_case(&b'a') => Self::CacheControl,
            (13, b'c') => Self::ContentRange,
            (13, b'i') => Self::IfNoneMatch,
            (13, b'l') => Self::LastModified,
            (14, b'c') => Self::ContentLength,
            (14, b'h') => Self::Http2Settings,
            (15, b'a') => Self::AcceptEncoding,
            (15, b'i') => Self::IdempotencyKey,
            (15, b'x') => Self::XForwardedFor,
            (16, b'c') => Self::ContentEncoding,
            (16, b'p') => Self::ProxyConnection,
            (16, b'w') => Self::WwwAuthenticate,
            (16, b'x') if name[12].eq_ignore_ascii_case(&b'h') => Self::XForwardedHost,
            (16, b'x') => Self::XForwardedPort,
            (17, b'i') => Self::IfModifiedSince,
            (17, b's') => Self::SecWebSocketKey,
            (17, b't') => Self::TransferEncoding,
            (17, b'x') => Self::XForwardedProto,
            (18, b'p') => Self::ProxyAuthenticate,
            (19, b'i') => Self::IfUnmodifiedSince,
            (19, b'p') => Self::ProxyAuthorization,
            (20, b's') => Self::SecWebSocketAccept,
            (25, b'p') => Self::ProxyAuthenticationInfo,
            _ => return None,
        };
        spells(name, candidate.as_str().as_bytes()).then_some(candidate)
    }
}

const _: () = assert!(Known::ALL.len() <= 64);

/// A bit for each name, so that many can be asked for at once.
pub(crate) const fn bit(name: Known) -> u64 {
    1 << name as u8
}

/// Whether `name` is `known` in any case, where both are of one length. `known` has letters, digits and hyphens alone.
///
/// Eight bytes at a time, and the last eight once more: most names take two or three comparisons.
fn spells(name: &[u8], known: &[u8]) -> bool {
    match name.len() {
        0..4 => name.eq_ignore_ascii_case(known),
        4..8 => same_4(name, known, 0) && same_4(name, known, name.len() - 4),
        len => (0..len - 8).step_by(8).all(|at| same_8(name, known, at)) && same_8(name, known, len - 8),
    }
}

/// Letters are the same but for bit 5, and only letters are: of what may stand in a known name, they alone have bit 6.
fn same_8(name: &[u8], known: &[u8], at: usize) -> bool {
    let word = |bytes: &[u8]| bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map(u64::from_le_bytes);
    let (Some(name), Some(known)) = (word(name), word(known)) else { return false };
    let letters = (known & 0x4040_4040_4040_4040) >> 1;
    (name ^ known) & !letters == 0
}

/// As [`same_8`], for four.
fn same_4(name: &[u8], known: &[u8], at: usize) -> bool {
    let word = |bytes: &[u8]| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    let (Some(name), Some(known)) = (word(name), word(known)) else { return false };
    let letters = (known & 0x4040_4040) >> 1;
    (name ^ known) & !letters == 0
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &known in Known::ALL {
            let name = known.as_str();
            for spelling in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                assert_eq!(Known::from_bytes(spelling.as_bytes()), Some(known), "{spelling}");
            }
            assert_eq!(known.header_name().as_str(), name.to_ascii_lowercase());
        }
    }

    #[test]
    fn near_misses_are_not_known() {
        for &known in Known::ALL {
            let name = known.as_str().as_bytes();
            for at in 0..name.len() {
                let mut near = name.to_vec();
                // `_` for `-` and the like: a look-alike is another field.
                near[at] = if near[at] == b'-' { b'_' } else { b'~' };
                assert_eq!(Known::from_bytes(&near), None, "{:?}", String::from_utf8_lossy(&near));
                // Every other byte in its place, but the other case of the first letter.
                for other in 0..=u8::MAX {
                    near[at] = other;
                    let expected = near.eq_ignore_ascii_case(name).then_some(known);
                    assert_eq!(Known::from_bytes(&near), expected, "{:?}", String::from_utf8_lossy(&near));
                }
            }
            assert_eq!(Known::from_bytes(&name[..name.len() - 1]), None);
            assert_eq!(Known::from_bytes(&[name, b"s"].concat()), None);
        }
        assert_eq!(Known::from_bytes(b""), None);
        assert_eq!(Known::from_bytes(b"X-Anything"), None);
    }

    #[test]
    fn a_known_name_is_one_byte() {
        assert_eq!(size_of::<Option<Known>>(), 1);
    }
}
