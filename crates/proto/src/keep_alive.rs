//! `Keep-Alive`: what an origin announces of its connection's future.

use std::time::Duration;

use crate::fields::Fields;
use crate::grammar::decimal;
use crate::known::Known;
use crate::known_set::KnownSet;
use crate::list::Members;

/// Nobody means a longer time than a year.
const MAX_TIMEOUT_SECONDS: u64 = 365 * 24 * 60 * 60;

/// What `Keep-Alive` says, as far as it says something. Nothing is an error: the field is a hint (RFC 2068 §19.7.1.1, which
/// its successors left out and everybody still sends).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KeepAlive {
    /// How long the sender keeps an idle connection open. Zero: not at all.
    pub timeout: Option<Duration>,
    /// How many more requests it takes on this connection. Some senders count the one that is being answered, so one may
    /// mean none.
    pub max: Option<u64>,
}

impl KeepAlive {
    /// What the fields announce. A parameter is a name, `=` and digits; whatever is not is passed over, and of two values
    /// the smaller counts.
    pub fn of(fields: &Fields) -> Self {
        let mut told = Self::default();
        if !fields.may_have(KnownSet::of(&[Known::KeepAlive])) {
            return told;
        }
        for member in fields.get_all(Known::KeepAlive).flat_map(Members::new) {
            let Some(equals) = member.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&member[..equals], &member[equals + 1..]);
            let Ok(value) = decimal(value) else { continue };
            if name.eq_ignore_ascii_case(b"timeout") && value <= MAX_TIMEOUT_SECONDS {
                let timeout = Duration::from_secs(value);
                told.timeout = Some(told.timeout.map_or(timeout, |other| other.min(timeout)));
            } else if name.eq_ignore_ascii_case(b"max") {
                told.max = Some(told.max.map_or(value, |other| other.min(value)));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_said_and_passes_over_the_rest() {
        for (lines, timeout, max) in [
            (&[][..], None, None),
            (&["timeout=5, max=100"], Some(5), Some(100)),
            (&["timeout=5,max=100"], Some(5), Some(100)),
            (&["TimeOut=5", "MAX=0"], Some(5), Some(0)),
            (&["max=1"], None, Some(1)),
            (&["timeout=0"], Some(0), None),
            (&["timeout=72"], Some(72), None),
            (&["timeout=60, timeout=5"], Some(5), None),
            (&["timeout=5", "timeout=60"], Some(5), None),
            (&["timeout=31536000"], Some(31_536_000), None),
            // A sender who means this means something else.
            (&["timeout=31536001"], None, None),
            (&["timeout=18446744073709551616, max=18446744073709551616"], None, None),
            (&[""], None, None),
            (&["5"], None, None),
            (&["timeout"], None, None),
            (&["timeout="], None, None),
            (&["timeout=-1"], None, None),
            (&["timeout=+5"], None, None),
            (&["timeout=5s"], None, None),
            (&["timeout=5.0"], None, None),
            (&["timeout = 5"], None, None),
            (&["timeout=\"5\""], None, None),
            (&["timeout=5=6"], None, None),
            (&["timeout=5;max=6"], None, None),
            (&["=5, timeouts=5, xmax=1"], None, None),
            (&["header=\"timeout=1, max=1\", max=7"], None, Some(7)),
            (&["timeout=x, max=3"], None, Some(3)),
        ] {
            let mut fields = Fields::new();
            lines.iter().for_each(|line| fields.push(Known::KeepAlive, line.as_bytes()).unwrap());
            let told = KeepAlive { timeout: timeout.map(Duration::from_secs), max };
            assert_eq!(KeepAlive::of(&fields), told, "{lines:?}");
        }
    }
}
