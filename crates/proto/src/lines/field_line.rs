//! One whole field line, read at speed.

use crate::fields::Line;
use crate::grammar::{is_blank, is_text, is_token_byte, trim_end};
use crate::known::Known;

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
