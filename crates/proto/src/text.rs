//! What can stand in a field's value, known to be so by its type.

use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;
use smallvec::SmallVec;

use crate::address::AddressText;
use crate::error::InvalidField;
use crate::grammar::{is_blank, is_text, is_text_byte, trim};

/// Bytes that a field's value can be, or a part of one: no CR, LF, NUL or other control byte but HTAB, and no blank at
/// either end (RFC 9110 §5.5). They may be none at all, and may hold bytes over 0x7F (obs-text).
///
/// Texts one after the other are a text. So what was looked at once need not be looked at again in each message.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The bytes without the blanks around them.
    ///
    /// # Errors
    /// [`InvalidField::Value`] when they cannot be sent.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, InvalidField> {
        if is_text(bytes) { Ok(Self(trim(bytes))) } else { Err(InvalidField::Value) }
    }

    /// What a parser has checked, and trimmed.
    #[inline]
    pub(crate) const fn of_parsed(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many bytes it has.
    #[must_use]
    #[inline]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// True without a byte.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl Text<'static> {
    /// A text that stands in the program. In a constant it is looked at when that is compiled.
    ///
    /// # Panics
    /// When it cannot be sent, or has a blank at either end.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let is_end = at == 0 || at + 1 == bytes.len();
            assert!(is_text_byte(bytes[at]) && !(is_end && is_blank(bytes[at])), "no text of a field");
            at += 1;
        }
        Self(bytes)
    }
}

impl<'a> From<&'a HeaderValue> for Text<'a> {
    fn from(value: &'a HeaderValue) -> Self {
        // A HeaderValue holds no byte that cannot be sent, but may have blanks around it.
        Self(trim(value.as_bytes()))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A [`Text`] that owns its bytes: up to 64 of them where it stands, more on the heap.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OwnedText(SmallVec<[u8; AddressText::ROOM]>);

impl OwnedText {
    /// The text.
    #[must_use]
    #[inline]
    pub fn as_text(&self) -> Text<'_> {
        Text(&self.0)
    }
}

impl From<Text<'_>> for OwnedText {
    #[inline]
    fn from(text: Text<'_>) -> Self {
        Self(SmallVec::from_slice(text.0))
    }
}

/// An address as it is usually written: IPv6 as RFC 5952 says, without brackets.
impl From<IpAddr> for OwnedText {
    fn from(address: IpAddr) -> Self {
        let (bytes, len) = AddressText::of(address).into_parts();
        Self(SmallVec::from_buf_and_len(bytes, len))
    }
}

impl fmt::Debug for OwnedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_text().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_sent_is_a_text_without_the_blanks_around_it() {
        let table: [(&[u8], Option<&[u8]>); 12] = [
            (b"", Some(b"")),
            (b" \t", Some(b"")),
            (b"a", Some(b"a")),
            (b"\t a\tb c ", Some(b"a\tb c")),
            (b"\x80 \xff", Some(b"\x80 \xff")),
            (b"\r", None),
            (b"a\r\nB: c", None),
            (b"\n", None),
            (b"a\0", None),
            (b"\x7f", None),
            (b"\x1b", None),
            (b"\x0b", None),
        ];
        for (bytes, expected) in table {
            let text = Text::new(bytes);
            assert_eq!(text.map(Text::as_bytes).ok(), expected, "{}", bytes.escape_ascii());
            assert!(text.is_ok() || text == Err(InvalidField::Value));
            if let (Ok(text), Ok(value)) = (text, HeaderValue::from_bytes(bytes)) {
                assert_eq!((Text::from(&value), OwnedText::from(text).as_text()), (text, text));
                assert_eq!((text.len(), text.is_empty()), (text.as_bytes().len(), text.as_bytes().is_empty()));
            }
        }
    }

    #[test]
    fn literals_are_held_to_the_same() {
        for byte in 0..=0x7F_u8 {
            for text in [vec![byte], vec![b'a', byte, b'b'], vec![b'a', byte], vec![byte, b'b']] {
                let text: &'static str = String::from_utf8(text).unwrap().leak();
                let is_whole = Text::new(text.as_bytes()).is_ok_and(|whole| whole.len() == text.len());
                let literal = std::panic::catch_unwind(|| Text::literal(text));
                assert_eq!(literal.ok().map(Text::as_bytes), is_whole.then_some(text.as_bytes()), "{text:?}");
            }
        }
        assert_eq!(Text::literal("").as_bytes(), b"");
    }

    #[test]
    fn long_ones_are_owned_too() {
        let long = "x".repeat(100);
        let owned = OwnedText::from(Text::new(long.as_bytes()).unwrap());
        assert_eq!((owned.as_text().as_bytes(), format!("{owned:?}")), (long.as_bytes(), format!("\"{long}\"")));
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(OwnedText::from(address).as_text(), Text::literal("2001:db8::1"));
    }
}
