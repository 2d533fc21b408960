//! Law 2, for clients: what nothing stands in the way of is answered.

use sheave_sim::fault::{Action, Fault};
use sheave_sim::laws::Violation;
use sheave_sim::run::Ended;

use super::case::{Case, View};
use crate::caller::Heard;
use crate::catalogue::{Exchange, Failure};
use crate::messages::Message;

/// How many of the requests on a client's connection got their answer: the scripted one, or, where there is no other, ours.
fn answered(case: &Case<'_>, view: &View) -> usize {
    let places = view.places();
    let own_status = |answer: usize| {
        // What cannot be read has no place; it comes last.
        let place = places.get(answer).copied().unwrap_or(case.scenario.exchanges.len() - 1);
        case.scenario.exchanges[place].own_status
    };
    let is_answer = |(answer, it): &(usize, &Message)| {
        it.is_whole() && (it.exchange_of_field().is_some() || own_status(*answer) == Some(it.status()))
    };
    view.arrived.finals().enumerate().filter(is_answer).count()
}

/// Whether the client was told that the connection ends.
fn is_told(view: &View) -> bool {
    view.arrived.finals().last().is_some_and(|last| last.is_whole() && !last.keeps_alive())
}

/// Nothing is lost for bytes that only come in pieces.
pub(crate) fn are_not_for_pieces(case: &Case<'_>, heard: &[Heard]) -> Option<Violation> {
    let is_piece = |fault: &Fault| matches!(fault.action, Action::Split(_));
    let is_easy = case.record.ended == Ended::Completed && case.faults().iter().all(is_piece);
    if !is_easy || case.is_too_late_for_the_origin() {
        return None;
    }
    let can_be = |exchange: &&Exchange| !matches!(exchange.failure, Failure::Late | Failure::Panic);
    let expected = case.scenario.exchanges.iter().filter(can_be).count();
    let answered = case.wires(false).map(|(_, view)| answered(case, view)).sum::<usize>() + heard.len();
    if !case.record.plan.options.is_empty() && case.wires(false).any(|(_, view)| is_told(view)) {
        // A limit of the configuration may end a connection; its client does not ask the rest.
        return None;
    }
    let text = || format!("{answered} of {expected} exchanges were answered, and nothing was in the way");
    (answered != expected).then(|| Violation::new(2, text()))
}

/// Nothing is lost for a client that only says that it has finished, or for a drain alone.
pub(crate) fn need_a_reason(case: &Case<'_>) -> Vec<Violation> {
    let [fault] = case.faults() else { return Vec::new() };
    if case.record.ended != Ended::Completed || case.has_failing_handler() || case.is_too_late_for_the_origin() {
        return Vec::new();
    }
    let is_of_client = fault.trigger.to_string().starts_with("client");
    let mut found = Vec::new();
    for (wire, view) in case.wires(false) {
        let (asked, answered) = (view.heard.messages.len(), answered(case, view));
        let is_owed_all = match fault.action {
            // A client that is told may ask the rest elsewhere.
            Action::Drain => (answered == 0 || !is_told(view)) && view.heard.broken.is_none(),
            // To a client that has only shut its writing side the answers are owed all the same.
            Action::HalfClose(_) => {
                let is_limited = !case.record.plan.options.is_empty() && is_told(view);
                view.heard.is_whole() && is_of_client && !is_limited
            }
            _ => false,
        };
        if is_owed_all && answered != asked {
            let text = format!("{answered} of {asked} requests were answered, with {fault} alone");
            found.push(case.violation(2, wire, &text));
        }
    }
    found
}
