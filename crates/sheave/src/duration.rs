//! Durations as people write them: `300ms`, `5s`, `1m30s`; and timeouts, which are never zero.

use std::time::Duration;

/// The longest duration that is taken: a year. Longer ones are slips of the pen, and sums of deadlines stay in range.
pub(crate) const MAX: Duration = Duration::from_hours(365 * 24);

/// A duration that may also be switched off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OrOff {
    /// Not in force.
    Off,
    /// In force.
    After(Duration),
}

impl OrOff {
    /// The duration, if one is in force.
    pub(crate) const fn duration(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::After(duration) => Some(duration),
        }
    }
}

/// Reads a duration: whole numbers with the units `ms`, `s`, `m` or `h`, the larger ones first. `0` needs no unit.
///
/// # Errors
///
/// A sentence that says what is wrong and what would be right.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut smallest = Duration::MAX;
    let mut rest = text;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            "" if !number.is_empty() && after.is_empty() => {
                return Err(format!("a unit is missing: write {text}s for seconds or {text}ms for milliseconds"));
            }
            _ => return Err("write a whole number and a unit, such as 300ms, 5s, 1m or 2h".to_owned()),
        };
        if number.is_empty() || unit >= smallest {
            return Err("write a whole number and a unit, the larger unit first, such as 1m30s".to_owned());
        }
        let part = number.parse::<u32>().ok().and_then(|number| unit.checked_mul(number));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX)
            .ok_or_else(|| format!("longer than a year ({})", display(MAX)))?;
        if after.is_empty() {
            return Ok(total);
        }
        smallest = unit;
        rest = after;
    }
}

/// Reads a timeout: a duration that is not zero.
///
/// # Errors
///
/// See [`parse`]; and zero is refused, because a timeout cannot be configured and off.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("a timeout cannot be zero: write how long to wait, such as 5s or 300ms".to_owned()),
        timeout => Ok(timeout),
    }
}

/// Reads a timeout, or the word `off`.
///
/// # Errors
///
/// See [`parse`]; zero is refused, as it could mean either.
pub(crate) fn parse_timeout_or_off(text: &str) -> Result<OrOff, String> {
    match text {
        "off" => Ok(OrOff::Off),
        _ => match parse(text)? {
            Duration::ZERO => Err("zero could mean two things: write `off` for no limit, or a duration".to_owned()),
            timeout => Ok(OrOff::After(timeout)),
        },
    }
}

/// A duration as one would write it, exact to the millisecond; the inverse of [`parse`].
pub(crate) fn display(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (part, unit) in
        [(millis / 3_600_000, "h"), (millis / 60_000 % 60, "m"), (millis / 1000 % 60, "s"), (millis % 1000, "ms")]
    {
        if part > 0 {
            text.push_str(&part.to_string());
            text.push_str(unit);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("0ms", 0),
            ("1ms", 1),
            ("300ms", 300),
            ("5s", 5000),
            ("75s", 75_000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h0m1s5ms", 3_601_005),
            ("007s", 7000),
            ("8760h", 8760 * 3_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "whole number"),
            ("5", "write 5s for seconds"),
            ("1m30", "write 1m30s for seconds"),
            ("s", "whole number"),
            ("-5s", "whole number"),
            ("+5s", "whole number"),
            ("1.5s", "whole number"),
            ("5 s", "whole number"),
            (" 5s", "whole number"),
            ("5s ", "whole number"),
            ("5sec", "whole number"),
            ("5S", "whole number"),
            ("5d", "whole number"),
            ("٥s", "whole number"),
            ("1s1m", "larger unit first"),
            ("1s1s", "larger unit first"),
            ("8761h", "longer than a year"),
            ("99999999999999999999s", "longer than a year"),
            ("4294967295h", "longer than a year"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_timeout_is_never_zero() {
        for text in ["0", "0s", "0ms", "0h0m"] {
            assert!(parse_timeout(text).is_err(), "{text}");
            assert!(parse_timeout_or_off(text).is_err(), "{text}");
        }
        assert_eq!(parse_timeout("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_timeout_or_off("off"), Ok(OrOff::Off));
        assert_eq!(parse_timeout_or_off("1m"), Ok(OrOff::After(Duration::from_secs(60))));
        assert!(parse_timeout("off").is_err());
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["300ms", "5s", "1m15s", "1h", "2h5ms", "8760h"] {
            assert_eq!(parse(text).map(display).as_deref(), Ok(text));
        }
        assert_eq!(display(Duration::ZERO), "0s");
    }
}
