//! A PROXY header whose connection breaks at every byte of it: what the handshake comes to, and a server that awaits it.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::drain::Drain;
use sheave_net::endpoint::ProxyHeader;
use sheave_net::handshake::HandshakeError;
use sheave_net::leg::LingerPlan;
use sheave_net::proxy_protocol::header::Header;
use sheave_net::proxy_protocol::listen::AnnouncedListener;
use sheave_net::proxy_protocol::receive::Announced;
use sheave_net::proxy_protocol::write::write;
use sheave_net::socket::Socket;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::head::ResponseHead;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use sheave_sim::explore::{Menu, exhaust};
use sheave_sim::fault::{Action, Fault, Trigger, Way, WireName};
use sheave_sim::laws::{self, Patience, Violation};
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::recorder::Recorder;
use sheave_sim::run::{Ended, Record, run};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// What a handshake comes to: the addresses that hold from then on, and the first byte behind the header.
type Came = Result<(Option<SocketAddr>, Option<SocketAddr>, u8), HandshakeError>;

fn header() -> Header {
    Header::Proxied { source: "192.0.2.1:1234".parse().unwrap(), destination: "192.0.2.2:443".parse().unwrap() }
}

/// A client that sends a header and a byte behind it, as the plan lets it; `None` where the handshake did not end in a minute.
fn shake(plan: &Plan, version: ProxyHeader) -> Option<Came> {
    let came = Arc::new(Mutex::new(None));
    let told = came.clone();
    let record = run(plan, |net| async move {
        let mut listener = net.listen(FRONT);
        let client = tokio::spawn({
            let net = net.clone();
            async move {
                let mut client = net.client().connect(&FRONT.into()).await.unwrap();
                let mut bytes = write(version, &header());
                bytes.push(b'G');
                // A fault may have closed it.
                let _ = client.write_all(&bytes).await;
                let _ = client.read_u8().await;
            }
        });
        let mut socket = Announced::awaiting(listener.accept().await);
        let shaken = tokio::time::timeout(Duration::from_secs(60), poll_fn(|cx| socket.poll_handshake(cx))).await;
        let came = match shaken {
            Ok(Ok(())) => Some(Ok((socket.peer(), socket.local(), socket.read_u8().await.unwrap_or_default()))),
            Ok(Err(error)) => Some(Err(error)),
            Err(_) => None,
        };
        *told.lock().unwrap_or_else(PoisonError::into_inner) = came;
        drop(socket);
        client.abort();
        let _ = client.await;
    });
    assert_eq!((record.ended, &record.broken), (Ended::Completed, &Vec::new()), "{plan}\n{}", record.trace);
    assert_eq!((record.sockets_left, record.tasks_left), (0, 0), "{plan}");
    came.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn calm() -> Plan {
    Plan::calm("proxy-header")
}

fn at(offset: usize, action: Action) -> Fault {
    Fault { trigger: Trigger::Bytes { wire: WireName::client(1), way: Way::In, offset }, action }
}

fn whole(came: Option<&Came>) -> bool {
    let ends = (Some("192.0.2.1:1234".parse().unwrap()), Some("192.0.2.2:443".parse().unwrap()), b'G');
    came == Some(&Ok(ends))
}

#[test]
fn pieces_pauses_and_a_late_reactor_change_nothing() {
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let len = write(version, &header()).len();
        assert!(whole(shake(&calm(), version).as_ref()));
        for offset in 0..=len {
            for action in [Action::Split(7), Action::Drip(3)] {
                let plan = calm().with(at(offset, action));
                assert!(whole(shake(&plan, version).as_ref()), "{plan}");
            }
        }
        for seed in 1..40 {
            let mut plan = Plan { seed, spurious: 3, lag: 2, interval: 61, ..calm() };
            plan.buffers.receive_bytes = usize::try_from(seed).unwrap();
            plan.buffers.send_bytes = 2;
            assert!(whole(shake(&plan, version).as_ref()), "{plan}");
        }
    }
}

#[test]
fn an_end_at_every_byte_is_told_by_what_it_was() {
    let reset = HandshakeError::Io(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
    let cut_off = HandshakeError::ProxyHeader("proxy-header-cut-off");
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let len = write(version, &header()).len();
        for offset in 0..len {
            for (action, expected) in [
                (Action::Rst(1), &reset),
                (Action::Fin(1), if offset == 0 { &HandshakeError::Closed } else { &cut_off }),
            ] {
                // The rest of the header is far away when the end comes.
                let mut plan = calm().with(at(offset, Action::Split(1000)));
                plan.faults.push(at(offset, action));
                assert_eq!(shake(&plan, version), Some(Err(expected.clone())), "{plan}");
            }
            let plan = calm().with(at(offset, Action::Stall));
            assert_eq!(shake(&plan, version), None, "whoever waits says how long: {plan}");
        }
    }
}

const TIMEOUT: Duration = Duration::from_millis(300);

/// Answers with the client's address, which must be the one that the header names, whatever happens.
struct Named(SimNet);

impl Handler<Announced<SimSocket>> for Named {
    async fn handle(&self, exchange: &mut Exchange<'_, Announced<SimSocket>>) -> Result<(), HandlerError> {
        let ends = (exchange.peer(), exchange.local());
        if ends != (Some("192.0.2.1:1234".parse().unwrap()), Some("192.0.2.2:443".parse().unwrap())) {
            self.0.broken(format!("a request is said to be from and to {ends:?}"));
        }
        exchange.respond(&mut ResponseHead::new(StatusCode::OK), b"hello").await
    }
}

/// Every timeout there is is the same, so that the laws can measure; to them, a header and the wait for a first byte are one.
fn config() -> ServerConfig {
    let timeouts =
        Timeouts { first_byte: TIMEOUT / 2, head: TIMEOUT, body: TIMEOUT, idle: TIMEOUT, ..Timeouts::default() };
    ServerConfig {
        connection: ConnectionConfig { timeouts, ..ConnectionConfig::default() },
        handshake_timeout: TIMEOUT / 2,
        write_timeout: TIMEOUT,
        linger: LingerPlan { timeout: TIMEOUT, ..LingerPlan::default() },
        drain: DrainPlan { quiet: Duration::from_millis(20), grace: 20 * TIMEOUT, ..DrainPlan::default() },
        ..ServerConfig::default()
    }
}

/// A server behind a balancer that announces a client and sends its two requests.
async fn serve(net: SimNet, version: ProxyHeader) {
    let (clock, drain) = (Clock::start(), Drain::default());
    let observer = Arc::new(Recorder::new(net.clone()));
    let server = Server::new(Named(net.clone()), config(), clock, observer, drain.clone());
    let has_drained = drain.clone();
    net.on_drain(move || drain.start(config().drain, clock.now()));
    let listener = AnnouncedListener::new(net.listen(FRONT), Some(Arc::new(|_| true)));
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(listener).await }
    });
    let balancer = tokio::spawn({
        let net = net.clone();
        async move {
            // Whatever stands still must be ended by the server.
            let _ = tokio::time::timeout(Duration::from_secs(20), ask_twice(&net, version)).await;
        }
    });
    let _ = balancer.await;
    poll_fn(|_| if net.open_sockets() == 0 { Poll::Ready(()) } else { Poll::Pending }).await;
    if !has_drained.is_draining() {
        server.drain();
    }
    let report = serving.await.unwrap();
    if report.told != report.finished + report.waited + report.forced {
        net.broken(format!("a drain's report does not add up: {report:?}"));
    }
}

/// What the balancer sends: a header, and two requests.
async fn ask_twice(net: &SimNet, version: ProxyHeader) {
    // Refused once a drain has closed the listener.
    let Ok(mut socket) = net.client().connect(&FRONT.into()).await else { return };
    let _ = socket.write_all(&write(version, &header())).await;
    for end in ["", "Connection: close\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nHost: o\r\n{end}\r\n");
        let _ = socket.write_all(request.as_bytes()).await;
    }
    let _ = socket.read_to_end(&mut Vec::new()).await;
}

fn judge(plan: &Plan) -> (Record, Vec<Violation>) {
    let version = if plan.scenario.ends_with("v1") { ProxyHeader::V1 } else { ProxyHeader::V2 };
    let record = run(plan, |net| serve(net, version));
    let patience = Patience { timeout: TIMEOUT, tick: Duration::from_millis(1), sweep: Duration::ZERO };
    let mut found = laws::check(&record, &patience);
    // A connection counts the bytes of HTTP; the header's come before.
    found.retain(|violation| !violation.text.contains("bytes in and out"));
    (record, found)
}

#[test]
fn every_law_holds_whatever_happens_to_a_connection_that_begins_with_a_header() {
    let menu = Menu {
        at_bytes: &[
            Action::Stall,
            Action::HalfClose(0),
            Action::Fin(0),
            Action::Fin(1),
            Action::Rst(0),
            Action::Rst(1),
            Action::Drain,
            Action::Cancel,
        ],
        at_bytes_in: &[Action::Split(1), Action::Drip(400)],
        at_beginnings: &[Action::Drip(1), Action::Drip(20), Action::Drip(200)],
        at_operations: &[Action::Drain, Action::Cancel],
    };
    for version in ["v1", "v2"] {
        for circumstances in ["", "send=23 receive=17 lag=3 interval=61"] {
            let calm = format!("announced/{version} {circumstances}").parse().unwrap();
            match exhaust(&calm, &menu, &judge) {
                Ok(runs) => assert!(runs > 500, "{runs}"),
                Err(failure) => panic!("{failure}"),
            }
        }
    }
}
