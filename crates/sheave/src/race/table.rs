//! The table at the end: what clients saw, and what was done about it, with the protections on and off.

use std::collections::BTreeMap;
use std::fmt;

use super::protections::Protections;
use super::score::{self, METHODS};
use super::witness;

/// All that is known of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Under which protections.
    pub(crate) protections: Protections,
    /// What clients saw.
    pub(crate) clients: score::Seen,
    /// What became of the proxy's connections.
    pub(crate) proxy: witness::Seen,
    /// POSTs that the origin saw a second time.
    pub(crate) posts_twice: u64,
    /// What the proxy knows of the origin's keep-alive time in the end.
    pub(crate) learned: Option<String>,
}

impl Run {
    /// Errors that clients saw and that could have been repaired.
    pub(crate) fn repairable(&self) -> u64 {
        self.clients.all_errors() - self.clients.forbidden
    }

    /// Whether clients saw nothing that a proxy may repair, and the origin nothing twice that it must not.
    pub(crate) fn is_clean(&self) -> bool {
        self.repairable() == 0 && self.posts_twice == 0
    }
}

/// The runs side by side.
pub(crate) struct Table<'a>(pub(crate) &'a [Run]);

impl Table<'_> {
    fn row(&self, f: &mut fmt::Formatter<'_>, name: &str, read: impl Fn(&Run) -> u64) -> fmt::Result {
        write!(f, "\n{name:42}")?;
        self.0.iter().try_for_each(|run| write!(f, "{:>12}", grouped(read(run))))
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:42}", "protections")?;
        self.0.iter().try_for_each(|run| write!(f, "{:>12}", run.protections.label()))?;
        self.row(f, "requests", |run| run.clients.all_requests())?;
        self.row(f, "  on a connection that was reused", |run| run.proxy.reused)?;
        self.row(f, "parked connections retired by check", |run| run.proxy.retired_by_check)?;
        self.row(f, "parked connections retired by age", |run| run.proxy.retired_by_age)?;
        self.row(f, "requests retried by evidence", |run| run.proxy.retried.values().sum())?;
        for evidence in all_of(self.0, |run| &run.proxy.retried) {
            self.row(f, &format!("  {evidence}"), |run| run.proxy.retried.get(evidence).copied().unwrap_or(0))?;
        }
        self.row(f, "errors that clients saw", |run| run.clients.all_errors())?;
        for (place, method) in METHODS.iter().enumerate() {
            self.row(f, &format!("  {method}"), |run| run.clients.errors[place])?;
        }
        self.row(f, "  of them POSTs that must not be repaired", |run| run.clients.forbidden)?;
        self.row(f, "responses to somebody else's request", |run| run.clients.foreign)?;
        self.row(f, "POSTs that the origin saw twice", |run| run.posts_twice)
    }
}

fn all_of<K: Ord + Copy>(runs: &[Run], map: impl Fn(&Run) -> &BTreeMap<K, u64>) -> Vec<K> {
    let mut keys: Vec<K> = runs.iter().flat_map(|run| map(run).keys().copied()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// A number in groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(protections: Protections, errors: [u64; 3], forbidden: u64) -> Run {
        let clients = score::Seen { requests: [6000, 2000, 2000], errors, forbidden, ..score::Seen::default() };
        let proxy = witness::Seen { reused: 4321, retried: [("idempotent", 7)].into(), ..witness::Seen::default() };
        Run { protections, clients, proxy, posts_twice: 0, learned: None }
    }

    #[test]
    fn is_a_table() {
        let runs = [run(Protections::On, [0, 0, 2], 2), run(Protections::Off, [1000, 3, 4], 4)];
        assert!(runs[0].is_clean() && !runs[1].is_clean());
        assert!(!Run { posts_twice: 1, ..runs[0].clone() }.is_clean());
        let expected = "\
protections                                         on         off
requests                                        10,000      10,000
  on a connection that was reused                4,321       4,321
parked connections retired by check                  0           0
parked connections retired by age                    0           0
requests retried by evidence                         7           7
  idempotent                                         7           7
errors that clients saw                              2       1,007
  GET                                                0       1,000
  PUT                                                0           3
  POST                                               2           4
  of them POSTs that must not be repaired            2           4
responses to somebody else's request                 0           0
POSTs that the origin saw twice                      0           0";
        assert_eq!(Table(&runs).to_string(), expected);
    }

    #[test]
    fn groups_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
