//! From when to when a certificate is valid. RFC 5280 §4.1.2.5

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From when to when a certificate is valid, in seconds since 1970. Zero stands for all that was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last one.
    pub not_after: u64,
}

impl Validity {
    /// Reads it off a certificate; `None` if that is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut to_be_signed, _) = element(certificate, SEQUENCE)?;
        if let Some((_, rest)) = element(to_be_signed, VERSION) {
            to_be_signed = rest;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            // The serial number, the algorithm of the signature, and the issuer.
            (_, to_be_signed) = element(to_be_signed, tag)?;
        }
        let (validity, _) = element(to_be_signed, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { not_before, not_after })
    }

    /// How long ago it ended, at `now` (seconds since 1970); `None` if it has not.
    pub fn expired_for(&self, now: u64) -> Option<Duration> {
        now.checked_sub(self.not_after).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// How long it is until it begins, at `now` (seconds since 1970); `None` if it has begun.
    pub fn begins_in(&self, now: u64) -> Option<Duration> {
        self.not_before.checked_sub(now).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// Its last second, as a time of the system.
    pub fn ends_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_after)
    }
}

// Tags of DER, X.690 §8.1.2.
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The content of the element with which `bytes` begins, and what follows it, if its tag is `tag`.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// The time with which `bytes` begins, and what follows it.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, year_digits, rest) = match (element(bytes, UTC_TIME), element(bytes, GENERALIZED_TIME)) {
        (Some((digits, rest)), _) => (digits, 2, rest),
        (None, Some((digits, rest))) => (digits, 4, rest),
        (None, None) => return None,
    };
    let digits = digits.strip_suffix(b"Z")?;
    let (year, rest_of_digits) = digits.split_at_checked(year_digits)?;
    let year = number(year)?;
    // RFC 5280 §4.1.2.5.1: two digits are of 1950 to 2049.
    let year = match year_digits {
        2 if year < 50 => 2000 + year,
        2 => 1900 + year,
        _ => year,
    };
    let mut parts = rest_of_digits.chunks(2).map(number);
    let mut next = || parts.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let seconds = days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second);
    Some((u64::try_from(seconds).unwrap_or(0), rest))
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// Days of the Gregorian calendar, counted from March so that a leap day is the last of its year.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (i64::from(year), month - 3) } else { (i64::from(year) - 1, month + 9) };
    let day_of_year = i64::from((153 * month + 2) / 5 + day - 1);
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_both_forms() {
        for (tag, digits, seconds) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "20001301000000Z", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "700101000000+0100", None),
            (UTC_TIME, "7001010000-1Z", None),
        ] {
            let mut bytes = vec![tag, u8::try_from(digits.len()).unwrap()];
            bytes.extend_from_slice(digits.as_bytes());
            assert_eq!(time(&bytes).map(|(seconds, _)| seconds), seconds, "{digits}");
        }
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let identity = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
        let certificate = identity.cert.der();
        assert!(Validity::of(certificate).is_some());
        for len in 0..certificate.len() {
            assert_eq!(Validity::of(&certificate[..len]), None, "{len}");
        }
    }

    #[test]
    fn before_and_after() {
        let validity = Validity { not_before: 10, not_after: 20 };
        for (now, begins_in, expired_for) in
            [(9, Some(1), None), (10, None, None), (20, None, None), (21, None, Some(1))]
        {
            let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
            assert_eq!(
                (seconds(validity.begins_in(now)), seconds(validity.expired_for(now))),
                (begins_in, expired_for)
            );
        }
    }
}
