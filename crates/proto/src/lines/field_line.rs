//! One whole field line, read at speed.

use crate::fields::Line;
use crate::grammar::{control, is_blank, is_text, is_token_byte, trim_end};
use crate::known::Known;

/// Reads the line that begins at `start` of `bytes`, in one pass; says where the next one begins.
///
/// `None` when it is not whole, or when anything about it is unusual, though it may be right: [`read`] says what it is.
#[inline]
pub(crate) fn read_usual(bytes: &[u8], start: usize) -> Option<(Line, usize)> {
    let line = &bytes[start..];
    let name_len = line.iter().position(|&byte| !is_token_byte(byte))?;
    if name_len == 0 || line[name_len] != b':' {
        return None;
    }
    let blanks = usize::from(line.get(name_len + 1) == Some(&b' '));
    let value = &line[name_len + 1 + blanks..];
    let value_len = control(value)?;
    // Blanks at either end are unusual; the value's own bytes are none.
    if !value[value_len..].starts_with(b"\r\n")
        || value_len == 0
        || is_blank(value[0])
        || is_blank(value[value_len - 1])
    {
        return None;
    }
    let len = name_len + 1 + blanks + value_len;
    let line = Line {
        start: u32::try_from(start).ok()?,
        value_len: u32::try_from(value_len).ok()?,
        name_len: u16::try_from(name_len).ok()?,
        gap: if blanks == 1 { 2 } else { 1 },
        known: Known::from_bytes(&line[..name_len]),
        plain: blanks == 1,
    };
    Some((line, start + len + 2))
}

/// Reads `line`, without its LF, which begins at `start` of the section. `None` when anything is wrong with it.
pub(crate) fn read(line: &[u8], start: usize) -> Option<Line> {
    let [line @ .., b'\r'] = line else { return None };
    let name_len = line.iter().position(|&byte| !is_token_byte(byte))?;
    if name_len == 0 || line[name_len] != b':' {
        return None;
    }
    let after_colon = &line[name_len + 1..];
    if !is_text(after_colon) {
        return None;
    }
    let blanks = after_colon.iter().position(|&byte| !is_blank(byte)).unwrap_or(after_colon.len());
    let value = trim_end(&after_colon[blanks..]);
    Some(Line {
        start: u32::try_from(start).ok()?,
        value_len: u32::try_from(value.len()).ok()?,
        name_len: u16::try_from(name_len).ok()?,
        gap: u16::try_from(1 + blanks).ok()?,
        known: Known::from_bytes(&line[..name_len]),
        plain: blanks == 1 && after_colon[0] == b' ' && 1 + value.len() == after_colon.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read in one pass is what is read with care, and only what is unusual or wrong is left to that.
    #[test]
    fn the_usual_reading_is_the_careful_one() {
        let usual: &[&[u8]] =
            &[b"Host: a\r\n", b"host:a\r\n", b"X: a b  c\r\n", b"X-Y: \x80\xff\r\n", b"Accept: */*\r\n"];
        for line in usual {
            for rest in [b"".as_slice(), b"\r\n", b"B: 1\r\n"] {
                let bytes = [b"A: 0\r\n".as_slice(), line, rest].concat();
                let (read_so, next) = read_usual(&bytes, 6).expect("is usual");
                let careful = read(&line[..line.len() - 1], 6).expect("is right");
                assert_eq!((format!("{read_so:?}"), next), (format!("{careful:?}"), 6 + line.len()));
            }
        }
        let others: &[&[u8]] = &[
            b"",
            b"\r\n",
            b"A",
            b"A:",
            b"A: ",
            b"A: b",
            b"A: b\r",
            b"A: b\n",
            b"A: b\rc\r\n",
            b"A:\r\n",
            b"A: \r\n",
            b"A:  b\r\n",
            b"A: b \r\n",
            b"A:\tb\r\n",
            b"A: b\tc\r\n",
            b"A : b\r\n",
            b": b\r\n",
            b" A: b\r\n",
            b"A: \0\r\n",
            b"A: \x7f\r\n",
            b"A b\r\n",
        ];
        for line in others {
            assert!(read_usual(line, 0).is_none(), "{}", line.escape_ascii());
        }
    }
}
