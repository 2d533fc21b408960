//! Shares of a whole as people write them: `20%` or `0.2`.

/// Reads a share between nothing and all.
///
/// # Errors
///
/// A sentence that says what would be right.
pub(crate) fn parse(text: &str) -> Result<f64, String> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(number) if is_plain && number <= whole => Ok(number / whole),
        _ => Err("write a share between 0% and 100%, such as 20% or 0.2".to_owned()),
    }
}

/// A share in per cent.
pub(crate) fn display(share: f64) -> String {
    format!("{}%", (share * 10_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, share, shown) in
            [("0", 0.0, "0%"), ("20%", 0.2, "20%"), ("0.2", 0.2, "20%"), ("1", 1.0, "100%"), ("12.5%", 0.125, "12.5%")]
        {
            let read = parse(text).expect(text);
            assert!((read - share).abs() < 1e-9, "{text}");
            assert_eq!(display(read), shown);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "%", "20", "101%", "1.1", "-1%", "+1%", "nan", "inf", "1e-3", ".", "a"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
