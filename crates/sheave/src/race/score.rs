//! What clients saw, counted by whoever of them saw it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The methods of the load.
pub(crate) const METHODS: [&str; 3] = ["GET", "PUT", "POST"];

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Its own response, whole.
    Whole,
    /// The proxy could not tell whether the origin had got it, and it must not be sent twice. RFC 9110 §9.2.2
    Forbidden,
    /// The whole response to some other request.
    Foreign,
    /// An error that should not have been; its cause.
    Error(String),
}

/// The counts of one run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Seen {
    /// Requests that were sent, in the order of [`METHODS`].
    pub(crate) requests: [u64; 3],
    /// Errors that clients saw, in the same order; the forbidden ones are among them.
    pub(crate) errors: [u64; 3],
    /// POSTs that must not be repaired.
    pub(crate) forbidden: u64,
    /// Responses that belonged to another request.
    pub(crate) foreign: u64,
    /// Errors by cause.
    pub(crate) causes: BTreeMap<String, u64>,
}

impl Seen {
    /// Requests of all methods.
    pub(crate) fn all_requests(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Errors of all methods.
    pub(crate) fn all_errors(&self) -> u64 {
        self.errors.iter().sum()
    }
}

/// How many causes are told apart.
const MAX_CAUSES: usize = 32;

/// Counts.
#[derive(Default, Debug)]
pub(crate) struct Score(Mutex<Seen>);

impl Score {
    /// What was counted so far.
    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request; `method` is its place in [`METHODS`].
    pub(crate) fn add(&self, method: usize, outcome: Outcome) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.requests[method] += 1;
        let cause = match outcome {
            Outcome::Whole => return,
            Outcome::Forbidden => {
                seen.forbidden += 1;
                "not to be repaired".to_owned()
            }
            Outcome::Foreign => {
                seen.foreign += 1;
                "another request's response".to_owned()
            }
            Outcome::Error(cause) => cause,
        };
        seen.errors[method] += 1;
        let has_room = seen.causes.len() < MAX_CAUSES || seen.causes.contains_key(&cause);
        *seen.causes.entry(if has_room { cause } else { "other".to_owned() }).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_counted_by_method_and_cause() {
        let score = Score::default();
        score.add(0, Outcome::Whole);
        score.add(0, Outcome::Error("upstream-closed".to_owned()));
        score.add(2, Outcome::Forbidden);
        score.add(1, Outcome::Foreign);
        for number in 0..100 {
            score.add(0, Outcome::Error(format!("cause {number}")));
        }
        let seen = score.seen();
        assert_eq!((seen.requests, seen.errors, seen.forbidden, seen.foreign), ([102, 1, 1], [101, 1, 1], 1, 1));
        assert_eq!((seen.causes.len(), seen.causes["upstream-closed"]), (MAX_CAUSES + 1, 1));
        assert_eq!((seen.all_requests(), seen.all_errors(), seen.causes.values().sum()), (104, 103, 103));
    }
}
