//! The versions that are spoken: two in one syntax, and one in frames.

use std::fmt;

use crate::error::ProtocolError;

/// The version of a message, as it is acted upon.
///
/// A peer of HTTP/1.2 to 1.9 is answered as one of HTTP/1.1 (RFC 9110 §2.5); what we write always says 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no 1xx responses, and connections close unless `keep-alive` is said.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2: no syntax of its own for a message, and no `Connection`. RFC 9113
    Http2,
}

impl Version {
    /// The version's name as logs show it, such as `HTTP/1.1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }

    /// Reads `HTTP/` in capitals and two digits with a dot between (RFC 9112 §2.3).
    pub(crate) const fn parse(bytes: &[u8; 8]) -> Result<Self, ProtocolError> {
        match bytes {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            // RFC 9110 §2.5: a higher minor version is read as the highest that we know.
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(Self::Http11),
            [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Err(ProtocolError::UnsupportedVersion { major: *major - b'0' })
            }
            _ => Err(ProtocolError::MalformedVersion),
        }
    }

    /// The version's number as it stands in Via: `1.0`, `1.1` or `2`.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => Self::HTTP_10,
            Version::Http11 => Self::HTTP_11,
            Version::Http2 => Self::HTTP_2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_two_digits() {
        for major in 0..=9u8 {
            for minor in 0..=9u8 {
                let text = format!("HTTP/{major}.{minor}");
                let expected = match (major, minor) {
                    (1, 0) => Ok(Version::Http10),
                    (1, _) => Ok(Version::Http11),
                    _ => Err(ProtocolError::UnsupportedVersion { major }),
                };
                assert_eq!(Version::parse(text.as_bytes().try_into().unwrap()), expected, "{text}");
            }
        }
        for text in [b"http/1.1", b"HTTP/1,1", b"HTTP/1.x", b"HTTP/x.1", b"HTTP 1.1", b"HTTP/1. ", b"HTTP/.11"] {
            assert_eq!(Version::parse(text), Err(ProtocolError::MalformedVersion));
        }
        assert_eq!((Version::Http10.to_string(), Version::Http11.to_string()), ("HTTP/1.0".into(), "HTTP/1.1".into()));
        assert_eq!(http::Version::from(Version::Http10), http::Version::HTTP_10);
    }
}
