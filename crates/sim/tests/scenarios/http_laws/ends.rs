//! Laws 4 and 6: what is said of a connection's end, and what a connection is like that is kept.

use sheave_lifecycle::phase::Side;
use sheave_sim::fault::Way;
use sheave_sim::laws::Violation;
use sheave_sim::trace::{Seen, What, Whose, WireIndex};

use super::case::{Case, methods};
use crate::messages::{self, Message};

/// 6: while draining, every response head says `Connection: close` exactly once, but for those that are followed by requests
/// which had arrived when the drain was noticed; no head ever says it twice.
pub(crate) fn are_said_in_a_drain(case: &Case<'_>) -> Vec<Violation> {
    let drain = case.record.trace.entries.iter().position(|entry| entry.what == What::DrainStarted);
    let mut found = Vec::new();
    for (wire, view) in case.wires(false) {
        let mut noticed = None;
        for (answer, response) in view.written.finals().enumerate() {
            let says = response.connection_says("close");
            let offered = first_offered(case, wire, response.begin);
            let is_after = drain.is_some_and(|drain| offered > drain);
            let may_go_on = !is_after || {
                let noticed = *noticed.get_or_insert(offered);
                let arrived = case.record.trace.counts_after(wire, noticed).delivered[Way::In as usize];
                let end = view.asked.messages.get(answer).and_then(|request| request.end);
                end.is_some_and(|end| end < arrived)
            };
            if says > 1 || says == 0 && !may_go_on {
                let text =
                    format!("response {answer} says close {says} times{}", if is_after { " in a drain" } else { "" });
                found.push(case.violation(6, wire, &text));
            }
        }
    }
    found
}

/// The entry at which the byte at `offset` was given to the kernel first, taken or not.
fn first_offered(case: &Case<'_>, wire: WireIndex, offset: usize) -> usize {
    let mut written = 0;
    for (place, entry) in case.record.trace.entries.iter().enumerate() {
        match entry.what {
            What::Offered(at, len) if at == wire && written + len > offset => return place,
            What::Wrote(at, Whose::Ours, len) if at == wire => written += len,
            _ => {}
        }
    }
    usize::MAX
}

/// 4: parked only with both halves done, nothing unread, and keep-alive agreed.
pub(crate) fn parked_connections_are_clean(case: &Case<'_>) -> Vec<Violation> {
    let trace = &case.record.trace;
    let mut found = Vec::new();
    for (place, entry) in trace.entries.iter().enumerate() {
        let What::Seen(Seen::Parked(id)) = entry.what else { continue };
        let Some(wire) = trace.wire_of(Side::Upstream, id) else { continue };
        let counts = trace.counts_after(wire, place);
        let log = &trace.wires[wire];
        let requests = messages::requests(&log.bytes(Way::Out)[..counts.written[Way::Out as usize]]);
        let read = &log.bytes(Way::In)[..counts.read[Way::In as usize]];
        let responses = messages::responses(read, &methods(&requests), false);
        let is_even = requests.messages.len() == responses.finals().count();
        let is_kept = requests.messages.iter().chain(responses.finals()).all(Message::keeps_alive);
        if !(requests.is_whole() && responses.is_whole() && is_even && is_kept) {
            let text = format!("parked in the middle of an exchange, or after its last: {counts:?}");
            found.push(case.violation(4, wire, &text));
        }
    }
    found
}
