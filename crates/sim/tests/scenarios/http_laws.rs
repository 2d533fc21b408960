//! The laws that speak of messages: what belongs to which exchange, what is whole, and what was said of the connection.
//!
//! They look at the bytes on the wires alone, through a reader of their own, and at what the observer was told.

use sheave_lifecycle::observe::{ConnectionId, Outcome};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::Evidence;
use sheave_sim::fault::{Action, Fault, Way};
use sheave_sim::laws::Violation;
use sheave_sim::run::{Ended, Record};
use sheave_sim::trace::{ExchangeEnded, Seen, What, Whose, WireIndex};

use crate::caller::Heard;
use crate::catalogue::{self, Exchange, Failure, STRAY, Scenario, pattern};
use crate::messages::{self, Framing, Message, Stream};

/// The laws 2, 3, 4, 6, 7 and 11 of a run.
pub(crate) fn check(record: &Record, scenario: &Scenario, heard: &[Heard]) -> Vec<Violation> {
    let mut laws = Laws { record, scenario, found: Vec::new() };
    for wire in 0..record.trace.wires.len() {
        if record.trace.wires[wire].name.is_upstream {
            laws.requests_are_the_clients(wire);
        } else {
            laws.responses_are_the_makers(wire);
            laws.books_are_right(wire);
            laws.draining_is_said(wire);
            laws.nothing_is_lost_without_need(wire);
        }
    }
    laws.parked_connections_are_clean();
    laws.retries_have_evidence();
    laws.nothing_is_risked_twice();
    laws.heard(heard);
    laws.pieces_lose_nothing(heard);
    laws.found
}

struct Laws<'r> {
    record: &'r Record,
    scenario: &'r Scenario,
    found: Vec<Violation>,
}

impl Laws<'_> {
    fn breaks(&mut self, law: u8, wire: WireIndex, text: &str) {
        let name = self.record.trace.wires[wire].name;
        self.found.push(Violation::new(law, format!("{name}: {text}")));
    }

    /// The first `len` bytes of a direction.
    fn bytes(&self, wire: WireIndex, way: Way, len: usize) -> &[u8] {
        let bytes = self.record.trace.wires[wire].bytes(way);
        &bytes[..len.min(bytes.len())]
    }

    /// The methods of the requests on a connection, as far as they arrived. A head that is not whole can be answered too.
    fn methods(&self, wire: WireIndex) -> Vec<String> {
        let way = if self.record.trace.wires[wire].name.is_upstream { Way::Out } else { Way::In };
        let arrived = self.record.trace.counts(wire).delivered[way as usize];
        let requests = messages::requests(self.bytes(wire, way, arrived));
        let methods = requests.messages.iter().map(|request| request.method().to_owned());
        let is_open = requests.rest > 0 || requests.broken.is_some();
        methods.chain(is_open.then(|| "unfinished".to_owned())).collect()
    }

    /// What a scripted client was sent, as far as it arrived.
    fn arrived(&self, wire: WireIndex) -> Stream {
        let counts = self.record.trace.counts(wire);
        let bytes = self.bytes(wire, Way::Out, counts.delivered[1]);
        messages::responses(bytes, &self.methods(wire), counts.fin[1])
    }

    /// What we wrote to a scripted client.
    fn written(&self, wire: WireIndex) -> Stream {
        messages::responses(self.bytes(wire, Way::Out, usize::MAX), &self.methods(wire), false)
    }

    /// The contents of whole responses to that exchange that origins sent, and that arrived.
    fn finished_upstream(&self, place: usize) -> Vec<Vec<u8>> {
        let upstream = self.record.trace.wires.iter().enumerate().filter(|(_, wire)| wire.name.is_upstream);
        let streams = upstream.map(|(wire, _)| {
            let counts = self.record.trace.counts(wire);
            let bytes = self.bytes(wire, Way::In, counts.delivered[0]);
            messages::responses(bytes, &self.methods(wire), counts.fin[0])
        });
        let messages = streams.flat_map(|stream| stream.messages);
        let of_place = messages.filter(|it| it.is_whole() && !it.is_interim() && it.exchange_of_field() == Some(place));
        of_place.map(|message| message.content).collect()
    }

    /// 3 and 11: what a client is sent belongs to its request, and what looks whole is whole.
    fn responses_are_the_makers(&mut self, wire: WireIndex) {
        let stream = self.arrived(wire);
        if let Some(why) = &stream.broken {
            self.breaks(3, wire, &format!("the client was sent what is no response: {why}"));
        }
        let places = self.places(wire);
        let mut answered = 0;
        for message in &stream.messages {
            let place = places.get(answered).copied();
            let exchange = place.and_then(|place| self.scenario.exchanges.get(place));
            if message.is_interim() {
                let is_wanted = exchange.is_some_and(|exchange| {
                    let is_asked_for = exchange.expects_continue && message.status() == 100;
                    (is_asked_for || exchange.interim == Some(message.status())) && !exchange.is_old
                });
                if !is_wanted {
                    self.breaks(3, wire, &format!("a {} that nobody sent, or wanted", message.status()));
                }
                continue;
            }
            self.response_is_the_makers(wire, place, message);
            answered += 1;
        }
    }

    /// Which exchanges a client asked for on its connection, in order, as far as its heads arrived.
    fn places(&self, wire: WireIndex) -> Vec<usize> {
        let arrived = self.record.trace.counts(wire).delivered[0];
        let asked = messages::requests(self.bytes(wire, Way::In, arrived));
        asked.messages.iter().filter_map(Message::exchange_of_target).collect()
    }

    fn response_is_the_makers(&mut self, wire: WireIndex, place: Option<usize>, message: &Message) {
        let Some(made_for) = message.exchange_of_field() else {
            let is_ours = message.value("sheave-error").is_some() && message.status() >= 400;
            if !is_ours {
                self.breaks(3, wire, &format!("a response was made by nobody: {}", message.start_line));
            }
            return;
        };
        if made_for == STRAY && self.scenario.has_stray() {
            return;
        }
        let Some(place) = place.filter(|place| *place == made_for) else {
            self.breaks(3, wire, &format!("the response to {made_for} answers {place:?}"));
            return;
        };
        let exchange = &self.scenario.exchanges[place];
        let full = pattern(place, false, exchange.response.len());
        let seen = message.content.escape_ascii().to_string();
        if message.status() != exchange.status || !full.starts_with(&message.content) {
            self.breaks(3, wire, &format!("response {place} has status and content of another: {seen:?}"));
        } else if message.is_whole() && !self.is_all(place, &message.content) {
            self.breaks(11, wire, &format!("response {place} looks whole with only {seen:?} of its content"));
        }
        if message.is_whole() && message.framing == Framing::Chunked {
            let expected: Vec<_> =
                exchange.response.has_trailers().then(|| trailer(place, false)).into_iter().collect();
            if message.trailers != expected {
                self.breaks(11, wire, &format!("response {place} has the trailers {:?}", message.trailers));
            }
        }
    }

    /// Whether so much content is all of that response: as scripted, or as an origin ended it.
    fn is_all(&self, place: usize, content: &[u8]) -> bool {
        content.len() == self.scenario.exchanges[place].response.len()
            || self.finished_upstream(place).iter().any(|finished| finished == content)
    }

    /// 3 and 11, the other way: what an origin is sent belongs to its request, and what looks whole is whole.
    fn requests_are_the_clients(&mut self, wire: WireIndex) {
        let stream = messages::requests(self.bytes(wire, Way::Out, usize::MAX));
        if let Some(why) = &stream.broken {
            self.breaks(3, wire, &format!("the origin was sent what is no request: {why}"));
        }
        for message in &stream.messages {
            let place = message.exchange_of_target();
            let Some((place, exchange)) = place.and_then(|place| Some((place, self.scenario.exchanges.get(place)?)))
            else {
                self.breaks(3, wire, &format!("the origin was asked {}", message.start_line));
                continue;
            };
            let full = pattern(place, true, exchange.request.len());
            let seen = message.content.escape_ascii().to_string();
            if message.method() != exchange.method || !full.starts_with(&message.content) {
                self.breaks(3, wire, &format!("request {place} has the content of another: {seen:?}"));
            } else if message.is_whole() && message.content != full {
                self.breaks(11, wire, &format!("request {place} looks whole with only {seen:?} of its content"));
            }
            let expected: Vec<_> = exchange.request.has_trailers().then(|| trailer(place, true)).into_iter().collect();
            if message.is_whole() && message.framing == Framing::Chunked && message.trailers != expected {
                self.breaks(11, wire, &format!("request {place} has the trailers {:?}", message.trailers));
            }
        }
    }

    fn exchanges_ended(&self, wire: WireIndex) -> Vec<&ExchangeEnded> {
        let id = self.record.trace.wires[wire].id;
        let seen = self.record.trace.entries.iter().filter_map(|entry| match &entry.what {
            What::Seen(Seen::ExchangeEnded(of, end)) if Some(*of) == id => Some(&**end),
            _ => None,
        });
        seen.collect()
    }

    /// 2: how an exchange is said to have ended is how it did on the wire.
    fn books_are_right(&mut self, wire: WireIndex) {
        let stream = self.written(wire);
        let finals: Vec<&Message> = stream.finals().collect();
        let mut wrong = Vec::new();
        let ended = self.exchanges_ended(wire);
        for (place, end) in ended.iter().enumerate() {
            let response = finals.get(place);
            if response.is_some_and(|response| response.framing == Framing::UntilClose) {
                // Whether it is whole shows only with the close, after the exchange.
                continue;
            }
            let is_whole = response.is_some_and(|response| response.is_whole() && response.status() == end.status);
            if is_whole != matches!(end.outcome, Outcome::Answered(_)) {
                wrong
                    .push(format!("exchange {} is said to have ended as {:?} {}", end.number, end.outcome, end.status));
            }
            if end.error == Some("cancelled") && self.record.ended == Ended::Completed {
                wrong.push(format!("exchange {} was cancelled by nobody", end.number));
            }
        }
        if finals.len() > ended.len() {
            wrong.push(format!("{} responses to {} exchanges", finals.len(), ended.len()));
        }
        wrong.into_iter().for_each(|text| self.breaks(2, wire, &text));
    }

    /// 6: while draining, every response head says `Connection: close` exactly once, but for those that are followed by
    /// requests which had arrived when the drain was noticed; no head ever says it twice.
    fn draining_is_said(&mut self, wire: WireIndex) {
        let entries = &self.record.trace.entries;
        let drain = entries.iter().position(|entry| entry.what == What::DrainStarted);
        let asked = messages::requests(self.bytes(wire, Way::In, usize::MAX));
        let mut noticed = None;
        let mut wrong = Vec::new();
        for (place, response) in self.written(wire).finals().enumerate() {
            let says = response.connection_says("close");
            let offered = self.first_offered(wire, response.begin);
            if drain.is_none_or(|drain| offered < drain) {
                if says > 1 {
                    wrong.push(format!("response {place} says close {says} times"));
                }
                continue;
            }
            let arrived = self.record.trace.counts_after(wire, *noticed.get_or_insert(offered)).delivered[0];
            let end = asked.messages.get(place).and_then(|request| request.end);
            let may_go_on = end.is_some_and(|end| end < arrived);
            if says > 1 || says == 0 && !may_go_on {
                wrong.push(format!("response {place} says close {says} times in a drain"));
            }
        }
        wrong.into_iter().for_each(|text| self.breaks(6, wire, &text));
    }

    /// The entry at which the byte at `offset` was given to the kernel first, taken or not.
    fn first_offered(&self, wire: WireIndex, offset: usize) -> usize {
        let mut written = 0;
        for (place, entry) in self.record.trace.entries.iter().enumerate() {
            match entry.what {
                What::Offered(at, len) if at == wire && written + len > offset => return place,
                What::Wrote(at, Whose::Ours, len) if at == wire => written += len,
                _ => {}
            }
        }
        usize::MAX
    }

    /// How many of the requests on a client's connection got their answer: the scripted one, or, where there is no other,
    /// ours.
    fn answered(&self, wire: WireIndex) -> usize {
        let places = self.places(wire);
        let own_status = |answer: usize| {
            // What cannot be read has no place; it comes last.
            let place = places.get(answer).copied().unwrap_or(self.scenario.exchanges.len() - 1);
            self.scenario.exchanges[place].own_status
        };
        let is_answer = |(answer, it): &(usize, &Message)| {
            it.is_whole() && (it.exchange_of_field().is_some() || own_status(*answer) == Some(it.status()))
        };
        self.arrived(wire).finals().enumerate().filter(is_answer).count()
    }

    /// Nothing needs to be lost when bytes only come in pieces.
    fn pieces_lose_nothing(&mut self, heard: &[Heard]) {
        let is_piece = |fault: &Fault| matches!(fault.action, Action::Split(_));
        let is_easy = self.record.ended == Ended::Completed && self.record.plan.faults.iter().all(is_piece);
        if !is_easy || self.is_too_late_for_the_origin() {
            return;
        }
        let can_be = |exchange: &&Exchange| !matches!(exchange.failure, Failure::Late | Failure::Panic);
        let expected = self.scenario.exchanges.iter().filter(can_be).count();
        let wires = &self.record.trace.wires;
        let downstream = (0..wires.len()).filter(|wire| !wires[*wire].name.is_upstream);
        let answered = downstream.map(|wire| self.answered(wire)).sum::<usize>() + heard.len();
        if answered != expected {
            let text = format!("only {answered} exchanges were answered, and nothing was in the way");
            self.found.push(Violation::new(2, text));
        }
    }

    /// Nothing needs to be lost when a client only says that it has finished, or when there is only a drain.
    fn nothing_is_lost_without_need(&mut self, wire: WireIndex) {
        let [fault] = self.record.plan.faults[..] else { return };
        let is_failing = self.scenario.exchanges.iter().any(|exchange| exchange.failure != Failure::None);
        if self.record.ended != Ended::Completed || is_failing || self.is_too_late_for_the_origin() {
            return;
        }
        let counts = self.record.trace.counts(wire);
        let asked = messages::requests(self.bytes(wire, Way::In, counts.delivered[0]));
        let stream = self.arrived(wire);
        let is_told = stream.finals().last().is_some_and(|last| last.is_whole() && !last.keeps_alive());
        let answered = self.answered(wire);
        let is_of_client = fault.trigger.to_string().starts_with("client");
        let is_needed = match fault.action {
            Action::Drain => (answered == 0 || !is_told) && asked.broken.is_none(),
            // To a client that has only shut its writing side the answers are owed all the same.
            Action::HalfClose(_) => asked.is_whole() && is_of_client,
            _ => return,
        };
        if is_needed && answered != asked.messages.len() {
            let text = format!("{answered} of {} requests were answered, with {fault} alone", asked.messages.len());
            self.breaks(2, wire, &text);
        }
    }

    /// Whether an origin that closes idle connections may close one in the moment in which a request is under way to it.
    fn is_too_late_for_the_origin(&self) -> bool {
        let is_slow = |fault: &Fault| !matches!(fault.action, Action::Split(1) | Action::Drain | Action::HalfClose(0));
        self.scenario.has_impatient_origin() && self.record.plan.faults.iter().any(is_slow)
    }

    /// 4: parked only with both halves done, nothing unread, and keep-alive agreed.
    fn parked_connections_are_clean(&mut self) {
        let mut wrong = Vec::new();
        for (place, entry) in self.record.trace.entries.iter().enumerate() {
            let What::Seen(Seen::Parked(id)) = entry.what else { continue };
            let Some(wire) = self.record.trace.wire_of(Side::Upstream, id) else { continue };
            let counts = self.record.trace.counts_after(wire, place);
            let requests = messages::requests(self.bytes(wire, Way::Out, counts.written[1]));
            let responses = messages::responses(self.bytes(wire, Way::In, counts.read[0]), &self.methods(wire), false);
            let is_even = requests.messages.len() == responses.finals().count();
            let is_kept = requests.messages.iter().chain(responses.finals()).all(Message::keeps_alive);
            if !(requests.is_whole() && responses.is_whole() && is_even && is_kept) {
                wrong.push((wire, format!("parked in the middle of an exchange, or after its last: {counts:?}")));
            }
        }
        wrong.into_iter().for_each(|(wire, text)| self.breaks(4, wire, &text));
    }

    /// 7: a request is sent again only on the evidence that is named.
    fn retries_have_evidence(&mut self) {
        if self.scenario.clients > 1 {
            // Which attempt a retry speaks of shows only where there is one at a time.
            return;
        }
        let entries = &self.record.trace.entries;
        let mut wrong = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let What::Seen(Seen::Retried(evidence)) = entry.what else { continue };
            let attempt = entries[..place].iter().enumerate().rev().find_map(|(at, entry)| match entry.what {
                What::Seen(Seen::ConnectFailed(_)) => Some((at, None)),
                What::Seen(Seen::Opened(Side::Upstream, id) | Seen::Reused(id)) => Some((at, Some(id))),
                _ => None,
            });
            let method = entries[place..].iter().find_map(|entry| match &entry.what {
                What::Seen(Seen::ExchangeEnded(_, end)) => Some(end.method.clone()),
                _ => None,
            });
            if !self.is_evidence(evidence, attempt, place, method.as_deref()) {
                wrong.push(format!("a retry for {}, which was not so: attempt at {attempt:?}", evidence.label()));
            }
        }
        self.found.extend(wrong.into_iter().map(|text| Violation::new(7, text)));
    }

    /// Whether what happened from entry `attempt` to entry `place` is what `evidence` says.
    fn is_evidence(
        &self,
        evidence: Evidence,
        attempt: Option<(usize, Option<ConnectionId>)>,
        place: usize,
        method: Option<&str>,
    ) -> bool {
        let Some((began, id)) = attempt else { return false };
        let Some(id) = id else { return evidence == Evidence::ConnectFailed };
        let Some(wire) = self.record.trace.wire_of(Side::Upstream, id) else { return false };
        let before = self.record.trace.counts_after(wire, began);
        let after = self.record.trace.counts_after(wire, place);
        let has_written = after.written[1] > before.written[1];
        let has_heard = after.read[0] > before.read[0];
        match evidence {
            Evidence::NotWritten | Evidence::ClosedBeforeWrite => !has_written && !has_heard,
            // RFC 9110 §9.2.2. Cancelled in the middle of its last attempt, a request has no end that names its method.
            Evidence::Idempotent => !has_heard && method.is_none_or(|method| method != "POST"),
            _ => false,
        }
    }

    /// 7: a request that is not idempotent reaches an origin at most once.
    fn nothing_is_risked_twice(&mut self) {
        for (place, exchange) in self.scenario.exchanges.iter().enumerate() {
            if exchange.method != "POST" {
                continue;
            }
            let line = format!("POST /{place} ");
            let upstream = self.record.trace.wires.iter().filter(|wire| wire.name.is_upstream);
            let reached = upstream.filter(|wire| {
                let bytes = wire.bytes(Way::Out);
                let stream = messages::requests(bytes);
                // Fewer bytes do not tell which request they belong to; of them the evidence speaks.
                let is_begun = bytes[bytes.len() - stream.rest..].starts_with(line.as_bytes());
                is_begun || stream.messages.iter().any(|request| request.start_line.starts_with(&line))
            });
            let names: Vec<String> = reached.map(|wire| wire.name.to_string()).collect();
            if names.len() > 1 {
                self.found.push(Violation::new(7, format!("request {place} was sent on {names:?}")));
            }
        }
    }

    /// 3 and 11 for the user of a client, who was told that these responses are whole.
    fn heard(&mut self, heard: &[Heard]) {
        for it in heard {
            let exchange = &self.scenario.exchanges[it.place];
            let full = pattern(it.place, false, exchange.response.len());
            let expected = exchange.response.has_trailers().then(|| catalogue::trailer(it.place, false));
            let text = format!("call {} gave {it:?}", it.place);
            if it.exchange == Some(STRAY) && self.scenario.has_stray() {
                continue;
            }
            if it.exchange != Some(it.place) || it.status != exchange.status || !full.starts_with(&it.content) {
                self.found.push(Violation::new(3, text));
            } else if !self.is_all(it.place, &it.content) || it.trailer != expected {
                self.found.push(Violation::new(11, text));
            }
        }
    }
}

fn trailer(place: usize, is_request: bool) -> (String, String) {
    ("t".to_owned(), catalogue::trailer(place, is_request))
}
