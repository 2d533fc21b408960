//! Law 7: a request is sent again only on the evidence that is named, and one that is not idempotent reaches an origin at
//! most once otherwise.

use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::Evidence;
use sheave_sim::fault::Way;
use sheave_sim::laws::Violation;
use sheave_sim::trace::{Seen, What};

use super::case::Case;

/// Every retry against what had happened on the connection of the attempt before.
pub(crate) fn have_evidence(case: &Case<'_>) -> Vec<Violation> {
    if case.scenario.clients > 1 {
        // Which attempt a retry speaks of shows only where there is one at a time.
        return Vec::new();
    }
    let entries = &case.record.trace.entries;
    let mut found = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let What::Seen(Seen::Retried(evidence)) = entry.what else { continue };
        let attempt = entries[..place].iter().enumerate().rev().find_map(|(at, entry)| match entry.what {
            What::Seen(Seen::ConnectFailed(_)) => Some((at, None)),
            What::Seen(Seen::Opened(Side::Upstream, id) | Seen::Reused(id)) => Some((at, Some(id))),
            _ => None,
        });
        let method = entries[place..].iter().find_map(|entry| match &entry.what {
            What::Seen(Seen::ExchangeEnded(_, end)) => Some(end.method.as_str()),
            _ => None,
        });
        if !attempt.is_some_and(|attempt| is_evidence(case, evidence, attempt, place, method)) {
            let text = format!("a retry for {}, which was not so: attempt at {attempt:?}", evidence.label());
            found.push(Violation::new(7, text));
        }
    }
    found
}

/// Whether what happened from the beginning of the attempt to entry `place` is what `evidence` says.
fn is_evidence(
    case: &Case<'_>,
    evidence: Evidence,
    (began, id): (usize, Option<ConnectionId>),
    place: usize,
    method: Option<&str>,
) -> bool {
    let trace = &case.record.trace;
    let Some(id) = id else { return evidence == Evidence::ConnectFailed };
    let Some(wire) = trace.wire_of(Side::Upstream, id) else { return false };
    let (before, after) = (trace.counts_after(wire, began), trace.counts_after(wire, place));
    let has_written = after.written[Way::Out as usize] > before.written[Way::Out as usize];
    let has_heard = after.read[Way::In as usize] > before.read[Way::In as usize];
    match evidence {
        Evidence::NotWritten | Evidence::ClosedBeforeWrite => !has_written && !has_heard,
        // RFC 9110 §9.2.2. Of a run that never came to its end the method is not told.
        Evidence::Idempotent => !has_heard && method != Some("POST"),
        _ => false,
    }
}

/// Every request that is not idempotent against the connections on which it was written.
pub(crate) fn risk_nothing_twice(case: &Case<'_>) -> Vec<Violation> {
    let exchanges = case.scenario.exchanges.iter().enumerate();
    let risky = exchanges.filter(|(_, exchange)| exchange.method == "POST").map(|(place, _)| place);
    let twice = risky.filter_map(|place| {
        let line = format!("POST /{place} ");
        let reached = case.wires(true).filter(|(wire, view)| {
            let bytes = case.record.trace.wires[*wire].bytes(Way::Out);
            // Fewer bytes do not tell which request they belong to; of them the evidence speaks.
            let is_begun = bytes[bytes.len() - view.asked.rest..].starts_with(line.as_bytes());
            is_begun || view.asked.messages.iter().any(|request| request.start_line.starts_with(&line))
        });
        let names: Vec<String> = reached.map(|(wire, _)| case.record.trace.wires[wire].name.to_string()).collect();
        (names.len() > 1).then(|| Violation::new(7, format!("request {place} was sent on {names:?}")))
    });
    twice.collect()
}
