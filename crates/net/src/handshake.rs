//! Why a connection never became ready to carry HTTP.

use std::fmt;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::errno::IoFault;

/// Why a connection never became ready to carry HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// What the kernel said.
    Io(IoFault),
    /// The peer closed in the middle of it, or before.
    Closed,
    /// TLS failed.
    Tls {
        /// A name that stays stable for ever: for metrics and logs.
        label: &'static str,
        /// What more is known, for people: which names a certificate has, when it expired.
        detail: String,
    },
    /// The PROXY header is missing, or cannot be read; the name stays stable for ever.
    ProxyHeader(&'static str),
}

impl HandshakeError {
    /// Why the connection ends.
    pub const fn close_reason(&self) -> CloseReason {
        match self {
            Self::Io(fault) => CloseReason::from_fault(*fault),
            Self::Closed => CloseReason::PeerClosed,
            Self::Tls { label, .. } | Self::ProxyHeader(label) => CloseReason::Handshake(label),
        }
    }

    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Tls { label, .. } | Self::ProxyHeader(label) => label,
            Self::Io(_) | Self::Closed => self.close_reason().label(),
        }
    }
}

impl HandshakeError {
    /// What more is known, for people; empty where the name says all.
    pub fn detail(&self) -> &str {
        match self {
            Self::Tls { detail, .. } => detail,
            Self::Io(_) | Self::Closed | Self::ProxyHeader(_) => "",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(fault) => fault.fmt(f),
            Self::Closed => f.write_str("the peer closed before the connection was ready"),
            Self::Tls { label, detail } => write!(f, "TLS failed: {label}: {detail}"),
            Self::ProxyHeader(label) => write!(f, "the PROXY header cannot be read: {label}"),
        }
    }
}

impl std::error::Error for HandshakeError {}
