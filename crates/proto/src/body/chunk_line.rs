//! The line before each chunk's data: its size, extensions checked and forgotten, CRLF.

use crate::error::ProtocolError;
use crate::grammar::{is_blank, is_text_byte, is_token_byte};

/// How far a chunk's first line has been read (RFC 9112 §7.1, §7.1.1):
///
/// ```text
/// 1*16HEXDIG *( ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] BWS ) CRLF
/// ```
///
/// Bad white space is taken where the RFC makes a recipient take it, but for two places: directly behind the size, and
/// before the CRLF, where the grammar has none. Readers that trim there and readers that do not have been played off
/// against each other, and no peer is known to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkLine {
    size: u64,
    at: At,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A digit; so many came before.
    Size(u8),
    /// An extension's name, or blanks before it.
    Name,
    /// More of the name, or what follows it.
    NameRest,
    /// `=` or `;`, or more blanks.
    AfterNameBlank,
    /// A value, or blanks before it.
    Value,
    /// More of a token, or what follows it.
    TokenRest,
    /// More of a quoted string, or its end.
    Quoted,
    /// The byte that a backslash quotes.
    QuotedPair,
    /// `;` or the end, or blanks.
    AfterQuoted,
    /// `;`, or more blanks.
    AfterValueBlank,
    /// The LF of the CRLF.
    Lf,
}

/// More digits would exceed 64 bits.
const MAX_DIGITS: u8 = 16;

impl ChunkLine {
    /// Before the first digit.
    pub(super) const START: Self = Self { size: 0, at: At::Size(0) };

    /// Reads one byte. `Some(size)` at the line's end. `extension_bytes` is what the message may still spend on
    /// extensions; `max_extension_bytes` is what it could at first.
    pub(super) fn step(
        &mut self,
        byte: u8,
        extension_bytes: &mut usize,
        max_extension_bytes: usize,
    ) -> Result<Option<u64>, ProtocolError> {
        use ProtocolError as Refuse;

        if byte == b'\n' {
            return if self.at == At::Lf { Ok(Some(self.size)) } else { Err(Refuse::BareLf) };
        }
        self.at = match (self.at, byte) {
            (At::Lf, _) => return Err(Refuse::BareCr),
            (At::Size(digits), byte) => match hex(byte) {
                Some(_) if digits == MAX_DIGITS => return Err(Refuse::ChunkSizeOverflow),
                Some(digit) => {
                    self.size = self.size << 4 | u64::from(digit);
                    At::Size(digits + 1)
                }
                None if byte == b';' && digits > 0 => At::Name,
                None if byte == b'\r' && digits > 0 => At::Lf,
                None => return Err(Refuse::InvalidChunkSize { byte }),
            },
            (At::NameRest | At::TokenRest | At::AfterQuoted, b'\r') => At::Lf,
            (At::NameRest | At::AfterNameBlank | At::TokenRest | At::AfterQuoted | At::AfterValueBlank, b';') => {
                At::Name
            }
            (At::Name, byte) if is_blank(byte) => At::Name,
            (At::Name | At::NameRest, byte) if is_token_byte(byte) => At::NameRest,
            (At::NameRest | At::AfterNameBlank, b'=') => At::Value,
            (At::NameRest | At::AfterNameBlank, byte) if is_blank(byte) => At::AfterNameBlank,
            (At::Value, byte) if is_blank(byte) => At::Value,
            (At::Value, b'"') => At::Quoted,
            (At::Value | At::TokenRest, byte) if is_token_byte(byte) => At::TokenRest,
            (At::TokenRest | At::AfterQuoted | At::AfterValueBlank, byte) if is_blank(byte) => At::AfterValueBlank,
            (At::Quoted, b'"') => At::AfterQuoted,
            (At::Quoted, b'\\') => At::QuotedPair,
            (At::Quoted | At::QuotedPair, byte) if is_text_byte(byte) => At::Quoted,
            (_, byte) => return Err(Refuse::InvalidChunkExtension { byte }),
        };
        if !matches!(self.at, At::Size(_) | At::Lf) {
            *extension_bytes =
                extension_bytes.checked_sub(1).ok_or(Refuse::ChunkExtensionsTooLong { limit: max_extension_bytes })?;
        }
        Ok(None)
    }
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
