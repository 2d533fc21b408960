//! Whom a client wants to talk to.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::ServerName;

/// The name that a server's certificate must be valid for: a DNS name, which is also asked for (SNI, RFC 6066 §3), or an
/// IP address, which is not.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerName(pub(super) ServerName<'static>);

/// What was given is neither a DNS name nor an IP address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidPeerName;

impl FromStr for PeerName {
    type Err = InvalidPeerName;

    /// A DNS name, an IPv4 address, or an IPv6 address with or without brackets. A dot at the end of a name is not kept:
    /// certificates have none.
    fn from_str(text: &str) -> Result<Self, InvalidPeerName> {
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let text = text.strip_suffix('.').unwrap_or(text);
        ServerName::try_from(text.to_ascii_lowercase()).map(Self).map_err(|_| InvalidPeerName)
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

impl fmt::Display for InvalidPeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a DNS name nor an IP address")
    }
}

impl std::error::Error for InvalidPeerName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        for (text, name) in [
            ("Example.com", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("::1", Some("::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("a_b.example", Some("a_b.example")),
            ("*.example.com", None),
            ("example..com", None),
            ("a b", None),
            ("", None),
            (".", None),
        ] {
            let found = text.parse::<PeerName>().ok().map(|name| name.to_string());
            assert_eq!(found.as_deref(), name, "{text:?}");
        }
    }
}
