//! Sizes in bytes as people write them: `512`, `64k`, `10m`, `1g`, counted in 1024s.

/// Reads a size: a whole number, and `k`, `m` or `g` in either case if it does not count bytes.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err("write a whole number of bytes, or one with k, m or g, such as 64k or 10m".to_owned()),
    };
    if number.is_empty() {
        return Err("write a whole number of bytes, or one with k, m or g, such as 64k or 10m".to_owned());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "larger than a size can be (2^64 bytes)".to_owned())
}

/// A size as one would write it; the inverse of [`parse`].
pub(crate) fn display(bytes: u64) -> String {
    for (shift, unit) in [(30, "g"), (20, "m"), (10, "k")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64k", 65_536),
            ("64K", 65_536),
            ("10m", 10_485_760),
            ("1g", 1 << 30),
            ("1G", 1 << 30),
            ("18446744073709551615", u64::MAX),
            ("17179869183g", 17_179_869_183 << 30),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "whole number"),
            ("k", "whole number"),
            ("-1", "whole number"),
            ("+1", "whole number"),
            ("1.5m", "whole number"),
            ("1 k", "whole number"),
            ("1kb", "whole number"),
            ("1t", "whole number"),
            ("18446744073709551616", "larger than"),
            ("17179869184g", "larger than"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0", "1", "1023", "1k", "64k", "1025", "10m", "1g", "17179869183g"] {
            assert_eq!(parse(text).map(display).as_deref(), Ok(text));
        }
    }
}
