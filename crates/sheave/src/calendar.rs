//! A moment as people read it: RFC 3339, and the form that the common log format uses. Always UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment taken apart into date and time of day, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
}

impl Moment {
    /// Takes a system time apart. Times before 1970 become 1970.
    pub(crate) fn of(time: SystemTime) -> Self {
        Self::since_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn since_epoch(since: Duration) -> Self {
        // Four digits of a year are all that both forms have room for.
        let seconds = since.as_secs().min(LAST_SECOND);
        let [days, of_day] = [seconds / 86_400, seconds % 86_400];
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (year, month, day) = date(narrow(days));
        Self {
            year,
            month,
            day,
            hour: narrow(of_day / 3600),
            minute: narrow(of_day / 60 % 60),
            second: narrow(of_day % 60),
            micros: since.subsec_micros(),
        }
    }

    /// Appends `2026-11-20T06:39:00.123456Z`. RFC 3339 §5.6.
    pub(crate) fn rfc3339(&self, out: &mut Vec<u8>) {
        digits(out, self.year, 4);
        for (mark, part) in [(b'-', self.month), (b'-', self.day), (b'T', self.hour), (b':', self.minute)] {
            out.push(mark);
            digits(out, part, 2);
        }
        out.push(b':');
        digits(out, self.second, 2);
        out.push(b'.');
        digits(out, self.micros, 6);
        out.push(b'Z');
    }

    /// Appends `20/Nov/2026:06:39:00 +0000`, as Apache's `%t` has it between its brackets.
    pub(crate) fn common_log(&self, out: &mut Vec<u8>) {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        digits(out, self.day, 2);
        out.push(b'/');
        let month = (self.month as usize - 1) * 3;
        out.extend_from_slice(&MONTHS[month..month + 3]);
        out.push(b'/');
        digits(out, self.year, 4);
        for part in [self.hour, self.minute, self.second] {
            out.push(b':');
            digits(out, part, 2);
        }
        out.extend_from_slice(b" +0000");
    }
}

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The date `days` days after 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last of its year, and in eras of 400 years, which
/// all have the same number of days.
fn date(days: u32) -> (u32, u32, u32) {
    const DAYS_FROM_MARCH_0000: u32 = 719_468;
    const ERA: u32 = 146_097;
    let days = days + DAYS_FROM_MARCH_0000;
    let (era, of_era) = (days / ERA, days % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31 30 31 30 31 days twice over: 153 in five.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

/// Appends the last `width` digits of a number.
fn digits(out: &mut Vec<u8>, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        out.push(b"0123456789"[digit as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(micros: u64) -> (String, String) {
        let moment = Moment::of(UNIX_EPOCH + Duration::from_micros(micros));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        moment.rfc3339(&mut one);
        moment.common_log(&mut other);
        (String::from_utf8(one).expect("ASCII"), String::from_utf8(other).expect("ASCII"))
    }

    #[test]
    fn knows_the_calendar() {
        for (seconds, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59.000000Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "2000-02-29T00:00:00.000000Z", "29/Feb/2000:00:00:00 +0000"),
            (951_868_800, "2000-03-01T00:00:00.000000Z", "01/Mar/2000:00:00:00 +0000"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z", "29/Feb/2024:00:00:00 +0000"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z", "31/Dec/2024:23:59:59 +0000"),
            (1_795_156_740, "2026-11-20T06:39:00.000000Z", "20/Nov/2026:06:39:00 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z", "01/Mar/2100:00:00:00 +0000"),
            (253_402_300_799, "9999-12-31T23:59:59.000000Z", "31/Dec/9999:23:59:59 +0000"),
            (253_402_300_800, "9999-12-31T23:59:59.000000Z", "31/Dec/9999:23:59:59 +0000"),
        ] {
            assert_eq!(both(seconds * 1_000_000), (rfc3339.to_owned(), common.to_owned()), "{seconds}");
        }
        assert_eq!(both(1_234_567).0, "1970-01-01T00:00:01.234567Z");
    }

    #[test]
    fn counts_every_day_once() {
        let length = |year: u32, month: u32| match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut expected = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(date(days), expected);
            let (year, month, day) = expected;
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                _ if day == length(year, month) => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
