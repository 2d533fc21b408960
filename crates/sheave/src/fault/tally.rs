//! What an origin has seen: requests by method, those that came twice, bytes, and how its connections ended.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::request::Request;
use crate::json::Object;

/// How many requests are told apart by their id; those beyond are counted and not compared.
const MAX_IDS: usize = 1 << 20;
/// The longest id that is compared.
const MAX_ID_BYTES: usize = 64;
/// How many methods have a line of their own.
const MAX_METHODS: usize = 16;

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum End {
    /// The peer closed it.
    PeerClosed,
    /// The peer reset it, or was lost.
    PeerReset,
    /// It was idle for as long as the fault says.
    Idle,
    /// The same, and a request that was already here was not read.
    IdleUnread,
    /// It was closed after a request, without a response.
    AfterRequest,
    /// It was closed amid a body.
    AmidBody,
    /// The response was to be the last.
    Last,
    /// What came was no request.
    Nonsense,
}

impl End {
    /// A name that stays stable: for people and programs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::PeerReset => "peer_reset",
            Self::Idle => "idle",
            Self::IdleUnread => "idle_unread",
            Self::AfterRequest => "after_request",
            Self::AmidBody => "amid_body",
            Self::Last => "last",
            Self::Nonsense => "nonsense",
        }
    }
}

/// The numbers of one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    /// Connections that were accepted.
    pub(crate) connections: u64,
    /// Requests whose head was read, by method.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Those of them whose id had come before, by method.
    pub(crate) seen_again: BTreeMap<String, u64>,
    /// Requests that carried an id, and were compared.
    pub(crate) compared: u64,
    /// Responses that were sent as a whole.
    pub(crate) answered: u64,
    /// Connections that ended, by how.
    pub(crate) ends: BTreeMap<End, u64>,
    /// Bytes that were read, of connections that ended.
    pub(crate) received: u64,
    /// Bytes that were sent, on connections that ended.
    pub(crate) sent: u64,
}

impl Counts {
    /// Requests of all methods.
    #[cfg(test)]
    pub(crate) fn all_requests(&self) -> u64 {
        self.requests.values().sum()
    }

    /// How often a request of this method came that had come before.
    pub(crate) fn seen_again(&self, method: &str) -> u64 {
        self.seen_again.get(method).copied().unwrap_or_default()
    }

    /// As one JSON object.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut page = Object::begin(&mut out);
        page.number("connections", self.connections);
        by_name(page.key("requests"), self.requests.iter().map(|(method, count)| (method.as_str(), *count)));
        by_name(page.key("seen_again"), self.seen_again.iter().map(|(method, count)| (method.as_str(), *count)));
        page.number("compared", self.compared).number("answered", self.answered);
        by_name(page.key("ends"), self.ends.iter().map(|(end, count)| (end.label(), *count)));
        page.number("bytes_in", self.received).number("bytes_out", self.sent);
        page.end();
        out.push(b'\n');
        out
    }
}

/// Methods are tokens, and ends our own words: both can be keys as they are.
fn by_name<'a>(out: &mut Vec<u8>, counts: impl Iterator<Item = (&'a str, u64)>) {
    let mut object = Object::begin(out);
    for (name, count) in counts {
        object.number(name, count);
    }
    object.end();
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, counts: &mut dyn Iterator<Item = (&str, u64)>| {
            let all: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
            if all.is_empty() { f.write_str("none") } else { f.write_str(&all.join(", ")) }
        };
        write!(f, "connections  {}\nrequests     ", self.connections)?;
        list(f, &mut self.requests.iter().map(|(method, count)| (method.as_str(), *count)))?;
        write!(f, "\nanswered     {}\nseen again   ", self.answered)?;
        list(f, &mut self.seen_again.iter().map(|(method, count)| (method.as_str(), *count)))?;
        write!(f, " ({} carried an id)\nended        ", self.compared)?;
        list(f, &mut self.ends.iter().map(|(end, count)| (end.label(), *count)))?;
        write!(f, "\nbytes        {} in, {} out", self.received, self.sent)
    }
}

/// Counts.
#[derive(Default, Debug)]
pub(crate) struct Tally(Mutex<Inner>);

#[derive(Default, Debug)]
struct Inner {
    counts: Counts,
    /// How often each id came.
    ids: HashMap<String, u32>,
}

impl Tally {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of now.
    pub(crate) fn counts(&self) -> Counts {
        self.inner().counts.clone()
    }

    /// A connection was accepted.
    pub(crate) fn accepted(&self) {
        self.inner().counts.connections += 1;
    }

    /// A request's head was read.
    pub(crate) fn request(&self, request: &Request) {
        let inner = &mut *self.inner();
        let counts = &mut inner.counts;
        let is_token = request.method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let has_room = counts.requests.len() < MAX_METHODS || counts.requests.contains_key(&request.method);
        let method = if is_token && has_room { request.method.as_str() } else { "OTHER" };
        *counts.requests.entry(method.to_owned()).or_default() += 1;
        let Some(id) = request.id.as_ref().filter(|id| id.len() <= MAX_ID_BYTES) else { return };
        if inner.ids.len() >= MAX_IDS && !inner.ids.contains_key(id) {
            return;
        }
        counts.compared += 1;
        let times = inner.ids.entry(id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            *counts.seen_again.entry(method.to_owned()).or_default() += 1;
        }
    }

    /// A response was sent as a whole.
    pub(crate) fn answered(&self) {
        self.inner().counts.answered += 1;
    }

    /// A connection ended.
    pub(crate) fn ended(&self, end: End, received: u64, sent: u64) {
        let counts = &mut self.inner().counts;
        *counts.ends.entry(end).or_default() += 1;
        counts.received += received;
        counts.sent += sent;
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Body;
    use super::*;

    fn request(method: &str, id: Option<&str>) -> Request {
        Request {
            method: method.to_owned(),
            target: "/".to_owned(),
            body: Body::Length(0),
            is_last: false,
            waits_for_100: false,
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn counts_by_method_and_tells_what_came_twice() {
        let tally = Tally::default();
        tally.accepted();
        for (method, id) in [
            ("GET", Some("a")),
            ("GET", Some("a")),
            ("POST", Some("b")),
            ("POST", None),
            ("POST", None),
            ("G\"T", None),
        ] {
            tally.request(&request(method, id));
        }
        tally.answered();
        tally.ended(End::Idle, 10, 20);
        let counts = tally.counts();
        assert_eq!((counts.seen_again("GET"), counts.seen_again("POST")), (1, 0));
        assert_eq!((counts.all_requests(), counts.compared), (6, 3));
        let json = String::from_utf8(counts.to_json()).expect("text");
        assert_eq!(
            json,
            "{\"connections\":1,\"requests\":{\"GET\":2,\"OTHER\":1,\"POST\":3},\"seen_again\":{\"GET\":1},\
             \"compared\":3,\"answered\":1,\"ends\":{\"idle\":1},\"bytes_in\":10,\"bytes_out\":20}\n"
        );
        assert_eq!(
            counts.to_string(),
            "connections  1\nrequests     GET 2, OTHER 1, POST 3\nanswered     1\nseen again   GET 1 (3 carried an id)\n\
             ended        idle 1\nbytes        10 in, 20 out"
        );
    }

    #[test]
    fn takes_no_more_memory_than_it_said() {
        let tally = Tally::default();
        for number in 0..100 {
            tally.request(&request(&format!("M{number}"), Some(&"x".repeat(MAX_ID_BYTES + 1))));
        }
        let counts = tally.counts();
        assert_eq!((counts.requests.len(), counts.all_requests(), counts.compared), (MAX_METHODS + 1, 100, 0));
    }
}
