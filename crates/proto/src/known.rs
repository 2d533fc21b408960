//! The field names that a proxy, a server or a client acts upon, found without hashing.

use std::fmt;

use crate::word::word;

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

            /// How a line of this name begins: the name as we write it, a colon and a blank.
            #[inline]
            pub(crate) const fn line_begin(self) -> &'static [u8] {
                match self { $( Self::$variant => concat!($name, ": ").as_bytes(), )+ }
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
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::of_first(name, name.len())
    }

    /// As [`from_bytes`](Self::from_bytes), of the first `len` of `bytes`: with more behind them it is quicker.
    ///
    /// Three things about a name leave one candidate; then the bytes are compared, eight at a time.
    #[inline(always)]
    pub(crate) fn of_first(bytes: &[u8], len: usize) -> Option<Self> {
        let [.., last_but_one, _] = bytes.get(..len)? else { return None };
        let candidate = CANDIDATES[place(len, bytes[0], *last_but_one, FACTOR)]?;
        let spelling = &SPELLINGS[candidate as usize];
        if spelling.len != len {
            return None;
        }
        for (number, (known, counts)) in spelling.words.iter().enumerate() {
            if number * 8 >= len {
                break;
            }
            if (word(bytes, number * 8) ^ known) & counts != 0 {
                return None;
            }
        }
        Some(candidate)
    }
}

/// How a known name is spelled.
#[derive(Clone, Copy)]
struct Spelling {
    len: usize,
    /// Eight of its bytes each, and the bits of them that count: not those behind its end, and of a letter not the one
    /// that tells its case.
    words: [(u64, u64); MAX_WORDS],
}

const MAX_WORDS: usize = MAX_LEN / 8;

static SPELLINGS: [Spelling; Known::ALL.len()] = {
    let mut spellings = [Spelling { len: 0, words: [(0, 0); MAX_WORDS] }; Known::ALL.len()];
    let mut at = 0;
    while at < Known::ALL.len() {
        spellings[at] = spelling(Known::ALL[at].as_str().as_bytes());
        at += 1;
    }
    spellings
};

const fn spelling(name: &[u8]) -> Spelling {
    let mut spelling = Spelling { len: name.len(), words: [(0, 0); MAX_WORDS] };
    let mut at = 0;
    while at < name.len() {
        let counts: u8 = if name[at].is_ascii_alphabetic() { !0x20 } else { 0xFF };
        let (word, all_counts) = &mut spelling.words[at / 8];
        *word |= (name[at] as u64) << (at % 8 * 8);
        *all_counts |= (counts as u64) << (at % 8 * 8);
        at += 1;
    }
    spelling
}

/// The one known name at each [`place`].
static CANDIDATES: [Option<Known>; PLACES] = match candidates(FACTOR) {
    Some(candidates) => candidates,
    None => unreachable!(),
};

const PLACES: usize = 512;

/// With which no two known names share a place. Among odd numbers one in a few dozen does.
const FACTOR: u32 = {
    let mut factor: u32 = 1;
    while candidates(factor).is_none() {
        factor = factor.wrapping_mul(0x9E37_79B1);
    }
    factor
};

const fn candidates(factor: u32) -> Option<[Option<Known>; PLACES]> {
    let mut table = [None; PLACES];
    let mut at = 0;
    while at < Known::ALL.len() {
        let name = Known::ALL[at].as_str().as_bytes();
        let place = place(name.len(), name[0], name[name.len() - 2], factor);
        if table[place].is_some() {
            return None;
        }
        table[place] = Some(Known::ALL[at]);
        at += 1;
    }
    Some(table)
}

/// Where in the table a name is, in any case.
const fn place(len: usize, first: u8, last_but_one: u8, factor: u32) -> usize {
    // A longer name shares a place with a shorter one, and differs from it.
    #[expect(clippy::cast_possible_truncation)]
    let name = len as u8 as u32 | (first as u32 | 0x20) << 8 | (last_but_one as u32 | 0x20) << 16;
    (name.wrapping_mul(factor) >> (u32::BITS - PLACES.ilog2())) as usize
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
                    // Whatever stands behind it.
                    for behind in [&b":"[..], b": v\r\n", b"-and-whatever-else-there-may-be"] {
                        let line = [&near, behind].concat();
                        assert_eq!(Known::of_first(&line, near.len()), expected, "{}", line.escape_ascii());
                    }
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
