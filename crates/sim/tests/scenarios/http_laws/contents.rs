//! Laws 3 and 11: every byte of a message belongs to its exchange, and what looks whole is whole. In both directions.

use sheave_sim::laws::Violation;
use sheave_sim::trace::WireIndex;

use super::case::Case;
use crate::caller::Heard;
use crate::catalogue::{self, STRAY, pattern};
use crate::messages::{Framing, Message};

/// What a client is sent.
pub(crate) fn of_responses_are_the_makers(case: &Case<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (wire, view) in case.wires(false) {
        if let Some(why) = &view.arrived.broken {
            found.push(case.violation(3, wire, &format!("the client was sent what is no response: {why}")));
        }
        let places = view.places();
        let mut answered = 0;
        for message in &view.arrived.messages {
            let place = places.get(answered).copied();
            if message.is_interim() {
                let exchange = place.and_then(|place| case.scenario.exchanges.get(place));
                let is_wanted = exchange.is_some_and(|exchange| {
                    let is_asked_for = exchange.expects_continue && message.status() == 100;
                    (is_asked_for || exchange.interim == Some(message.status())) && !exchange.is_old
                });
                if !is_wanted {
                    let text = format!("a {} that nobody sent, or wanted", message.status());
                    found.push(case.violation(3, wire, &text));
                }
                continue;
            }
            found.extend(response(case, wire, place, message));
            answered += 1;
        }
    }
    found
}

fn response(case: &Case<'_>, wire: WireIndex, place: Option<usize>, message: &Message) -> Option<Violation> {
    let breaks = |law: u8, text: String| Some(case.violation(law, wire, &text));
    let Some(made_for) = message.exchange_of_field() else {
        let is_ours = message.value("sheave-error").is_some() && message.status() >= 400;
        let text = || format!("a response was made by nobody: {}", message.start_line);
        return if is_ours { None } else { breaks(3, text()) };
    };
    if made_for == STRAY && case.scenario.has_stray() {
        return None;
    }
    let Some(place) = place.filter(|place| *place == made_for) else {
        return breaks(3, format!("the response to {made_for} answers {place:?}"));
    };
    let exchange = &case.scenario.exchanges[place];
    let full = pattern(place, false, exchange.response.len());
    let seen = message.content.escape_ascii().to_string();
    if message.status() != exchange.status || !full.starts_with(&message.content) {
        return breaks(3, format!("response {place} has status and content of another: {seen:?}"));
    }
    if message.is_whole() && !is_all(case, place, &message.content) {
        return breaks(11, format!("response {place} looks whole with only {seen:?} of its content"));
    }
    let expected: Vec<_> = exchange.response.has_trailers().then(|| trailer(place, false)).into_iter().collect();
    if message.is_whole() && message.framing == Framing::Chunked && message.trailers != expected {
        return breaks(11, format!("response {place} has the trailers {:?}", message.trailers));
    }
    None
}

/// Whether so much content is all of that response: as scripted, or as an origin ended it.
fn is_all(case: &Case<'_>, place: usize, content: &[u8]) -> bool {
    let finals = case.wires(true).flat_map(|(_, view)| view.arrived.finals());
    let mut finished = finals.filter(|it| it.is_whole() && it.exchange_of_field() == Some(place));
    content.len() == case.scenario.exchanges[place].response.len() || finished.any(|it| it.content == content)
}

/// What an origin is sent.
pub(crate) fn of_requests_are_the_clients(case: &Case<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (wire, view) in case.wires(true) {
        if let Some(why) = &view.asked.broken {
            found.push(case.violation(3, wire, &format!("the origin was sent what is no request: {why}")));
        }
        found.extend(view.asked.messages.iter().filter_map(|message| request(case, wire, message)));
    }
    found
}

fn request(case: &Case<'_>, wire: WireIndex, message: &Message) -> Option<Violation> {
    let breaks = |law: u8, text: String| Some(case.violation(law, wire, &text));
    let place = message.exchange_of_target();
    let Some((place, exchange)) = place.and_then(|place| Some((place, case.scenario.exchanges.get(place)?))) else {
        return breaks(3, format!("the origin was asked {}", message.start_line));
    };
    let full = pattern(place, true, exchange.request.len());
    let seen = message.content.escape_ascii().to_string();
    if message.method() != exchange.method || !full.starts_with(&message.content) {
        return breaks(3, format!("request {place} has the content of another: {seen:?}"));
    }
    if message.is_whole() && message.content != full {
        return breaks(11, format!("request {place} looks whole with only {seen:?} of its content"));
    }
    let expected: Vec<_> = exchange.request.has_trailers().then(|| trailer(place, true)).into_iter().collect();
    if message.is_whole() && message.framing == Framing::Chunked && message.trailers != expected {
        return breaks(11, format!("request {place} has the trailers {:?}", message.trailers));
    }
    None
}

/// What the user of a client was told, who was told too that it is whole.
pub(crate) fn heard_are_the_makers(case: &Case<'_>, heard: &[Heard]) -> Vec<Violation> {
    let breaks = |it: &Heard| {
        let exchange = &case.scenario.exchanges[it.place];
        let full = pattern(it.place, false, exchange.response.len());
        let expected = exchange.response.has_trailers().then(|| catalogue::trailer(it.place, false));
        let text = format!("call {} gave {it:?}", it.place);
        if it.exchange == Some(STRAY) && case.scenario.has_stray() {
            None
        } else if it.exchange != Some(it.place) || it.status != exchange.status || !full.starts_with(&it.content) {
            Some(Violation::new(3, text))
        } else if !is_all(case, it.place, &it.content) || it.trailer != expected {
            Some(Violation::new(11, text))
        } else {
            None
        }
    };
    heard.iter().filter_map(breaks).collect()
}

fn trailer(place: usize, is_request: bool) -> (String, String) {
    ("t".to_owned(), catalogue::trailer(place, is_request))
}
