//! The byte classes of RFC 9110 §5.6, and what is found by them.

use crate::word::{self, every, less, same};

/// True for `tchar` (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// True for one token character or more.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    // What else there is in a token but letters and hyphens is looked at alone.
    while let Some(at) = word::find(rest, neither_letter_nor_hyphen) {
        if !is_token_byte(rest[at]) {
            return false;
        }
        rest = &rest[at + 1..];
    }
    !bytes.is_empty()
}

/// As [`is_token`], of the bytes before a colon at `len`: with more behind them it is quicker.
pub(crate) fn is_token_before_colon(bytes: &[u8], len: usize) -> bool {
    len > 0 && word::find(bytes, neither_letter_nor_hyphen) == Some(len) || is_token(&bytes[..len])
}

/// Marks the bytes that are neither letters nor hyphens, which nearly all bytes of names are.
const fn neither_letter_nor_hyphen(word: u64) -> u64 {
    // Of bytes below 0x80 no sum exceeds 0xFF, and the others are marked by themselves.
    let lower = word | every(0x20);
    let is_letter = lower.wrapping_add(every(0x80 - b'a')) & !lower.wrapping_add(every(0x7F - b'z'));
    let is_no_hyphen = (word ^ every(b'-')).wrapping_add(every(0x7F));
    (is_no_hyphen & !is_letter | word) & every(0x80)
}

/// True for a byte that a field value, a reason or a quoted string may hold: HTAB, SP, VCHAR and obs-text
/// (RFC 9110 §5.5).
pub(crate) const fn is_text_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7F) || byte == b'\t'
}

/// True when every byte is text.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = control(rest) {
        if rest[at] != b'\t' {
            return false;
        }
        rest = &rest[at + 1..];
    }
    true
}

/// Where the first control byte stands, HTAB among them; `None` where there is none.
#[inline]
fn control(bytes: &[u8]) -> Option<usize> {
    word::find(bytes, |word| {
        // One more than DEL is over 0x7F, as nothing else below 0x80 is; so is what is less than SP, from which that is taken.
        let delete = (word & every(0x7F)) + every(1);
        (delete | word.wrapping_sub(every(b' '))) & !word & every(0x80)
    })
}

/// Where the first byte stands that is no SP and no VCHAR; `None` where there is none.
#[inline]
pub(crate) fn unprintable(bytes: &[u8]) -> Option<usize> {
    word::find(bytes, |word| {
        // One more than DEL is over 0x7F, and so is what is less than SP, from which that is taken.
        (word | word.wrapping_add(every(1)) | word.wrapping_sub(every(b' '))) & every(0x80)
    })
}

/// True for a byte that a request target may hold. RFC 3986 allows fewer, but what it excludes beyond these is sent in
/// the wild and goes on byte for byte. Blanks, controls and bytes over 0x7E never; `#` neither: a fragment is not sent
/// (RFC 9112 §3.2), and two readers might end the path at different places.
pub(crate) const fn is_target_byte(byte: u8) -> bool {
    byte > b' ' && byte < 0x7F && byte != b'#'
}

/// True when every byte may stand in a request target.
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    target_end(bytes).is_none()
}

/// Where the first byte stands that no request target may hold; `None` where there is none.
#[inline]
pub(crate) fn target_end(bytes: &[u8]) -> Option<usize> {
    word::find(bytes, |word| {
        let is_beyond_ascii = (word | word.wrapping_add(every(1))) & every(0x80);
        less(word, b'!') | same(word, b'#') | is_beyond_ascii
    })
}

/// True for SP and HTAB, the bytes of OWS (RFC 9110 §5.6.3).
pub(crate) const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The bytes without the blanks at both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    trim_end(bytes)
}

/// The bytes without the blanks at the end.
pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The value of `1*DIGIT` (RFC 9110 §8.6), or why it has none.
pub(crate) fn decimal(bytes: &[u8]) -> Result<u64, NotDecimal> {
    if bytes.is_empty() {
        return Err(NotDecimal::Malformed);
    }
    let mut value = 0u64;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(NotDecimal::Malformed);
        }
        value = value.wrapping_mul(10).wrapping_add(digit.into());
    }
    // Few are long enough to be too large.
    let fits = bytes.len() < MAX_DIGITS
        || bytes
            .iter()
            .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add((digit - b'0').into()))
            .is_some();
    if fits { Ok(value) } else { Err(NotDecimal::Overflow) }
}

/// Digits of the largest `u64`.
const MAX_DIGITS: usize = 20;

/// Why bytes are no `u64` in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDecimal {
    /// Empty, or a byte that is no digit.
    Malformed,
    /// Digits only, but more than 64 bits.
    Overflow,
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_by_count_and_sample() {
        let count = |class: fn(u8) -> bool| (0..=u8::MAX).filter(|&byte| class(byte)).count();
        assert_eq!(count(is_token_byte), 77);
        assert_eq!(count(is_text_byte), 256 - 32 - 1 + 1);
        assert_eq!(count(is_target_byte), 93);
        for byte in *b"\0\r\n\x0b\x0c\x1f\x7f" {
            assert!(!is_token_byte(byte) && !is_text_byte(byte) && !is_target_byte(byte), "{byte:#x}");
        }
        for byte in *b" \t\x80\xff" {
            assert!(!is_token_byte(byte) && is_text_byte(byte) && !is_target_byte(byte), "{byte:#x}");
        }
    }

    /// Every byte in every place among good ones, in every length that is taken apart differently.
    #[test]
    fn many_bytes_at_a_time_are_judged_as_each_of_them() {
        type Class = (fn(&[u8]) -> bool, fn(u8) -> bool);
        let classes: [Class; 3] = [(is_text, is_text_byte), (is_target, is_target_byte), (is_token, is_token_byte)];
        for (are_good, is_good) in classes {
            for len in 1..=40 {
                for filling in [b'a', b'Z', b'-', b'~', b'!'] {
                    let mut bytes = vec![filling; len];
                    assert!(are_good(&bytes), "{len}");
                    for at in 0..len {
                        for byte in 0..=u8::MAX {
                            bytes[at] = byte;
                            assert_eq!(are_good(&bytes), is_good(byte), "{byte:#x} at {at} of {len}");
                        }
                        bytes[at] = filling;
                    }
                }
            }
            // Beside a byte that is looked at again, nothing else is overlooked.
            for byte in 0..=u8::MAX {
                assert_eq!(
                    are_good(&[b'\t', byte, b'\t', b'a', b'a', b'a', b'a', b'a']),
                    is_good(b'\t') && is_good(byte)
                );
            }
        }
    }

    #[test]
    fn the_first_control_byte_is_found_among_all_others() {
        for len in 0..40 {
            for filling in [b'a', b' ', 0x7E, 0x80, 0xFF] {
                let mut bytes = vec![filling; len];
                assert_eq!(control(&bytes), None);
                assert_eq!(unprintable(&bytes), (filling > 0x7E && len > 0).then_some(0));
                for at in 0..len {
                    for byte in 0..=u8::MAX {
                        bytes[at] = byte;
                        let expected = (byte < b' ' || byte == 0x7F).then_some(at);
                        assert_eq!(control(&bytes), expected, "{byte:#x} at {at} of {len}");
                        let is_printable = |byte: &u8| (b' '..0x7F).contains(byte);
                        assert_eq!(
                            unprintable(&bytes),
                            bytes.iter().position(|byte| !is_printable(byte)),
                            "{bytes:x?}"
                        );
                        // Whatever stands behind it.
                        bytes[len - 1] = b'\r';
                        assert_eq!(control(&bytes), expected.or(Some(len - 1)), "{byte:#x} at {at} of {len}");
                        bytes[len - 1] = filling;
                    }
                    bytes[at] = filling;
                }
            }
        }
    }

    #[test]
    fn blanks_at_both_ends_are_trimmed() {
        let table: [(&[u8], &[u8]); 5] =
            [(b"", b""), (b" \t ", b""), (b"a", b"a"), (b"\t a b \t", b"a b"), (b"a\r", b"a\r")];
        for (bytes, trimmed) in table {
            assert_eq!(trim(bytes), trimmed);
        }
    }

    #[test]
    fn decimals() {
        let table: [(&[u8], Result<u64, NotDecimal>); 12] = [
            (b"0", Ok(0)),
            (b"007", Ok(7)),
            (b"18446744073709551615", Ok(u64::MAX)),
            (b"9999999999999999999", Ok(9_999_999_999_999_999_999)),
            (b"00000000000000000000000001", Ok(1)),
            (b"18446744073709551616", Err(NotDecimal::Overflow)),
            (b"18446744073709551618", Err(NotDecimal::Overflow)),
            (b"", Err(NotDecimal::Malformed)),
            (b"99999999999999999999a", Err(NotDecimal::Malformed)),
            (b"+1", Err(NotDecimal::Malformed)),
            (b"1 ", Err(NotDecimal::Malformed)),
            (b"0x10", Err(NotDecimal::Malformed)),
        ];
        for (bytes, value) in table {
            assert_eq!(decimal(bytes), value, "{bytes:?}");
        }
    }
}
