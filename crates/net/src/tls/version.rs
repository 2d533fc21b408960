//! Which versions of TLS are spoken.

use rustls::SupportedProtocolVersion;

/// The oldest version of TLS that is spoken. Both are spoken by all that is maintained; older ones are not spoken at all
/// (RFC 8996).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinVersion {
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => const { &[&rustls::version::TLS13] },
        }
    }
}
