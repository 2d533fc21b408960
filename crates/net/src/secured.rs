//! What a TLS handshake has agreed on.

use sheave_lifecycle::observe::Encryption;

/// The protocol that was agreed on by ALPN. RFC 7301
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Alpn {
    /// `http/1.1`; or `http/1.0`, which clients of that version offer, and who speaks 1.1 answers.
    Http1,
    /// `h2`
    Http2,
}

impl Alpn {
    /// The name on the wire, as the registry of RFC 7301 §6 has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }

    /// The names by which clients can ask for it, the one that is preferred first.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &["http/1.1", "http/1.0"],
            Self::Http2 => &["h2"],
        }
    }

    /// The protocol of that name; `None` for one that is not spoken.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        [Self::Http1, Self::Http2].into_iter().find(|alpn| alpn.names().iter().any(|its| its.as_bytes() == name))
    }
}

/// What a TLS handshake has agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secured {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name, as IANA's registry has it.
    pub cipher: &'static str,
    /// What ALPN agreed on; `None` where the peer offered nothing.
    pub alpn: Option<Alpn>,
    /// The name that the client asked for (SNI); `None` where it asked for none.
    pub server_name: Option<Box<str>>,
    /// Whether an earlier session was resumed, so that no certificate was shown.
    pub is_resumed: bool,
    /// The SHA-256 of the peer's certificate in lower-case hexadecimal, if it showed one.
    pub peer_certificate: Option<Box<str>>,
}

impl Secured {
    /// The same, as observers are told it.
    pub fn told(&self) -> Encryption<'_> {
        Encryption {
            version: self.version,
            cipher: self.cipher,
            alpn: self.alpn.map(Alpn::name),
            server_name: self.server_name.as_deref(),
            is_resumed: self.is_resumed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_found_by_each_of_its_names() {
        for (name, found) in [
            (&b"h2"[..], Some(Alpn::Http2)),
            (b"http/1.1", Some(Alpn::Http1)),
            (b"http/1.0", Some(Alpn::Http1)),
            (b"http/0.9", None),
            (b"", None),
        ] {
            assert_eq!(Alpn::named(name), found);
        }
        assert!([Alpn::Http1, Alpn::Http2].iter().all(|alpn| alpn.names()[0] == alpn.name()));
    }
}
