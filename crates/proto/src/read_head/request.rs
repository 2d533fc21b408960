//! Request heads out of bytes.

use http::Method;

use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::grammar::{is_token, target_end};
use crate::head::RequestHead;
use crate::known::Known;
use crate::limits::{Limits, MAX_SECTION_BYTES};
use crate::lines::{At, Bounds, Section, StartLine};
use crate::target::{Authority, Target, TargetForm};
use crate::version::Version;

/// Reads one request head after the other.
///
/// Every line has one reading (RFC 9112 §2.2, §3, §5): bare CR or LF, control bytes, folded or indented lines, blanks
/// before a colon and lines without one are refused, as early as the bytes show them, and with the same error whether
/// the bytes come whole or one by one. No byte is looked at more than a fixed number of times.
///
/// Between heads it owns no memory. A head that does not come whole is kept in one buffer, `max_head_bytes` at most,
/// which then becomes the head's own.
///
/// ```
/// use sheave_proto::{known::Known, limits::Limits, read_head::RequestReader};
///
/// let mut reader = RequestReader::new();
/// let mut input = &b"GET /a HTTP/1.1\r\nHost: exam"[..];
/// assert_eq!(reader.receive(&mut input, &Limits::default()), Ok(None));
///
/// let mut input = &b"ple\r\n\r\nGET /b"[..];
/// let head = reader.receive(&mut input, &Limits::default())?.expect("the head is whole");
/// assert_eq!((head.target(), head.fields().get_str(Known::Host)), ("/a", Some("example")));
/// assert_eq!(input, b"GET /b");
/// # Ok::<(), sheave_proto::error::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct RequestReader {
    leading: Leading,
    section: Option<Box<Section<RequestLine>>>,
}

/// The empty lines before a request line, and whether the CR of another one has come.
#[derive(Clone, Copy, Debug)]
enum Leading {
    Lines(u32),
    LinesAndCr(u32),
}

#[derive(Debug)]
struct RequestLine {
    method: Method,
    target: Target,
    version: Version,
}

impl RequestReader {
    /// A reader before its first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self { leading: Leading::Lines(0), section: None }
    }

    /// Takes the bytes of a head off the front of `input`, and never a byte behind its end. `None` means that all bytes
    /// were taken and more are needed. The limits that come with a head's first byte hold for it.
    ///
    /// The target and Host are checked (RFC 9112 §3.2): exactly one valid Host, but that a request of HTTP/1.0 may lack
    /// it. With an absolute-form target Host is rewritten to the target's authority (§3.2.2).
    ///
    /// # Errors
    /// [`ProtocolError`] for what cannot be read in one way or exceeds a limit. No call may follow it; how much of
    /// `input` was taken then means nothing.
    pub fn receive(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<RequestHead>, ProtocolError> {
        if self.section.is_none() {
            self.skip_leading(input, limits)?;
        }
        let max_head_bytes = limits.max_head_bytes.min(MAX_SECTION_BYTES);
        let bounds = Bounds {
            start_line: (
                limits.max_request_line_bytes.saturating_add(2),
                ProtocolError::RequestLineTooLong { limit: limits.max_request_line_bytes },
            ),
            section: (max_head_bytes, ProtocolError::HeadTooLarge { limit: max_head_bytes }),
            max_fields: limits.max_fields,
        };
        let head = Section::receive(&mut self.section, input, &bounds);
        if matches!(head, Ok(Some(_))) {
            self.leading = Leading::Lines(0);
        }
        head
    }

    /// True once a byte of a head has come, until the head is whole. Empty lines before it are no part of it.
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

    /// RFC 9112 §2.2: skips empty lines before a request line, up to the bound.
    fn skip_leading(&mut self, input: &mut &[u8], limits: &Limits) -> Result<(), ProtocolError> {
        let limit = limits.max_leading_newlines;
        while let Some((byte, rest)) = input.split_first() {
            self.leading = match (self.leading, byte) {
                (Leading::Lines(lines), b'\r') if lines as usize >= limit => {
                    return Err(ProtocolError::TooManyLeadingNewlines { limit });
                }
                (Leading::Lines(lines), b'\r') => Leading::LinesAndCr(lines),
                (Leading::LinesAndCr(lines), b'\n') => Leading::Lines(lines.saturating_add(1)),
                (Leading::LinesAndCr(_), _) => return Err(ProtocolError::BareCr),
                (Leading::Lines(_), _) => return Ok(()),
            };
            *input = rest;
        }
        Ok(())
    }
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

impl StartLine for RequestLine {
    type Whole = RequestHead;
    const AT: At = At::Method;

    #[inline]
    fn read_usual(bytes: &[u8]) -> Option<(Self, usize)> {
        let (method, rest) = match bytes {
            [b'G', b'E', b'T', b' ', rest @ ..] => (Method::GET, rest),
            [b'P', b'O', b'S', b'T', b' ', rest @ ..] => (Method::POST, rest),
            [b'H', b'E', b'A', b'D', b' ', rest @ ..] => (Method::HEAD, rest),
            _ => return None,
        };
        let (target, rest) = rest.split_at_checked(target_end(rest)?)?;
        let rest = rest.strip_prefix(b" HTTP/1.1\r\n")?;
        if target.first() != Some(&b'/') {
            return None;
        }
        let target = Target::of_path(target)?;
        Some((Self { method, target, version: Version::Http11 }, bytes.len() - rest.len()))
    }

    fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        // RFC 9112 §3: method SP request-target SP HTTP-version CRLF, each blank exactly one SP.
        let [line @ .., b'\r'] = line else { return Err(ProtocolError::BareLf) };
        let (rest, version) = line.split_last_chunk().ok_or(ProtocolError::InvalidRequestLine)?;
        let version = Version::parse(version)?;
        let [rest @ .., b' '] = rest else { return Err(ProtocolError::InvalidRequestLine) };
        let blank = rest.iter().position(|&byte| byte == b' ').ok_or(ProtocolError::InvalidRequestLine)?;
        let (method, target) = (&rest[..blank], &rest[blank + 1..]);
        if !is_token(method) {
            return Err(ProtocolError::InvalidMethod);
        }
        let method = Method::from_bytes(method).map_err(|_| ProtocolError::InvalidMethod)?;
        let target = Target::parse(&method, target)?;
        Ok(Self { method, target, version })
    }

    #[inline]
    fn with_fields(self, mut fields: Fields) -> Result<RequestHead, ProtocolError> {
        // RFC 9112 §3.2: one Host, and a valid one; only HTTP/1.0 may leave it out.
        let host = fields.get_only(Known::Host).map_err(|_| ProtocolError::RepeatedHost)?;
        match host {
            Some(host) if !Authority::is_one(host) => return Err(ProtocolError::InvalidHost),
            None if self.version >= Version::Http11 => return Err(ProtocolError::MissingHost),
            _ => {}
        }
        // RFC 9112 §3.2.2: the authority of an absolute form stands in the place of what Host says.
        if self.target.form() == TargetForm::Absolute
            && let Some(authority) = self.target.authority()
            && host != Some(authority.as_bytes())
        {
            fields.set(Known::Host, authority.as_bytes()).map_err(|_| ProtocolError::InvalidTarget)?;
        }
        Ok(RequestHead::from_parsed(self.method, self.target, self.version, fields))
    }
}
