//! Response heads out of bytes.

use http::StatusCode;

use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::grammar::{is_text, unprintable};
use crate::head::{Reason, ResponseHead};
use crate::limits::{Limits, MAX_SECTION_BYTES};
use crate::lines::{At, Bounds, Section, StartLine};
use crate::version::Version;

/// Reads one response head after the other, interim ones included.
///
/// It is as strict as [`RequestReader`](crate::read_head::RequestReader), and skips nothing before a status line: bytes
/// that stand there belong to no response. The one liberty is a status line without the blank behind the status.
#[derive(Debug, Default)]
pub struct ResponseReader {
    section: Option<Box<Section<StatusLine>>>,
}

#[derive(Debug)]
struct StatusLine {
    status: StatusCode,
    version: Version,
    reason: Reason,
}

impl ResponseReader {
    /// A reader before its first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self { section: None }
    }

    /// Takes the bytes of a head off the front of `input`, and never a byte behind its end. `None` means that all bytes
    /// were taken and more are needed. The limits that come with a head's first byte hold for it.
    ///
    /// # Errors
    /// [`ProtocolError`] for what cannot be read in one way or exceeds a limit. No call may follow it; how much of
    /// `input` was taken then means nothing.
    pub fn receive(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<ResponseHead>, ProtocolError> {
        let max_head_bytes = limits.max_head_bytes.min(MAX_SECTION_BYTES);
        let bound = (max_head_bytes, ProtocolError::HeadTooLarge { limit: max_head_bytes });
        let bounds = Bounds { start_line: bound, section: bound, max_fields: limits.max_fields };
        Section::receive(&mut self.section, input, &bounds)
    }

    /// True once a byte of a head has come, until the head is whole.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.section.is_some()
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`ProtocolError::TruncatedHead`] amid a head (RFC 9112 §8).
    pub const fn finish(&self) -> Result<(), ProtocolError> {
        if self.has_begun() { Err(ProtocolError::TruncatedHead) } else { Ok(()) }
    }
}

impl StartLine for StatusLine {
    type Whole = ResponseHead;
    const AT: At = At::ResponseVersion(0);

    #[inline]
    fn read_usual(bytes: &[u8]) -> Option<(Self, usize)> {
        let (status @ [b'1'..=b'5', ..], rest) = bytes.strip_prefix(b"HTTP/1.1 ")?.split_first_chunk::<3>()? else {
            return None;
        };
        let rest = rest.strip_prefix(b" ")?;
        let (reason, rest) = rest.split_at_checked(unprintable(rest)?)?;
        let rest = rest.strip_prefix(b"\r\n")?;
        let status = StatusCode::from_bytes(status).ok()?;
        let line = Self { status, version: Version::Http11, reason: Reason::from_slice(reason) };
        Some((line, bytes.len() - rest.len()))
    }

    fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        // RFC 9112 §4: HTTP-version SP status-code SP [ reason-phrase ] CRLF.
        let [line @ .., b'\r'] = line else { return Err(ProtocolError::BareLf) };
        let (version, rest) = line.split_first_chunk().ok_or(ProtocolError::NotHttp)?;
        let version = Version::parse(version)?;
        let (status, reason) = match rest {
            [b' ', status @ ..] if status.len() == 3 => (status, &[][..]),
            [b' ', a, b, c, b' ', reason @ ..] => (&[*a, *b, *c][..], reason),
            _ => return Err(ProtocolError::InvalidStatus),
        };
        let status = StatusCode::from_bytes(status).map_err(|_| ProtocolError::InvalidStatus)?;
        // RFC 9110 §15: the first digit is one of five.
        if status.as_u16() > 599 {
            return Err(ProtocolError::InvalidStatus);
        }
        if !is_text(reason) {
            return Err(ProtocolError::InvalidStatus);
        }
        Ok(Self { status, version, reason: Reason::from_slice(reason) })
    }

    #[inline]
    fn with_fields(self, fields: Fields) -> Result<ResponseHead, ProtocolError> {
        Ok(ResponseHead::from_parsed(self.status, self.version, self.reason, fields))
    }
}
