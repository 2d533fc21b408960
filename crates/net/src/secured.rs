//! What a TLS handshake has agreed on.

use sheave_lifecycle::observe::Encryption;

/// The protocol that was agreed on by ALPN. RFC 7301
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Alpn {
    /// `http/1.1`
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
