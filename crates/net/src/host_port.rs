//! Where something is, as written: a host and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// The longest name that DNS can carry. RFC 1035 §2.3.4.
const MAX_NAME_LEN: usize = 253;

/// A name or an IP address, and a port. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPort {
    host: Arc<str>,
    port: u16,
    literal: Option<SocketAddr>,
}

impl HostPort {
    /// A host that is a name or an IP address (IPv6 without brackets), and a port.
    ///
    /// # Errors
    /// [`HostPortError`], when the host can be neither, or the port is zero.
    pub fn new(host: &str, port: u16) -> Result<Self, HostPortError> {
        if port == 0 {
            return Err(HostPortError::Port);
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port).into());
        }
        if !is_name(host) {
            return Err(HostPortError::Host);
        }
        Ok(Self { host: host.into(), port, literal: None })
    }

    /// The name, or the address as text, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never zero when it was read from text.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if there is nothing to look up.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.literal
    }
}

/// Whether DNS or a hosts file could know this name. Lenient where systems are: underscores, a dot at the end.
fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // Digits and dots alone are an address that was mistyped; some resolvers would read `10.1` as 10.0.0.1.
    let is_numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= MAX_NAME_LEN && !is_numeric && name.split('.').all(is_label)
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string().into(), port: address.port(), literal: Some(address) }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    /// Reads `name:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
    fn from_str(text: &str) -> Result<Self, HostPortError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(HostPortError::Port) } else { Ok(address.into()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError::Port)?;
        // `parse` would take a sign.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostPortError::Port);
        }
        if host.contains(':') || host.starts_with('[') {
            return Err(HostPortError::Host);
        }
        Self::new(host, port.parse().map_err(|_| HostPortError::Port)?)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.literal {
            Some(address) => fmt::Display::fmt(&address, f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a text is not a host and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HostPortError {
    /// The host can be neither a name nor an address.
    Host,
    /// The port is missing, or not one of 1 to 65535.
    Port,
}

impl fmt::Display for HostPortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host is neither a name nor an IP address; an IPv6 address stands in brackets: [::1]:80",
            Self::Port => "a port of 1 to 65535 is missing after the host, as in example.com:80",
        })
    }
}

impl std::error::Error for HostPortError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses() {
        for (text, host, port, is_literal) in [
            ("origin:80", "origin", 80, false),
            ("Origin.Example.:8080", "Origin.Example.", 8080, false),
            ("_http._tcp.a-b.example:1", "_http._tcp.a-b.example", 1, false),
            ("3com.example:80", "3com.example", 80, false),
            ("192.0.2.1:65535", "192.0.2.1", 65535, true),
            ("[2001:db8::1]:80", "2001:db8::1", 80, true),
        ] {
            let read = text.parse::<HostPort>().expect(text);
            assert_eq!((read.host(), read.port(), read.literal().is_some()), (host, port, is_literal));
        }
    }

    #[test]
    fn says_which_half_is_wrong() {
        let long = format!("{}:80", "a".repeat(64));
        for (text, error) in [
            ("origin", HostPortError::Port),
            ("", HostPortError::Port),
            ("origin:", HostPortError::Port),
            ("origin:0", HostPortError::Port),
            ("192.0.2.1:0", HostPortError::Port),
            ("origin:65536", HostPortError::Port),
            ("origin:+80", HostPortError::Port),
            ("origin:http", HostPortError::Port),
            (":80", HostPortError::Host),
            ("::1:80", HostPortError::Host),
            ("[::1:80", HostPortError::Host),
            ("192.0.2.300:80", HostPortError::Host),
            ("10.1:80", HostPortError::Host),
            ("a b:80", HostPortError::Host),
            ("a..b:80", HostPortError::Host),
            ("http://a:80", HostPortError::Host),
            ("user@a:80", HostPortError::Host),
            (&long, HostPortError::Host),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(error), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in ["origin.example:80", "192.0.2.1:80", "[2001:db8::1]:80"] {
            assert_eq!(text.parse::<HostPort>().map(|it| it.to_string()).as_deref(), Ok(text));
        }
    }
}
