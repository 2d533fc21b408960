//! URLs as a client meets them: credentials in them, queries added to them, and references to others resolved.

use std::fmt;

use http::Uri;
use http::uri::{Authority, Scheme};

/// What is wrong with a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UrlFault {
    /// It is none: it holds what a URL cannot, or is too long.
    Malformed,
    /// It names no host, as a path alone does.
    NoHost,
    /// Its scheme is neither `http` nor `https`.
    Scheme,
    /// Its host is neither a name nor an IP address, or its port is none.
    Host,
    /// It came from a server, and holds a user's name: whoever wrote it wants another host to be seen than is asked.
    /// RFC 9110 §4.2.4
    Credentials,
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is no URL (is something in it not percent-encoded?)",
            Self::NoHost => "it names no host",
            Self::Scheme => "its scheme is neither http nor https",
            Self::Host => "its host is neither a name nor an address, or its port is none",
            Self::Credentials => "it names a user",
        })
    }
}

impl std::error::Error for UrlFault {}

/// Whether a URL's scheme is `https`.
///
/// # Errors
/// [`UrlFault::Scheme`] for one that is neither that nor `http`; [`UrlFault::NoHost`] for none at all.
pub(crate) fn is_secure(url: &Uri) -> Result<bool, UrlFault> {
    match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => Ok(true),
        Some(scheme) if *scheme == Scheme::HTTP => Ok(false),
        Some(_) => Err(UrlFault::Scheme),
        None => Err(UrlFault::NoHost),
    }
}

/// Host without brackets, and port, by the scheme if none is said.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn host_and_port(url: &Uri) -> Result<(&str, u16), UrlFault> {
    let default = if is_secure(url)? { 443 } else { 80 };
    let authority = url.authority().ok_or(UrlFault::NoHost)?;
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(UrlFault::NoHost);
    }
    // RFC 3986 §3.2.3: an empty port is none.
    let port = match authority.as_str().rsplit_once(':') {
        Some((_, digits)) if !digits.ends_with(']') && !digits.is_empty() => {
            digits.parse().ok().filter(|port| *port > 0).ok_or(UrlFault::Host)?
        }
        _ => default,
    };
    Ok((host, port))
}

/// Whether two URLs have the same origin: scheme, host and port. RFC 6454 §4
pub(crate) fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    match (is_secure(one), is_secure(other), host_and_port(one), host_and_port(other)) {
        (Ok(one), Ok(other), Ok((host, port)), Ok((other_host, other_port))) => {
            one == other && port == other_port && host.eq_ignore_ascii_case(other_host)
        }
        _ => false,
    }
}

/// A user's name and password.
pub(crate) type Credentials = (Vec<u8>, Vec<u8>);

/// The URL without the user's name and password that it holds, and those, decoded.
pub(crate) fn without_credentials(url: Uri) -> (Uri, Option<Credentials>) {
    // Mostly there are none, and to look for a byte costs less than to look for a character from behind.
    if !url.authority().is_some_and(|authority| authority.as_str().as_bytes().contains(&b'@')) {
        return (url, None);
    }
    let Some((user, host)) = url.authority().and_then(|authority| authority.as_str().rsplit_once('@')) else {
        return (url, None);
    };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let credentials = (percent_decoded(name), percent_decoded(password));
    let Ok(authority) = host.parse::<Authority>() else { return (url, None) };
    let mut parts = url.into_parts();
    parts.authority = Some(authority);
    // Nothing was taken from it that a URL must have.
    (Uri::from_parts(parts).unwrap_or_default(), Some(credentials))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let hex = |byte: u8| (byte as char).to_digit(16);
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let [first, rest @ ..] = bytes {
        let pair = match rest {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(byte) => {
                decoded.push(byte);
                bytes = &rest[2..];
            }
            None => {
                decoded.push(*first);
                bytes = rest;
            }
        }
    }
    decoded
}

/// The URL with pairs added to its query, as HTML's forms write them (application/x-www-form-urlencoded).
///
/// # Errors
/// [`UrlFault::Malformed`] when it becomes longer than a URL may be: 65,534 bytes.
pub(crate) fn with_query<'p>(url: Uri, pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Uri, UrlFault> {
    let added = form(pairs);
    if added.is_empty() {
        return Ok(url);
    }
    let mut parts = url.into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let separator = match path.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    parts.path_and_query = Some(format!("{path}{separator}{added}").parse().map_err(|_| UrlFault::Malformed)?);
    Uri::from_parts(parts).map_err(|_| UrlFault::Malformed)
}

/// Pairs as HTML's forms write them.
pub(crate) fn form<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        write_form(&mut text, name);
        text.push('=');
        write_form(&mut text, value);
    }
    text
}

fn write_form(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => into.push(byte as char),
            b' ' => into.push('+'),
            byte => write_percent(into, byte),
        }
    }
}

fn write_percent(into: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    into.push('%');
    into.push(HEX[usize::from(byte >> 4)] as char);
    into.push(HEX[usize::from(byte & 15)] as char);
}

/// What `reference`, as a `Location` has it, means where `base` was asked. RFC 3986 §5.2
///
/// Bytes that a URL cannot hold, such as UTF-8's, are percent-encoded, as browsers do. A fragment is dropped.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn resolve(base: &Uri, reference: &[u8]) -> Result<Uri, UrlFault> {
    let reference = reference.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut text = String::with_capacity(reference.len());
    for byte in reference {
        match byte {
            0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => {
                write_percent(&mut text, *byte);
            }
            byte => text.push(*byte as char),
        }
    }
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
        _ => (base.scheme_str().unwrap_or_default().to_owned(), text.as_str()),
    };
    let names_scheme = rest.len() < text.len();
    if names_scheme && scheme != "http" && scheme != "https" {
        return Err(UrlFault::Scheme);
    }
    let (authority, rest) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None if names_scheme => return Err(UrlFault::NoHost),
        None => (base.authority().map_or("", Authority::as_str), rest),
    };
    if authority.is_empty() {
        return Err(UrlFault::NoHost);
    }
    if authority.contains('@') {
        return Err(UrlFault::Credentials);
    }
    let is_elsewhere = text.starts_with("//") || names_scheme;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (path, query) = if is_elsewhere || path.starts_with('/') {
        (without_dots(path), query)
    } else if path.is_empty() {
        (base.path().to_owned(), query.or(base.query()))
    } else {
        let parent = base.path().rfind('/').map_or("/", |at| &base.path()[..=at]);
        (without_dots(&format!("{parent}{path}")), query)
    };
    let path = if path.is_empty() { "/" } else { &path };
    let mark = if query.is_some() { "?" } else { "" };
    format!("{scheme}://{authority}{path}{mark}{}", query.unwrap_or_default()).parse().map_err(|_| UrlFault::Malformed)
}

/// RFC 3986 §3.1
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// A path without its segments `.` and `..`. RFC 3986 §5.2.4
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len());
    kept.iter().for_each(|segment| {
        text.push('/');
        text.push_str(segment);
    });
    text
}

/// Base64 with padding. RFC 4648 §4
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_usize, |word, byte| word << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = ALPHABET[word >> (18 - 6 * place) & 63];
            text.push(if place <= three.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §5.4, as far as it is about `http`, and what servers really send.
    #[test]
    fn references() {
        for (reference, expected) in [
            ("g", Ok("http://a/b/c/g")),
            ("./g", Ok("http://a/b/c/g")),
            ("g/", Ok("http://a/b/c/g/")),
            ("/g", Ok("http://a/g")),
            ("//g", Ok("http://g/")),
            ("?y", Ok("http://a/b/c/d;p?y")),
            ("g?y", Ok("http://a/b/c/g?y")),
            ("#s", Ok("http://a/b/c/d;p?q")),
            ("g#s", Ok("http://a/b/c/g")),
            ("g?y#s", Ok("http://a/b/c/g?y")),
            (";x", Ok("http://a/b/c/;x")),
            ("g;x=1/./y", Ok("http://a/b/c/g;x=1/y")),
            ("", Ok("http://a/b/c/d;p?q")),
            (".", Ok("http://a/b/c/")),
            ("./", Ok("http://a/b/c/")),
            ("..", Ok("http://a/b/")),
            ("../", Ok("http://a/b/")),
            ("../g", Ok("http://a/b/g")),
            ("../..", Ok("http://a/")),
            ("../../g", Ok("http://a/g")),
            ("../../../g", Ok("http://a/g")),
            ("/./g", Ok("http://a/g")),
            ("/../g", Ok("http://a/g")),
            ("g.", Ok("http://a/b/c/g.")),
            ("..g", Ok("http://a/b/c/..g")),
            ("./../g", Ok("http://a/b/g")),
            ("./g/.", Ok("http://a/b/c/g/")),
            ("g/../h", Ok("http://a/b/c/h")),
            ("g?y/../x", Ok("http://a/b/c/g?y/../x")),
            ("https://h:81/x/../y", Ok("https://h:81/y")),
            ("HTTP://h", Ok("http://h/")),
            ("http://h?q", Ok("http://h/?q")),
            ("//h:8080?q", Ok("http://h:8080/?q")),
            ("/a b/\u{e9}?\"", Ok("http://a/a%20b/%C3%A9?%22")),
            ("/a\\b", Ok("http://a/a%5Cb")),
            ("a:b", Err(UrlFault::Scheme)),
            ("./a:b", Ok("http://a/b/c/a:b")),
            ("http:g", Err(UrlFault::NoHost)),
            ("http://", Err(UrlFault::NoHost)),
            ("///g", Err(UrlFault::NoHost)),
            ("ftp://h/", Err(UrlFault::Scheme)),
            ("javascript:alert(1)", Err(UrlFault::Scheme)),
            ("http://user@h/", Err(UrlFault::Credentials)),
            ("//good.example@evil.example/", Err(UrlFault::Credentials)),
            ("http://[::1/", Err(UrlFault::Malformed)),
        ] {
            let base = Uri::from_static("http://a/b/c/d;p?q");
            let found = resolve(&base, reference.as_bytes()).map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected.as_ref().map(|url| *url), "{reference:?}");
        }
        let bare = Uri::from_static("https://a");
        assert_eq!(resolve(&bare, b"g").unwrap(), "https://a/g");
        assert_eq!(resolve(&bare, b"\xff").unwrap(), "https://a/%FF");
    }

    #[test]
    fn hosts_and_ports() {
        for (url, expected) in [
            ("http://a.example", Ok(("a.example", 80))),
            ("https://a.example/", Ok(("a.example", 443))),
            ("http://a.example:8080/", Ok(("a.example", 8080))),
            ("http://[::1]:81/", Ok(("::1", 81))),
            ("https://[::1]/", Ok(("::1", 443))),
            ("http://192.0.2.1:1/", Ok(("192.0.2.1", 1))),
            ("http://a:0/", Err(UrlFault::Host)),
            ("http://a:99999/", Err(UrlFault::Host)),
            ("ftp://a/", Err(UrlFault::Scheme)),
            ("/path", Err(UrlFault::NoHost)),
        ] {
            let url: Uri = url.parse().unwrap();
            assert_eq!(host_and_port(&url), expected, "{url}");
        }
    }

    #[test]
    fn origins() {
        for (one, other, is_same) in [
            ("http://a/x", "http://A:80/y?z", true),
            ("https://a", "https://a:443", true),
            ("http://a", "https://a", false),
            ("http://a:443", "https://a", false),
            ("http://a", "http://b", false),
            ("http://a", "http://a:81", false),
            ("http://a", "/x", false),
        ] {
            let (one, other): (Uri, Uri) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(is_same_origin(&one, &other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn credentials() {
        let pair = |name: &str, password: &str| Some((name.as_bytes().to_vec(), password.as_bytes().to_vec()));
        for (url, bare, expected) in [
            ("http://a/b", "http://a/b", None),
            ("http://u@a/b?c", "http://a/b?c", pair("u", "")),
            ("http://u:p@a:81/", "http://a:81/", pair("u", "p")),
            ("http://u%40x:p%3A%zz@[::1]/", "http://[::1]/", pair("u@x", "p:%zz")),
        ] {
            let (found, credentials) = without_credentials(url.parse().unwrap());
            assert_eq!((found.to_string().as_str(), credentials), (bare, expected), "{url}");
        }
    }

    #[test]
    fn queries() {
        let url = |text: &str| text.parse::<Uri>().unwrap();
        for (base, expected) in [
            ("http://a", "http://a/?q=x+y&%C3%A9=%26%3D%2B"),
            ("http://a/b?c=d", "http://a/b?c=d&q=x+y&%C3%A9=%26%3D%2B"),
            ("http://a/b?", "http://a/b?q=x+y&%C3%A9=%26%3D%2B"),
        ] {
            let found = with_query(url(base), [("q", "x y"), ("\u{e9}", "&=+")]).unwrap();
            assert_eq!(found.to_string(), expected);
        }
        assert_eq!(with_query(url("http://a/b"), []).unwrap().to_string(), "http://a/b");
        let long = "x".repeat(70_000);
        assert_eq!(with_query(url("http://a"), [("q", long.as_str())]), Err(UrlFault::Malformed));
    }

    /// RFC 4648 §10
    #[test]
    fn base_64() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{ff}\u{fe}?>", "w7/Dvj8+"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
