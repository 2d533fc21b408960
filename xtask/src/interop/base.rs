//! How clients reach something: where, and what they speak there.

use std::fmt;
use std::net::SocketAddr;

/// A version of HTTP, and what it is carried by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1 over TCP.
    Http1,
    /// HTTP/2 over TCP, by prior knowledge. RFC 9113 §3.3
    H2c,
    Http1OverTls12,
    Http1OverTls13,
    H2OverTls12,
    H2OverTls13,
}

impl Speaks {
    pub(super) const fn is_secured(self) -> bool {
        !matches!(self, Self::Http1 | Self::H2c)
    }

    pub(super) const fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2OverTls12 | Self::H2OverTls13)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "h1",
            Self::H2c => "h2c",
            Self::Http1OverTls12 => "h1/TLS1.2",
            Self::Http1OverTls13 => "h1/TLS1.3",
            Self::H2OverTls12 => "h2/TLS1.2",
            Self::H2OverTls13 => "h2/TLS1.3",
        }
    }

    /// What makes curl speak so, and nothing else.
    pub(super) const fn curl_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &[],
            Self::H2c => &["--http2-prior-knowledge"],
            Self::Http1OverTls12 => &["--http1.1", "--tlsv1.2", "--tls-max", "1.2"],
            Self::Http1OverTls13 => &["--http1.1", "--tlsv1.3"],
            Self::H2OverTls12 => &["--http2", "--tlsv1.2", "--tls-max", "1.2"],
            Self::H2OverTls13 => &["--http2", "--tlsv1.3"],
        }
    }

    /// What curl says that was spoken.
    pub(super) const fn version(self) -> &'static str {
        if self.is_h2() { "2" } else { "1.1" }
    }
}

/// How clients reach something. Shown, it is a URL without a path.
#[derive(Clone, Copy)]
pub(super) struct Base {
    pub(super) addr: SocketAddr,
    pub(super) speaks: Speaks,
}

impl From<SocketAddr> for Base {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, speaks: Speaks::Http1 }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.speaks.is_secured() { "https" } else { "http" }, self.addr)
    }
}
