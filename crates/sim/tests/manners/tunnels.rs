//! Tunnels through TLS and through streams of HTTP/2, cut at every byte: what comes is what was said, and its end is told only
//! behind all of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use sheave_client::config::ClientConfig;
use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::observe::Silent;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::drain::Drain;
use sheave_net::endpoint::Protocols;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::stream::Stream;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use sheave_sim::fault::{Action, Fault, Trigger, Way};
use sheave_sim::laws::{self, Patience};
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::recorder::Recorder;
use sheave_sim::run::{Ended, Record, run};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::certificate::LOCALHOST;
use crate::manner::{FRONT, Manner, ORIGIN, Relay};

const ASK: &str = "GET /t HTTP/1.1\r\nHost: o\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// What the client says through the tunnel, and the origin.
const UP: &[u8] = b"up: 0123\r\n\r\nGET / HTTP/1.1\r\n\r\n";
const DOWN: &[u8] = b"down: ABCD\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
/// Every timeout there is.
const TIMEOUT: Duration = Duration::from_millis(300);
/// Longer than all of them, one after the other.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came through the tunnel, and whether it ended as if that were all.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Heard {
    bytes: Vec<u8>,
    is_all: bool,
}

async fn hear(socket: &mut (impl AsyncRead + Unpin)) -> Heard {
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes).await;
    Heard { bytes, is_all: end.is_ok() }
}

/// What both sides heard.
#[derive(Clone, Default)]
struct Both {
    client: Arc<Mutex<Heard>>,
    origin: Arc<Mutex<Heard>>,
}

/// An origin that switches, says what it has to say, and listens to the end.
impl<S: Socket> Handler<S> for Both {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        // RFC 8441 §5: over HTTP/2 it is a CONNECT, and its answer a 200.
        let is_connect = *exchange.request().method() == Method::CONNECT;
        let mut head = ResponseHead::new(if is_connect { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS });
        if !is_connect {
            let _ = head.fields_mut().push(Known::Upgrade, b"websocket");
        }
        exchange.switch(&mut head)?;
        let (mut reader, mut writer) = tokio::io::split(exchange.tunnel());
        let saying = async {
            if writer.write_all(DOWN).await.is_ok() {
                let _ = writer.shutdown().await;
            }
        };
        let (heard, ()) = tokio::join!(hear(&mut reader), saying);
        *self.origin.lock().unwrap() = heard;
        Ok(())
    }
}

fn timeouts() -> ConnectionConfig {
    let timeouts = Timeouts {
        first_byte: TIMEOUT,
        head: TIMEOUT,
        body: TIMEOUT,
        idle: TIMEOUT,
        response: TIMEOUT,
        tunnel_idle: TIMEOUT,
        ..Timeouts::default()
    };
    let mut config = ConnectionConfig { timeouts, ..ConnectionConfig::default() };
    config.http2.allows_extended_connect = true;
    config.http2.window_timeout = TIMEOUT;
    config.http2.ping_interval = TIMEOUT;
    config.http2.ping_timeout = TIMEOUT;
    config.http2.goaway_timeout = TIMEOUT;
    config
}

fn server() -> ServerConfig {
    let drain = DrainPlan { quiet: Duration::from_millis(20), grace: 20 * TIMEOUT, ..DrainPlan::default() };
    let mut config = ServerConfig {
        connection: timeouts(),
        write_timeout: TIMEOUT,
        handshake_timeout: TIMEOUT,
        drain,
        ..ServerConfig::default()
    };
    config.linger.timeout = TIMEOUT;
    config
}

async fn connect(net: &SimNet, is_secured: bool) -> Option<Stream<SimSocket>> {
    let socket = net.client().connect(&FRONT.into()).await.ok()?;
    if !is_secured {
        return Some(Stream::Plain(socket));
    }
    let mut socket = LOCALHOST.1.connect_offering(socket, &"localhost".parse().unwrap(), &[Alpn::Http1]);
    std::future::poll_fn(|cx| socket.poll_handshake(cx)).await.ok()?;
    Some(socket.into())
}

/// The client: asks, says what it has to say, and listens to the end.
async fn ask(net: &SimNet, is_secured: bool, heard: &Mutex<Heard>) {
    let Some(mut socket) = connect(net, is_secured).await else { return };
    let said = [ASK.as_bytes(), UP].concat();
    if socket.write_all(&said).await.is_err() || socket.flush().await.is_err() {
        return;
    }
    let _ = socket.shutdown_write();
    let all = hear(&mut socket).await;
    let Some(head) = all.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    if all.bytes.starts_with(b"HTTP/1.1 101 ") {
        let is_all = all.is_all && !socket.is_cut_off();
        *heard.lock().unwrap() = Heard { bytes: all.bytes[head + 4..].to_vec(), is_all };
    }
}

fn play(plan: &Plan, from: Manner, to: Manner) -> (Record, Both) {
    let both = Both::default();
    let shared = both.clone();
    let record = run(plan, |net| async move {
        let clock = Clock::start();
        let origin = Server::new(shared.clone(), server(), clock, Arc::new(Silent), Drain::default());
        let serving = tokio::spawn({
            let (origin, listener) = (origin.clone(), to.listen(&net, ORIGIN));
            async move { origin.serve(listener).await }
        });
        let mut client = ClientConfig {
            connection: timeouts(),
            write_timeout: TIMEOUT,
            handshake_timeout: TIMEOUT,
            ..ClientConfig::default()
        };
        client.dial.connect_timeout = TIMEOUT;
        let relay = Relay::begin(&net, from, to, (server(), client), Arc::new(Recorder::new(net.clone())));
        // A client whose bytes do not leave may wait for ever; the relay may not.
        let asked = tokio::time::timeout(PATIENCE, ask(&net, from.is_secured, &shared.client)).await;
        if asked.is_err() && relay.server.live() > 0 {
            net.broken("the relay waits for what never comes");
        }
        relay.end().await;
        origin.drain();
        if serving.await.is_err() {
            net.broken("the origin failed");
        }
    });
    (record, both)
}

/// What of the client's words has arrived here, in the clear.
fn said_by_client(record: &Record) -> &[u8] {
    let wire = record.trace.wires.iter().position(|wire| !wire.name.is_upstream);
    let Some(wire) = wire else { return UP };
    let arrived = record.trace.counts(wire).delivered[Way::In as usize];
    record.trace.wires[wire].bytes(Way::In).get(ASK.len()..arrived).unwrap_or_default()
}

/// What is wrong with a run.
fn judge(plan: &Plan, from: Manner, to: Manner) -> (Record, Vec<String>) {
    let (record, both) = play(plan, from, to);
    // Its stop-watch is for exchanges one after the other, in the clear.
    let patience = Patience { timeout: PATIENCE, tick: Duration::from_millis(1), sweep: Duration::from_millis(100) };
    // Behind TLS the observer counts content, and the wire ciphertext.
    let is_ours = |text: &String| !(from.is_secured && text.contains("bytes in and out"));
    let broken = laws::check(&record, &patience).into_iter().filter(|violation| violation.law != 8);
    let mut wrong: Vec<String> = broken.map(|violation| violation.to_string()).filter(is_ours).collect();
    // A FIN in the clear is all that a client needs to end what it says, wherever a fault has it do so.
    let up = if from.is_secured { UP } else { said_by_client(&record) };
    for (who, heard, said) in [("client", &both.client, DOWN), ("origin", &both.origin, up)] {
        let heard = heard.lock().unwrap();
        if !said.starts_with(&heard.bytes) || heard.is_all && heard.bytes != said {
            wrong.push(format!("the {who} heard {} (all: {})", heard.bytes.escape_ascii(), heard.is_all));
        }
        let is_calm = plan.faults.is_empty() && record.ended == Ended::Completed;
        let whole = if who == "client" { DOWN } else { UP };
        if is_calm && !(heard.is_all && heard.bytes == whole) {
            wrong.push(format!("nothing was in the way, and the {who} heard {:?}", *heard));
        }
    }
    (record, wrong)
}

/// Tries faults at the last so many bytes of both directions of both connections, counted from the calm run.
fn every_fault(circumstances: &str, from: Manner, to: Manner, last: usize, actions: &[Action]) {
    let calm: Plan = format!("tunnel {circumstances}").parse().unwrap();
    let (record, wrong) = judge(&calm, from, to);
    assert!(wrong.is_empty() && record.ended == Ended::Completed, "{wrong:?}\n{}", record.trace);
    let mut runs = 1;
    for (index, wire) in record.trace.wires.iter().enumerate() {
        let delivered = record.trace.counts(index).delivered;
        for way in Way::BOTH {
            let len = delivered[way as usize];
            for offset in len.saturating_sub(last)..=len {
                for action in actions {
                    let fault = Fault { trigger: Trigger::Bytes { wire: wire.name, way, offset }, action: *action };
                    let plan = calm.with(fault);
                    let (record, wrong) = judge(&plan, from, to);
                    assert!(wrong.is_empty(), "{plan} {from:?} {to:?}: {wrong:?}\n{}", record.trace);
                    runs += 1;
                }
            }
        }
    }
    println!("{runs} simulated runs of a tunnel from {from:?} to {to:?} {circumstances}");
}

const ALL: &[Action] = &[
    Action::Stall,
    Action::Split(1),
    Action::HalfClose(0),
    Action::Fin(0),
    Action::Fin(1),
    Action::Rst(0),
    Action::Rst(1),
    Action::Cancel,
];

const CIRCUMSTANCES: [&str; 2] = ["", "send=23 receive=17 lag=3 interval=61"];

const PLAIN: Manner = Manner { protocols: Protocols::Http1, is_secured: false };

/// RFC 8441: an Upgrade that is a stream of HTTP/2 behind us.
#[test]
fn a_tunnel_through_a_stream_is_cut_at_every_byte() {
    let to = Manner { protocols: Protocols::Http2, is_secured: false };
    for circumstances in CIRCUMSTANCES {
        every_fault(circumstances, PLAIN, to, usize::MAX, ALL);
    }
}

/// RFC 8446 §6.1: where an end that is not announced may be anybody's. The handshakes before it are cut in tests of their own.
#[test]
fn a_tunnel_through_tls_is_cut_at_every_byte() {
    let secured = Manner { is_secured: true, ..PLAIN };
    every_fault("", secured, secured, 400, &[Action::Fin(0), Action::Rst(0), Action::Rst(1)]);
}
