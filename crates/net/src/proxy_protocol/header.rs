//! What a PROXY header says, and why one is refused.

use std::fmt;
use std::net::SocketAddr;

use crate::handshake::HandshakeError;

/// The longest header that is read: what follows the 16 fixed bytes of version 2 is mostly a few short values about the
/// client, and 4 KiB are what others take, too. One of version 1 has 107 bytes at most.
pub const MAX_HEADER_BYTES: usize = 4096;

/// What a PROXY header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// Nothing of anybody else: whoever connected speaks for itself, as in health checks (`LOCAL`, `UNKNOWN`), or for
    /// somebody who has no TCP address.
    Local,
    /// Whoever connected speaks for a client. Both are of one family; IPv4 in the guise of IPv6 is IPv4.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
}

/// Why what came is no PROXY header. All of it is the peer's doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// The first bytes are those of something else.
    Missing,
    /// It begins like one and breaks a rule.
    Malformed,
    /// It is longer than one may be.
    TooLong,
    /// It is of a version, a command or a family that nobody has defined.
    Unsupported,
    /// It does not have the checksum that it says it has. §2.2.3
    Checksum,
    /// The peer ended within it.
    CutOff,
}

impl HeaderError {
    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "proxy-header-missing",
            Self::Malformed => "proxy-header-malformed",
            Self::TooLong => "proxy-header-too-long",
            Self::Unsupported => "proxy-header-unsupported",
            Self::Checksum => "proxy-header-checksum",
            Self::CutOff => "proxy-header-cut-off",
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "what came is no PROXY header",
            Self::Malformed => "the PROXY header breaks the rules of its version",
            Self::TooLong => "the PROXY header is too long",
            Self::Unsupported => "the PROXY header is of an unknown version, command or family",
            Self::Checksum => "the PROXY header's checksum is wrong",
            Self::CutOff => "the connection ended within the PROXY header",
        })
    }
}

impl std::error::Error for HeaderError {}

impl From<HeaderError> for HandshakeError {
    fn from(error: HeaderError) -> Self {
        Self::ProxyHeader(error.label())
    }
}

/// IPv4 in the guise of IPv6, as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
