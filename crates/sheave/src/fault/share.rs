//! A share of requests, spread evenly: `1/100` is every hundredth, and never by chance two in a row.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A share of requests: more than none, at most all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    part: u32,
    whole: u32,
}

impl Share {
    /// Every request.
    pub(crate) const ALL: Self = Self { part: 1, whole: 1 };

    /// Whether it is every request.
    pub(crate) const fn is_all(self) -> bool {
        self.part == self.whole
    }

    /// How many of the first `count` requests belong to it.
    fn of_first(self, count: u64) -> u128 {
        u128::from(count) * u128::from(self.part) / u128::from(self.whole)
    }
}

impl FromStr for Share {
    type Err = String;

    /// `1/100`, or whole per cent: `1%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let read = match text.strip_suffix('%') {
            Some(part) => number(part).map(|part| (part, 100)),
            None => text.split_once('/').and_then(|(part, whole)| Some((number(part)?, number(whole)?))),
        };
        match read {
            Some((part, whole)) if (1..=whole).contains(&part) => Ok(Self { part, whole }),
            _ => Err(format!("{text:?} is no share of requests: write 1/100 or 1%, more than none and at most all")),
        }
    }
}

/// Counts the requests that come, and says which of them belong to a share.
#[derive(Debug)]
pub(crate) struct Turns {
    share: Share,
    come: AtomicU64,
}

impl Turns {
    /// Begins to count.
    pub(crate) const fn new(share: Share) -> Self {
        Self { share, come: AtomicU64::new(0) }
    }

    /// Counts one more request, and says whether it belongs to the share.
    pub(crate) fn takes_next(&self) -> bool {
        let before = self.come.fetch_add(1, Ordering::Relaxed);
        self.share.of_first(before + 1) > self.share.of_first(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_evenly_and_exactly() {
        for (text, of_twelve) in [("1/1", 12), ("1/4", 3), ("2/3", 8), ("50%", 6), ("1/12", 1), ("1/13", 0)] {
            let turns = Turns::new(text.parse().expect(text));
            assert_eq!((0..12).filter(|_| turns.takes_next()).count(), of_twelve, "{text}");
        }
        let turns = Turns::new("1/3".parse().expect("a share"));
        let taken: Vec<bool> = (0..6).map(|_| turns.takes_next()).collect();
        assert_eq!(taken, [false, false, true, false, false, true]);
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "0/5", "6/5", "1/0", "0%", "101%", "0.5", "1", "-1/2", "+1/2", "1/2/3", "1.5%", "%"] {
            assert!(text.parse::<Share>().is_err(), "{text:?}");
        }
    }
}
