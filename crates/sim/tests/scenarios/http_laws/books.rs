//! Law 2: how an exchange is said to have ended is how it did on the wire.

use sheave_lifecycle::observe::Outcome;
use sheave_sim::laws::Violation;
use sheave_sim::run::Ended;
use sheave_sim::trace::{ExchangeEnded, Seen, What, WireIndex};

use super::case::Case;
use crate::messages::{Framing, Message};

/// The observer's books against the bytes that were written to clients.
pub(crate) fn are_those_of_the_wire(case: &Case<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (wire, view) in case.wires(false) {
        let finals: Vec<&Message> = view.written.finals().collect();
        let ended = exchanges_ended(case, wire);
        if finals.len() > ended.len() {
            let text = format!("{} responses to {} exchanges", finals.len(), ended.len());
            found.push(case.violation(2, wire, &text));
        }
        for (place, end) in ended.iter().enumerate() {
            if end.error == Some("cancelled") && case.record.ended == Ended::Completed {
                found.push(case.violation(2, wire, &format!("exchange {} was cancelled by nobody", end.number)));
            }
            let response = finals.get(place);
            if response.is_some_and(|response| response.framing == Framing::UntilClose) {
                // Whether it is whole shows only with the close, after the exchange.
                continue;
            }
            let is_whole = response.is_some_and(|response| response.is_whole() && response.status() == end.status);
            if is_whole != matches!(end.outcome, Outcome::Answered(_)) {
                let text = format!("exchange {} is said to have ended as {:?} {}", end.number, end.outcome, end.status);
                found.push(case.violation(2, wire, &text));
            }
        }
    }
    found
}

fn exchanges_ended<'c>(case: &'c Case<'_>, wire: WireIndex) -> Vec<&'c ExchangeEnded> {
    let id = case.record.trace.wires[wire].id;
    let seen = case.record.trace.entries.iter().filter_map(|entry| match &entry.what {
        What::Seen(Seen::ExchangeEnded(of, end)) if Some(*of) == id => Some(&**end),
        _ => None,
    });
    seen.collect()
}
