//! A run as the laws of messages look at it: every connection's messages, read once.

use std::rc::Rc;

use sheave_sim::fault::{Action, Fault, Way};
use sheave_sim::laws::Violation;
use sheave_sim::run::Record;
use sheave_sim::trace::WireIndex;

use super::{books, contents, ends, losses, retries};
use crate::caller::Heard;
use crate::catalogue::{Failure, Scenario};
use crate::messages::{self, Message, Stream};

/// The laws 2, 3, 4, 6, 7 and 11 of a run. `heard` is what the user of a client was told, if there was one.
pub(crate) fn check(record: &Record, scenario: &Scenario, heard: &[Heard]) -> Vec<Violation> {
    let case = Case::of(record, scenario);
    let laws = [
        books::are_those_of_the_wire,
        contents::of_responses_are_the_makers,
        contents::of_requests_are_the_clients,
        ends::are_said_in_a_drain,
        ends::parked_connections_are_clean,
        losses::need_a_reason,
        retries::have_evidence,
        retries::risk_nothing_twice,
    ];
    let mut found: Vec<Violation> = laws.iter().flat_map(|law| law(&case)).collect();
    found.extend(contents::heard_are_the_makers(&case, heard));
    found.extend(losses::are_not_for_pieces(&case, heard));
    found
}

/// What the messages of one connection were.
pub(crate) struct View {
    /// The requests, as far as they were written.
    pub(crate) asked: Rc<Stream>,
    /// The requests, as far as they arrived.
    pub(crate) heard: Rc<Stream>,
    /// The responses, as far as they were written; one that ends with the connection is never whole.
    pub(crate) written: Stream,
    /// The responses, as far as they arrived.
    pub(crate) arrived: Stream,
}

impl View {
    fn of(record: &Record, wire: WireIndex) -> Self {
        let log = &record.trace.wires[wire];
        let counts = record.trace.counts(wire);
        let (asks, answers) = if log.name.is_upstream { (Way::Out, Way::In) } else { (Way::In, Way::Out) };
        let delivered = |way: Way| &log.bytes(way)[..counts.delivered[way as usize]];
        let heard = Rc::new(messages::requests(delivered(asks)));
        let has_all = delivered(asks).len() == log.bytes(asks).len();
        let asked = if has_all { heard.clone() } else { Rc::new(messages::requests(log.bytes(asks))) };
        let methods = methods(&heard);
        Self {
            asked,
            written: messages::responses(log.bytes(answers), &methods, false),
            arrived: messages::responses(delivered(answers), &methods, counts.fin[answers as usize]),
            heard,
        }
    }

    /// Which exchanges were asked for, in order, as far as the heads arrived.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.heard.messages.iter().filter_map(Message::exchange_of_target).collect()
    }
}

/// The methods of requests that arrived. A head that is not whole can be answered too.
pub(crate) fn methods(heard: &Stream) -> Vec<String> {
    let is_open = heard.rest > 0 || heard.broken.is_some();
    let methods = heard.messages.iter().map(|request| request.method().to_owned());
    methods.chain(is_open.then(|| "unfinished".to_owned())).collect()
}

/// A run, and what there is to know of it.
pub(crate) struct Case<'r> {
    pub(crate) record: &'r Record,
    pub(crate) scenario: &'r Scenario,
    /// By connection.
    pub(crate) views: Vec<View>,
}

impl<'r> Case<'r> {
    fn of(record: &'r Record, scenario: &'r Scenario) -> Self {
        let views = (0..record.trace.wires.len()).map(|wire| View::of(record, wire)).collect();
        Self { record, scenario, views }
    }

    /// The connections to origins, or those of clients.
    pub(crate) fn wires(&self, is_upstream: bool) -> impl Iterator<Item = (WireIndex, &View)> {
        let wires = self.record.trace.wires.iter();
        let of_side =
            self.views.iter().enumerate().zip(wires).filter(move |(_, wire)| wire.name.is_upstream == is_upstream);
        of_side.map(|(view, _)| view)
    }

    pub(crate) fn violation(&self, law: u8, wire: WireIndex, text: &str) -> Violation {
        Violation::new(law, format!("{}: {text}", self.record.trace.wires[wire].name))
    }

    pub(crate) fn faults(&self) -> &[Fault] {
        &self.record.plan.faults
    }

    /// Whether a handler fails by its script.
    pub(crate) fn has_failing_handler(&self) -> bool {
        self.scenario.exchanges.iter().any(|exchange| exchange.failure != Failure::None)
    }

    /// Whether an origin that closes idle connections may close one in the moment in which a request is under way to it.
    pub(crate) fn is_too_late_for_the_origin(&self) -> bool {
        let is_slow = |fault: &Fault| !matches!(fault.action, Action::Split(1) | Action::Drain | Action::HalfClose(0));
        self.scenario.has_impatient_origin() && self.faults().iter().any(is_slow)
    }
}
