//! One whole field line, read at speed.

use crate::fields::Line;
use crate::grammar::{is_blank, is_text, is_token_before_colon, is_token_byte, trim_end, unprintable};
use crate::known::Known;
use crate::limits::MAX_SECTION_BYTES;
use crate::word;

/// Reads lines from `start` of `bytes` on for as long as there is nothing unusual about them, up to `max_lines` in all.
/// Says where the one begins that was not read.
#[inline(never)]
pub(crate) fn read_usual_lines(bytes: &[u8], mut start: usize, max_lines: usize, lines: &mut Vec<Line>) -> usize {
    let bytes = &bytes[..bytes.len().min(MAX_SECTION_BYTES)];
    while lines.len() < max_lines
        && let Some((line, next)) = read_usual(bytes, start)
    {
        lines.push(line);
        start = next;
    }
    start
}

/// Reads the line that begins at `start` of `bytes`, which are no more than [`MAX_SECTION_BYTES`], in one pass; says where the
/// next one begins.
///
/// `None` when it is not whole, or does not stand there exactly as we would write it, though it may be right: [`read`] says
/// what it is.
#[inline]
fn read_usual(bytes: &[u8], start: usize) -> Option<(Line, usize)> {
    let line = bytes.get(start..)?;
    // What stands behind the last line may be long, and hold a colon.
    if line.first() == Some(&b'\r') {
        return None;
    }
    let name_len = word::find(line, |word| word::same(word, b':'))?;
    let value = line.get(name_len..)?.strip_prefix(b": ")?;
    let value_len = unprintable(value)?;
    let (value, rest) = value.split_at_checked(value_len)?;
    let [first, ..] = value else { return None };
    if !rest.starts_with(b"\r\n") || *first == b' ' || value.ends_with(b" ") {
        return None;
    }
    let known = Known::of_first(line, name_len);
    // All bytes of a known name are right.
    if known.is_none() && !is_token_before_colon(line, name_len) {
        return None;
    }
    // 16 bits are enough for each of them.
    #[expect(clippy::cast_possible_truncation)]
    let line = Line {
        start: start as u32,
        value_len: value_len as u32,
        name_len: name_len as u16,
        gap: 2,
        known,
        plain: true,
    };
    Some((line, start + name_len + 2 + value_len + 2))
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
        let usual: &[&[u8]] = &[b"Host: a\r\n", b"host: a:b\r\n", b"X: a b  c\r\n", b"Accept: */*\r\n"];
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
            b"A\r\nB: c\r\n",
            b"A:b\r\n",
            b"A:\r\n",
            b"A: \r\n",
            b"A:  b\r\n",
            b"A: b \r\n",
            b"A:\tb\r\n",
            b"A: b\tc\r\n",
            b"A : b\r\n",
            b": b\r\n",
            b" A: b\r\n",
            b"X-Y: \x80\xff\r\n",
            b"A: \0\r\n",
            b"A: \x7f\r\n",
            b"A b\r\n",
        ];
        for line in others {
            assert!(read_usual(line, 0).is_none(), "{}", line.escape_ascii());
        }
    }
}
