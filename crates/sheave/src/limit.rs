//! Limits as people write them: a number or a size, and `off` where a limit may be off.

use std::num::NonZeroU32;

use crate::size;

/// A bound that may also be switched off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// Not in force.
    Off,
    /// The most that is allowed; never zero.
    Max(u64),
}

impl Limit {
    /// The bound, if one is in force.
    pub(crate) const fn max(self) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Max(max) => Some(max),
        }
    }

    /// The bound as a number of things, if one is in force and there can be so many.
    pub(crate) fn small_max(self) -> Option<NonZeroU32> {
        self.max().and_then(|max| NonZeroU32::new(u32::try_from(max).ok()?))
    }
}

/// Reads a number that is at least one.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err("zero would allow nothing: write a number from 1".to_owned()),
        Ok(count) if is_number => Ok(count),
        _ => Err("write a whole number from 1".to_owned()),
    }
}

/// Reads a number, zero included.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn parse_number(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| "write a whole number from 0".to_owned())
}

/// Reads a number that is at least one, or the word `off`.
///
/// # Errors
///
/// See [`parse_count`].
pub(crate) fn parse_count_or_off(text: &str) -> Result<Limit, String> {
    match text {
        "off" => Ok(Limit::Off),
        "0" => Err("zero could mean two things: write `off` for no limit, or a number from 1".to_owned()),
        _ => parse_count(text).map(Limit::Max),
    }
}

/// Reads a size that is at least one byte.
///
/// # Errors
///
/// See [`size::parse`].
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    match size::parse(text)? {
        0 => Err("zero would allow nothing: write a size such as 64k".to_owned()),
        max => Ok(max),
    }
}

/// The largest head: places within it are kept in 16 bits.
const MAX_HEAD_BYTES: u64 = 64 << 10;

/// Reads the size of a head: at least one byte, at most 64 KiB.
///
/// # Errors
///
/// See [`parse_size`].
pub(crate) fn parse_head_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        max @ ..=MAX_HEAD_BYTES => Ok(max),
        _ => Err("a head cannot be larger than 64k".to_owned()),
    }
}

/// Reads the size of a window of HTTP/2: at least one byte, less than 2 GiB. RFC 9113 §6.9.1
///
/// # Errors
///
/// See [`parse_size`].
pub(crate) fn parse_window(text: &str) -> Result<u32, String> {
    match u32::try_from(parse_size(text).map_err(|_| "write a size such as 256k, more than zero".to_owned())?) {
        Ok(size) if i32::try_from(size).is_ok() => Ok(size),
        _ => Err("a window is less than 2g".to_owned()),
    }
}

/// Reads the size of a frame of HTTP/2. RFC 9113 §4.2
///
/// # Errors
///
/// See [`parse_size`].
pub(crate) fn parse_frame_size(text: &str) -> Result<u32, String> {
    match u32::try_from(parse_size(text)?) {
        Ok(size @ 16_384..16_777_216) => Ok(size),
        _ => Err("a frame has from 16k to less than 16m".to_owned()),
    }
}

/// Reads a size that is at least one byte, or the word `off`.
///
/// # Errors
///
/// See [`size::parse`].
pub(crate) fn parse_size_or_off(text: &str) -> Result<Limit, String> {
    match text {
        "off" => Ok(Limit::Off),
        _ => match size::parse(text)? {
            0 => Err("zero could mean two things: write `off` for no limit, or a size such as 10m".to_owned()),
            max => Ok(Limit::Max(max)),
        },
    }
}

/// Reads the length of a backlog: as many as the kernel's queue can count.
///
/// # Errors
///
/// See [`parse_count`].
pub(crate) fn parse_backlog(text: &str) -> Result<u16, String> {
    u16::try_from(parse_count(text)?)
        .map_err(|_| "no more than 65535: the kernel allows 4096 at most mostly".to_owned())
}

/// Reads a number of things of which there can be 2^32 at most, or the word `off`.
///
/// # Errors
///
/// See [`parse_count`].
pub(crate) fn parse_small_count_or_off(text: &str) -> Result<Limit, String> {
    let limit = parse_count_or_off(text)?;
    match limit.small_max() {
        None if limit != Limit::Off => Err("no more than 4294967295; write `off` for no limit".to_owned()),
        _ => Ok(limit),
    }
}

/// Reads the size of a socket's buffer, or the word `auto`.
///
/// # Errors
///
/// See [`parse_size`].
pub(crate) fn parse_buffer_or_auto(text: &str) -> Result<Limit, String> {
    match text {
        "auto" => Ok(Limit::Off),
        _ => match parse_size(text)? {
            size if i32::try_from(size).is_ok() => Ok(Limit::Max(size)),
            _ => Err("larger than a socket's buffer can be (2g): write `auto` to leave it to the kernel".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_off() {
        assert_eq!(parse_count("1"), Ok(1));
        assert_eq!(parse_count_or_off("1000"), Ok(Limit::Max(1000)));
        assert_eq!(parse_count_or_off("off"), Ok(Limit::Off));
        assert_eq!(parse_size("64k"), Ok(65_536));
        assert_eq!(parse_size_or_off("64k"), Ok(Limit::Max(65_536)));
        assert_eq!(parse_buffer_or_auto("64k"), Ok(Limit::Max(65_536)));
        assert_eq!(parse_buffer_or_auto("auto"), Ok(Limit::Off));
        assert_eq!(parse_backlog("65535"), Ok(65_535));
        assert_eq!(parse_small_count_or_off("4294967295"), Ok(Limit::Max(u32::MAX.into())));
        assert_eq!(parse_small_count_or_off("off"), Ok(Limit::Off));
        assert_eq!(parse_size_or_off("off"), Ok(Limit::Off));
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "0", "-1", "+1", "1k", "one", "OFF", "18446744073709551616"] {
            assert!(parse_count(text).is_err(), "{text:?}");
            assert!(parse_count_or_off(text).is_err(), "{text:?}");
        }
        for text in ["", "0", "0k", "-1", "on"] {
            assert!(parse_size(text).is_err(), "{text:?}");
            assert!(parse_size_or_off(text).is_err(), "{text:?}");
        }
        assert!(parse_count("off").is_err());
        assert_eq!((parse_number("0"), parse_number("7")), (Ok(0), Ok(7)));
        for text in ["", "-1", "+1", "off", "18446744073709551616"] {
            assert!(parse_number(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_head_size("64k"), Ok(65_536));
        for text in ["65537", "1m", "0", "off"] {
            assert!(parse_head_size(text).is_err(), "{text:?}");
        }
        assert!(parse_size("off").is_err());
        assert!(parse_backlog("65536").is_err() && parse_small_count_or_off("4294967296").is_err());
        assert!(parse_buffer_or_auto("2g").is_err() && parse_buffer_or_auto("off").is_err());
    }
}
