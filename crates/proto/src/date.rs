//! The Date field's text.

use std::fmt;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use crate::text::Text;

/// The last second that IMF-fixdate's four-digit year can say: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// A moment as an IMF-fixdate (RFC 9110 §5.6.7): always 29 bytes of ASCII, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImfFixdate([u8; 29]);

impl ImfFixdate {
    /// The moment, given in seconds since 1970-01-01T00:00:00Z. Moments after the year 9999 read as its last second.
    #[must_use]
    pub fn at(unix_seconds: u64) -> Self {
        let moment = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND));
        let mut text = [b' '; 29];
        write!(&mut text[..], "{}", httpdate::HttpDate::from(moment)).expect("an IMF-fixdate is 29 bytes");
        Self(text)
    }

    /// What stands in the field.
    #[must_use]
    #[inline]
    pub const fn as_text(&self) -> Text<'_> {
        Text::of_parsed(&self.0)
    }
}

impl fmt::Debug for ImfFixdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_text().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let table = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, text) in table {
            let date = ImfFixdate::at(seconds);
            assert_eq!((date.as_text(), date.0.len()), (Text::literal(text), 29));
        }
    }
}
