//! A line read byte by byte: what to say of one that is not whole yet, or that the quick reading refused.

use crate::error::ProtocolError;
use crate::grammar::{is_blank, is_target_byte, is_text_byte, is_token_byte};

/// How far a line has been read.
///
/// The quick reading (`field_line`, `StartLine::parse`) says whether a line is right; this one says which byte is the
/// first that is wrong. It needs no byte behind that one, so a refusal is the same whether a line comes whole or not,
/// and it comes as early as it can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    at: At,
    /// Bytes of the line that were read.
    pos: usize,
}

/// What is expected next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// The method's first byte.
    Method,
    /// More of the method, or the blank behind it.
    MethodRest,
    /// The target's first byte.
    Target,
    /// More of the target, or the blank behind it.
    TargetRest,
    /// A request's version, at this byte of it.
    RequestVersion(u8),
    /// A response's version, at this byte of it.
    ResponseVersion(u8),
    /// The status, at this byte of it.
    Status(u8),
    /// The reason phrase, or its end.
    Reason,
    /// A field line's first byte, or the CR of the empty line.
    Line,
    /// More of the name, or the colon.
    Name,
    /// The colon, though a blank came before it.
    Colon,
    /// The LF that would end a line without a colon.
    LfWithoutColon,
    /// The value, or its end.
    Value,
    /// The LF of a CRLF.
    Lf,
    /// Nothing: the line is whole.
    End,
}

const VERSION: &[u8; 5] = b"HTTP/";

impl Scan {
    /// A scan of a line from its first byte.
    pub(crate) const fn new(at: At) -> Self {
        Self { at, pos: 0 }
    }

    /// Bytes of the line that were read. There is no LF among them.
    pub(crate) const fn pos(&self) -> usize {
        self.pos
    }

    /// Reads on, up to the end of the line or of what has come of it.
    pub(crate) fn run(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        for &byte in &line[self.pos..] {
            self.at = self.at.step(byte)?;
            self.pos += 1;
        }
        Ok(())
    }
}

impl At {
    fn step(self, byte: u8) -> Result<Self, ProtocolError> {
        use ProtocolError as Refuse;

        // No line and no part of one may end in an LF that no CR precedes (RFC 9112 §2.2).
        if byte == b'\n' {
            return match self {
                Self::Lf => Ok(Self::End),
                Self::LfWithoutColon => Err(Refuse::MissingColon),
                _ => Err(Refuse::BareLf),
            };
        }
        match (self, byte) {
            (Self::Lf | Self::LfWithoutColon, _) => Err(Refuse::BareCr),

            (Self::Method | Self::MethodRest, byte) if is_token_byte(byte) => Ok(Self::MethodRest),
            (Self::MethodRest, b' ') => Ok(Self::Target),
            (Self::MethodRest, b'\r') => Err(Refuse::InvalidRequestLine),
            (Self::Method | Self::MethodRest, _) => Err(Refuse::InvalidMethod),

            (Self::Target | Self::TargetRest, byte) if is_target_byte(byte) => Ok(Self::TargetRest),
            (Self::TargetRest, b' ') => Ok(Self::RequestVersion(0)),
            (Self::Target, b' ') | (Self::Target | Self::TargetRest, b'\r') => Err(Refuse::InvalidRequestLine),
            (Self::Target | Self::TargetRest, _) => Err(Refuse::InvalidTarget),

            (Self::RequestVersion(0), b' ') => Err(Refuse::InvalidRequestLine),
            (Self::RequestVersion(8), b'\r') => Ok(Self::Lf),
            (Self::RequestVersion(at), byte) if is_version_byte(at, byte) => Ok(Self::RequestVersion(at + 1)),
            (Self::RequestVersion(_), _) => Err(Refuse::MalformedVersion),

            (Self::ResponseVersion(8), b' ') => Ok(Self::Status(0)),
            (Self::ResponseVersion(8), b'\r') => Err(Refuse::InvalidStatus),
            (Self::ResponseVersion(at), byte) if is_version_byte(at, byte) => Ok(Self::ResponseVersion(at + 1)),
            (Self::ResponseVersion(0..5), _) => Err(Refuse::NotHttp),
            (Self::ResponseVersion(_), _) => Err(Refuse::MalformedVersion),

            (Self::Status(0), b'1'..=b'5') | (Self::Status(1 | 2), b'0'..=b'9') => Ok(self.next_digit()),
            (Self::Status(3), b' ') => Ok(Self::Reason),
            // Without a reason many origins leave out the blank before it too. Nothing hangs on that blank.
            (Self::Status(3), b'\r') => Ok(Self::Lf),
            (Self::Status(_), _) => Err(Refuse::InvalidStatus),

            (Self::Line | Self::Reason | Self::Value, b'\r') => Ok(Self::Lf),
            (Self::Reason | Self::Value, byte) if is_text_byte(byte) => Ok(self),
            (Self::Reason | Self::Value, byte) => Err(Refuse::ControlByte { byte }),

            (Self::Line | Self::Name, byte) if is_token_byte(byte) => Ok(Self::Name),
            (Self::Name, b':') => Ok(Self::Value),
            (Self::Name, byte) if is_blank(byte) => Ok(Self::Colon),
            (Self::Name | Self::Colon, b'\r') => Ok(Self::LfWithoutColon),
            (Self::Line | Self::Name, byte) => Err(Refuse::InvalidFieldName { byte }),

            (Self::Colon, b':') => Err(Refuse::SpaceBeforeColon),
            (Self::Colon, byte) if is_blank(byte) => Ok(self),
            (Self::Colon, _) => Err(Refuse::InvalidFieldName { byte: b' ' }),

            // A line has one LF, and nobody scans behind it.
            (Self::End, _) => Ok(self),
        }
    }

    const fn next_digit(self) -> Self {
        match self {
            Self::Status(at) => Self::Status(at + 1),
            other => other,
        }
    }
}

/// RFC 9112 §2.3: `HTTP/` in capitals, a digit, a dot, a digit.
const fn is_version_byte(at: u8, byte: u8) -> bool {
    match at {
        0..5 => byte == VERSION[at as usize],
        5 | 7 => byte.is_ascii_digit(),
        6 => byte == b'.',
        _ => false,
    }
}
