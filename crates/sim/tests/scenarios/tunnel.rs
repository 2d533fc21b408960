//! Connections that stop being HTTP: what goes through them, in which order they end, and what their peers may believe.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;

use sheave_client::origin::Origin;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::phase::Side;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_proxy::connect::ConnectPolicy;
use sheave_proxy::proxy::Proxy;
use sheave_sim::fault::{Action, Way};
use sheave_sim::laws::{self, Violation};
use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::recorder::Recorder;
use sheave_sim::run::{Ended, Record, run};
use sheave_sim::socket::SimSocket;
use sheave_sim::trace::{Seen, What};
use tokio::time::timeout;

use crate::settings::{FRONT, LAW, ORIGIN, PATIENCE, Settings};
use crate::talk::Talk;
use crate::worlds;

/// What the client sends through it, and the origin. Both look like HTTP at their ends.
const UP: &[u8] = b"up: 0123\r\n\r\nGET / HTTP/1.1\r\n\r\n";
const DOWN: &[u8] = b"down: ABCD\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
/// So many bytes come along with the head before them.
const EARLY: usize = 6;

const UPGRADE: &str = "GET /t HTTP/1.1\r\nHost: o\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const UPLOAD: &str =
    "POST /t HTTP/1.1\r\nHost: o\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc";
const CONNECT: &str = "CONNECT 10.0.0.2:80 HTTP/1.1\r\nHost: 10.0.0.2:80\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n";

/// A tunnel's story.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    request: &'static str,
    /// The origin answers when it has so much of the request as begins like this, at its end.
    answers_after: &'static str,
    /// The origin ends its direction when it has said all, and not when the client has.
    is_origin_first: bool,
    /// The client does.
    is_client_first: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "client-first",
        request: UPGRADE,
        answers_after: "\r\n\r\n",
        is_origin_first: false,
        is_client_first: true,
    },
    Kind {
        name: "origin-first",
        request: UPGRADE,
        answers_after: "\r\n\r\n",
        is_origin_first: true,
        is_client_first: false,
    },
    Kind { name: "at-once", request: UPGRADE, answers_after: "\r\n\r\n", is_origin_first: true, is_client_first: true },
    Kind {
        name: "upload",
        request: UPLOAD,
        answers_after: "\r\n\r\nabc",
        is_origin_first: false,
        is_client_first: true,
    },
    Kind { name: "connect", request: CONNECT, answers_after: "", is_origin_first: true, is_client_first: true },
];

/// What plans call them.
pub(crate) fn scenarios() -> Vec<String> {
    KINDS.iter().map(|kind| format!("tunnel/{}", kind.name)).collect()
}

/// Runs `plan`, and says which laws it broke.
pub(crate) fn judge(plan: &Plan, name: &str, settings: Settings) -> (Record, Vec<Violation>) {
    let kind = KINDS.into_iter().find(|kind| kind.name == name).expect("a tunnel of this list");
    let record = run(plan, |net| play(net, kind, settings));
    let mut violations = laws::check(&record, &LAW);
    violations.extend(Case { record: &record, kind }.check());
    (record, violations)
}

async fn play(net: SimNet, kind: Kind, settings: Settings) {
    let clock = Clock::start();
    let listener = net.listen(ORIGIN);
    let origin = tokio::spawn(serve(listener, kind));
    let observer = Arc::new(Recorder::new(net.clone()));
    let mut config = settings.proxy;
    config.connect = ConnectPolicy::allowing(["10.0.0.0/8:80".parse().expect("a rule")]);
    let proxy = Proxy::new(vec![Origin::at(ORIGIN)], net.connector(), config, settings.client, clock, observer);
    let proxy = proxy.expect("the settings are in order");
    let pool = proxy.pool().clone();
    let sweep = tokio::spawn({
        let pool = pool.clone();
        async move { pool.sweep().await }
    });
    let clients = |net: &SimNet| vec![tokio::spawn(ask(net.clone(), kind))];
    worlds::serve_to(net.clone(), clients, &settings.server, clock, proxy, Some(&pool)).await;
    worlds::stop(&net, sweep).await;
    worlds::stop(&net, origin).await;
}

/// The client: asks, sends bytes along with its request, and goes on once it may.
async fn ask(net: SimNet, kind: Kind) {
    let Ok(Ok(socket)) = timeout(PATIENCE, net.client().connect(&FRONT.into())).await else { return };
    let mut talk = Talk::new(socket);
    let bytes = [kind.request.as_bytes(), &UP[..EARLY]].concat();
    let has_head = |received: &[u8]| head_len(received).is_some();
    let _ = timeout(PATIENCE, talk.say(&bytes, has_head)).await;
    if is_switch(&talk.received) {
        talk.write(&UP[EARLY..]).await;
        if kind.is_client_first {
            talk.shut();
        }
    }
    let _ = timeout(PATIENCE, talk.listen_to_the_end()).await;
}

/// The origin: all connections in one task, so that nothing is left of it when it is dropped.
async fn serve(mut listener: SimListener, kind: Kind) {
    let mut connections: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    loop {
        let socket = {
            let mut next = pin!(listener.accept());
            poll_fn(|cx| {
                connections.retain_mut(|connection| connection.as_mut().poll(cx).is_pending());
                next.as_mut().poll(cx)
            })
            .await
        };
        connections.push(Box::pin(answer(socket, kind)));
    }
}

async fn answer(socket: SimSocket, kind: Kind) {
    let mut talk = Talk::new(socket);
    let end = kind.answers_after.as_bytes();
    let is_asked = |received: &[u8]| end.is_empty() || received.windows(end.len()).any(|bytes| bytes == end);
    talk.say(&[], is_asked).await;
    if !is_asked(&talk.received) {
        return;
    }
    let head = if kind.request == CONNECT { "" } else { SWITCH };
    talk.write(&[head.as_bytes(), &DOWN[..EARLY]].concat()).await;
    talk.write(&DOWN[EARLY..]).await;
    if kind.is_origin_first {
        talk.shut();
    }
    talk.listen_to_the_end().await;
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn is_switch(bytes: &[u8]) -> bool {
    [&b"HTTP/1.1 101 "[..], b"HTTP/1.1 200 "].iter().any(|begin| bytes.starts_with(begin)) && head_len(bytes).is_some()
}

struct Case<'r> {
    record: &'r Record,
    kind: Kind,
}

/// What went over one connection, as far as it is the tunnel's.
struct View<'r> {
    /// What we wrote, if a tunnel had begun.
    written: Option<&'r [u8]>,
    /// What the peer wrote, and has arrived, if it was for a tunnel.
    arrived: &'r [u8],
    /// The peer's FIN has arrived, and ours.
    has_ended: [bool; 2],
    /// How the observer says that it ended.
    reason: Option<CloseReason>,
}

impl<'r> Case<'r> {
    fn view(&self, wire: usize) -> View<'r> {
        let trace = &self.record.trace;
        let log = &trace.wires[wire];
        let counts = trace.counts(wire);
        let delivered = &log.bytes(Way::In)[..counts.delivered[Way::In as usize]];
        let sent = log.bytes(Way::Out);
        let request_end = |bytes: &[u8]| {
            let body = if self.kind.request == UPLOAD { 3 } else { 0 };
            head_len(bytes).map(|len| (len + body).min(bytes.len()))
        };
        let (written, arrived) = match (log.name.is_upstream, self.kind.request == CONNECT) {
            (true, true) => (Some(sent), delivered),
            (true, false) => {
                let has_switched = is_switch(delivered);
                let behind = request_end(sent).map(|len| &sent[len..]).filter(|_| has_switched);
                (behind, head_len(delivered).map_or(&[][..], |len| &delivered[len..]))
            }
            (false, _) => {
                let behind = head_len(sent).filter(|_| is_switch(sent)).map(|len| &sent[len..]);
                (behind, request_end(delivered).map_or(&[][..], |len| &delivered[len..]))
            }
        };
        let reason = trace.entries.iter().find_map(|entry| match &entry.what {
            What::Seen(Seen::Closed(side, id, reason, ..)) if trace.wire_of(*side, *id) == Some(wire) => Some(*reason),
            _ => None,
        });
        View { written, arrived, has_ended: counts.fin, reason }
    }

    fn check(&self) -> Vec<Violation> {
        let wires = &self.record.trace.wires;
        let mut found = Vec::new();
        let client = (0..wires.len()).find(|wire| !wires[*wire].name.is_upstream).map(|wire| self.view(wire));
        let origins: Vec<_> =
            (0..wires.len()).filter(|wire| wires[*wire].name.is_upstream).map(|wire| self.view(wire)).collect();
        // Of several attempts only one can have become the tunnel.
        let tunnels: Vec<_> = origins.iter().filter(|view| view.written.is_some()).collect();
        let Some(client) = client else { return found };
        if tunnels.len() > 1 {
            found.push(Violation::new(7, format!("one request began {} tunnels", tunnels.len())));
        }
        if let (Some(down), Some(origin)) = (client.written, tunnels.first()) {
            let up = origin.written.unwrap_or_default();
            self.passed("client", down, DOWN, &client, origin, &mut found);
            self.passed("origin", up, UP, origin, &client, &mut found);
        } else if client.written.is_some() {
            found.push(Violation::new(3, "the client was told of a tunnel that leads nowhere"));
        }
        for view in [&client].into_iter().chain(origins.iter()) {
            if view.reason == Some(CloseReason::Upgraded) && !view.has_ended[Way::In as usize] {
                found.push(Violation::new(1, "a tunnel ended well that its peer had not ended"));
            }
        }
        if self.is_easy() {
            let is_whole = client.written == Some(DOWN) && tunnels.first().is_some_and(|it| it.written == Some(UP));
            let is_well = [Some(&client), tunnels.first().copied()]
                .iter()
                .all(|view| view.is_some_and(|view| view.reason == Some(CloseReason::Upgraded)));
            if !is_whole || !is_well {
                found.push(Violation::new(2, "a tunnel was not whole, and nothing was in the way"));
            }
        }
        found
    }

    /// Whether what happened could not hurt.
    fn is_easy(&self) -> bool {
        let is_harmless = |action: Action| matches!(action, Action::Split(_) | Action::Drain);
        let faults = &self.record.plan.faults;
        self.record.ended == Ended::Completed && faults.iter().all(|fault| is_harmless(fault.action))
    }

    /// What was passed on to `to` is what came from the other side, and its end is told only if that was all.
    fn passed(
        &self,
        name: &str,
        bytes: &[u8],
        said: &[u8],
        to: &View<'_>,
        from: &View<'_>,
        found: &mut Vec<Violation>,
    ) {
        let seen = bytes.escape_ascii();
        if !said.starts_with(bytes) || !from.arrived.starts_with(bytes) {
            found.push(Violation::new(3, format!("the {name} was sent {seen} through the tunnel")));
        }
        let is_all = from.has_ended[Way::In as usize] && from.arrived.len() == bytes.len();
        if to.has_ended[Way::Out as usize] && !is_all {
            let text = format!("the {name} was told by FIN that {seen} is all, of {}", from.arrived.escape_ascii());
            found.push(Violation::new(11, text));
        }
    }
}

#[test]
fn a_calm_tunnel_is_one_exchange_that_was_answered() {
    for scenario in scenarios() {
        let (record, violations) = crate::judge::judge(&scenario.parse().unwrap());
        assert!(violations.is_empty(), "{scenario}: {violations:?}\n{}", record.trace);
        let ended = record.trace.entries.iter().filter_map(|entry| match &entry.what {
            What::Seen(Seen::ExchangeEnded(_, end)) => Some((end.number, end.status, end.error)),
            _ => None,
        });
        let ended: Vec<_> = ended.collect();
        let status = if scenario == "tunnel/connect" { 200 } else { 101 };
        assert_eq!(ended, [(1, status, None)], "{scenario}");
        let closed = |side| {
            record.trace.entries.iter().any(|entry| {
            matches!(&entry.what, What::Seen(Seen::Closed(it, _, CloseReason::Upgraded, ..)) if *it == side)
        })
        };
        assert!(closed(Side::Downstream) && closed(Side::Upstream), "{scenario}");
    }
}
