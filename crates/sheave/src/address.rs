//! Addresses as people write them: where to listen, and where the origins are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host as written: an address, or a name that has yet to be looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name in lower case.
    Name(String),
}

impl Host {
    const LOOPBACK: Self = Self::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// Reads a name, an IPv4 address, or an IPv6 address in brackets.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(inside) = text.strip_prefix('[') {
            let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
            return match address {
                Some(address) => Ok(Self::Ip(address.into())),
                None => Err(format!("{text} is no IPv6 address in brackets, such as [::1]")),
            };
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        if text.contains(':') {
            return Err("an IPv6 address needs brackets: [::1]:8080".to_owned());
        }
        let is_name = !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            });
        // All digits and dots, yet no address: a slip, and no name in any DNS (RFC 3696 §2).
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_name && !is_number {
            Ok(Self::Name(text.to_ascii_lowercase()))
        } else {
            Err(format!("{text:?} is neither a host name nor an address"))
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What goes before an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    /// Without TLS.
    Http,
    /// With it.
    Https,
    /// Without TLS, in HTTP/2 from the first byte. For origins alone.
    H2c,
}

impl Scheme {
    /// As it is written.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_secured(self) -> bool {
        self == Self::Https
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::H2c].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.label()))
    }
}

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ListenAddress {
    /// The scheme, where it was written.
    pub(crate) scheme: Option<Scheme>,
    /// The host; absent for all addresses of the machine.
    pub(crate) host: Option<Host>,
    /// The port; zero lets the kernel choose one.
    pub(crate) port: u16,
}

impl ListenAddress {
    /// The loopback address, not reachable from elsewhere.
    pub(crate) const fn loopback(port: u16) -> Self {
        Self { scheme: None, host: Some(Host::LOOPBACK), port }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    /// `host:port`, `[::1]:port`; `:port` for all addresses of the machine; a bare port for the loopback address. `http://`
    /// or `https://` may go before.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, text) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => match Scheme::read(scheme) {
                Some(Scheme::H2c) => {
                    return Err("h2c:// cannot be listened on: http:// speaks HTTP/2 to whoever does".into());
                }
                Some(scheme) => (Some(scheme), rest.strip_suffix('/').unwrap_or(rest)),
                None => return Err(format!("{scheme}:// cannot be listened on: write http:// or https://")),
            },
        };
        match split_port(text)? {
            ("", Some(port)) => Ok(Self { scheme, host: None, port }),
            (host, Some(port)) => Ok(Self { scheme, host: Some(Host::parse(host)?), port }),
            (host, None) => match host.parse::<u16>() {
                Ok(port) => Ok(Self { scheme, ..Self::loopback(port) }),
                Err(_) => Err(format!("the port is missing: write {host}:8080 or :8080")),
            },
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.label())?;
        }
        match &self.host {
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// Where an origin is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OriginAddress {
    /// What is spoken.
    pub(crate) scheme: Scheme,
    /// The host.
    pub(crate) host: Host,
    /// The port; never zero.
    pub(crate) port: u16,
    /// What goes before the path of every request: empty, or `/base` without a slash at the end.
    pub(crate) base: String,
}

impl FromStr for OriginAddress {
    type Err = String;

    /// `host:port`, `[::1]:port`, or `http[s]://host[:port][/base]`, or the same with `h2c://`; `:port` and a bare port for the loopback address.
    fn from_str(text: &str) -> Result<Self, String> {
        let (authority, base, written) = match text.split_once("://") {
            None => match text.split_once('/') {
                None => (text, "", None),
                Some(_) => return Err(format!("a path needs the scheme before it: http://{text}")),
            },
            Some((scheme, rest)) => match Scheme::read(scheme) {
                Some(scheme) => {
                    let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    (authority, base, Some(scheme))
                }
                None => return Err(format!("{scheme}:// is not spoken to origins: use http://, https:// or h2c://")),
            },
        };
        if authority.contains('@') {
            return Err("a name and password cannot be part of an origin's address".to_owned());
        }
        if let Some(byte) = base.bytes().find(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#')) {
            return Err(format!("a base path cannot contain {:?}", char::from(byte)));
        }
        let (host, port) = match split_port(authority)? {
            ("", Some(port)) if written.is_none() => (Host::LOOPBACK, port),
            (host, Some(port)) => (Host::parse(host)?, port),
            (host, None) if written == Some(Scheme::Https) => (Host::parse(host)?, 443),
            (host, None) if written.is_some() => (Host::parse(host)?, 80),
            (host, None) => match host.parse::<u16>() {
                Ok(port) => (Host::LOOPBACK, port),
                Err(_) => return Err(format!("the port is missing: write {host}:80 or http://{host}")),
            },
        };
        if port == 0 {
            return Err("an origin cannot be reached at port 0".to_owned());
        }
        let scheme = written.unwrap_or(Scheme::Http);
        Ok(Self { scheme, host, port, base: base.trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}{}", self.scheme.label(), self.host, self.port, self.base)
    }
}

/// Splits off the port, if there is a colon outside of brackets.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    // More than one colon without brackets is an IPv6 address, not a host and a port.
    let host_and_port = match text[after_brackets..].matches(':').count() {
        0 => None,
        1 => text[after_brackets..].find(':').map(|at| text.split_at(after_brackets + at)),
        _ => return Err("an IPv6 address needs brackets: [::1]:8080".to_owned()),
    };
    match host_and_port {
        None => Ok((text, None)),
        Some((host, port)) => {
            let digits = &port[1..];
            match digits.parse::<u16>() {
                Ok(port) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, Some(port))),
                _ => Err(format!("{digits:?} is no port: write a number up to 65535")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_to_listen() {
        let name = |name: &str| Some(Host::Name(name.to_owned()));
        let ip = |ip: &str| Some(Host::Ip(ip.parse().expect("an address")));
        let (plain, secured) = (Some(Scheme::Http), Some(Scheme::Https));
        for (text, scheme, host, port) in [
            ("http://127.0.0.1:8080", plain, ip("127.0.0.1"), 8080),
            ("http://:8080/", plain, None, 8080),
            ("https://[::1]:8443", secured, ip("::1"), 8443),
            ("HTTPS://:443/", secured, None, 443),
            ("https://8443", secured, ip("127.0.0.1"), 8443),
        ] {
            assert_eq!(text.parse(), Ok(ListenAddress { scheme, host, port }), "{text}");
        }
        for (text, host, port) in [
            ("127.0.0.1:8080", ip("127.0.0.1"), 8080),
            ("0.0.0.0:80", ip("0.0.0.0"), 80),
            (":8080", None, 8080),
            (":0", None, 0),
            ("8080", ip("127.0.0.1"), 8080),
            ("0", ip("127.0.0.1"), 0),
            ("localhost:8080", name("localhost"), 8080),
            ("Example.TEST:1", name("example.test"), 1),
            ("[::1]:8080", ip("::1"), 8080),
            ("[::]:65535", ip("::"), 65535),
        ] {
            assert_eq!(text.parse(), Ok(ListenAddress { scheme: None, host, port }), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_where_to_listen() {
        for (text, part) in [
            ("", "port is missing"),
            ("localhost", "port is missing: write localhost:8080"),
            ("127.0.0.1", "port is missing"),
            ("[::1]", "port is missing"),
            ("::1", "needs brackets"),
            ("::1:8080", "needs brackets"),
            ("[::1:8080", "needs brackets"),
            ("[::1]x:80", "no IPv6 address"),
            ("[127.0.0.1]:80", "no IPv6 address"),
            ("[fe80::1%eth0]:80", "no IPv6 address"),
            ("localhost:", "no port"),
            ("localhost:http", "no port"),
            ("localhost:65536", "no port"),
            ("localhost:+80", "no port"),
            ("localhost:-1", "no port"),
            ("65536", "port is missing"),
            ("256.1.1.1:80", "neither"),
            ("1.2.3:80", "neither"),
            ("a b:80", "neither"),
            ("a/b:80", "neither"),
            (".:80", "neither"),
            ("a..b:80", "neither"),
            ("https://", "port is missing"),
            ("unix://x", "cannot be listened on"),
            ("h2c://:80", "http:// speaks HTTP/2"),
        ] {
            let error = text.parse::<ListenAddress>().expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn reads_where_an_origin_is() {
        for (text, shown) in [
            ("127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("localhost:9000", "http://localhost:9000"),
            ("[::1]:9000", "http://[::1]:9000"),
            (":9000", "http://127.0.0.1:9000"),
            ("9000", "http://127.0.0.1:9000"),
            ("http://localhost", "http://localhost:80"),
            ("h2c://localhost", "h2c://localhost:80"),
            ("H2C://localhost:81/base", "h2c://localhost:81/base"),
            ("HTTP://localhost:81", "http://localhost:81"),
            ("http://localhost/", "http://localhost:80"),
            ("http://localhost:81/base", "http://localhost:81/base"),
            ("http://localhost:81/base/", "http://localhost:81/base"),
            ("http://localhost:81/a/b", "http://localhost:81/a/b"),
            ("http://[::1]:81/a", "http://[::1]:81/a"),
            ("https://localhost", "https://localhost:443"),
            ("HTTPS://localhost:8443/base/", "https://localhost:8443/base"),
        ] {
            let address = text.parse::<OriginAddress>().expect(text);
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<OriginAddress>(), Ok(address), "{shown}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_origin() {
        for (text, part) in [
            ("", "port is missing"),
            ("localhost", "write localhost:80 or http://localhost"),
            ("localhost:0", "port 0"),
            ("localhost:9000/base", "http://localhost:9000/base"),
            ("ftp://localhost", "ftp:// is not spoken"),
            ("http://", "neither"),
            ("http://:80", "neither"),
            ("http:///a", "neither"),
            ("http://u:p@localhost", "name and password"),
            ("http://localhost/a?b", "cannot contain '?'"),
            ("http://localhost/a#b", "cannot contain '#'"),
            ("http://localhost/a b", "cannot contain ' '"),
            ("http://localhost?b", "neither"),
            ("::1", "needs brackets"),
        ] {
            let error = text.parse::<OriginAddress>().expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
