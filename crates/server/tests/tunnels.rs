//! Handlers that speak another protocol on a connection that was HTTP, through a stream of bytes.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kit::message::Framing;
use kit::recorder::Recorder;
use kit::run::run;
use kit::wire::{End, Wire};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::Side;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::leg::LingerPlan;
use sheave_net::listen::Listener;
use sheave_net::socket::Socket;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};

/// Short enough to wait for; what is asserted is what happened, not when.
const SHORT: Duration = Duration::from_millis(50);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Does what the target says, once it has switched.
struct Speaks;

impl<S: Socket> Handler<S> for Speaks {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let target = exchange.request().target().to_owned();
        let offered = exchange.offered_protocols().map(<[u8]>::to_vec);
        let mut head = ResponseHead::new(StatusCode::SWITCHING_PROTOCOLS);
        head.fields_mut().push(Known::Upgrade, b"echo/1").unwrap();
        if offered.as_deref() != Some(b"echo/1") {
            assert_eq!(exchange.switch(&mut head), Err(HandlerError::Misuse("switch-without-upgrade")));
            return exchange.respond(&mut ResponseHead::new(StatusCode::UPGRADE_REQUIRED), b"").await;
        }
        exchange.switch(&mut head)?;
        let mut tunnel = exchange.tunnel();
        match target.as_str() {
            "/echo" => {
                // A byte at a time: what a read brought beyond that is kept.
                let mut byte = [0];
                while tunnel.read(&mut byte).await.unwrap() > 0 {
                    tunnel.write_all(&byte).await.unwrap();
                }
                tunnel.shutdown().await.unwrap();
                assert_eq!(tunnel.write(b"x").await.map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
            }
            "/elsewhere" => {
                // Somebody who cannot borrow it gets one end of a pipe.
                let (mut ours, mut theirs) = duplex(16);
                let other = tokio::spawn(async move {
                    let mut text = String::new();
                    theirs.read_to_string(&mut text).await.unwrap();
                    theirs.write_all(text.to_uppercase().as_bytes()).await.unwrap();
                });
                copy_bidirectional(&mut tunnel, &mut ours).await.unwrap();
                other.await.unwrap();
            }
            "/leaves" => tunnel.write_all(b"half a").await.unwrap(),
            "/ends" => {
                tunnel.write_all(b"all").await.unwrap();
                tunnel.shutdown().await.unwrap();
            }
            "/waits" => {
                let mut all = Vec::new();
                let error = tunnel.read_to_end(&mut all).await.unwrap_err();
                assert_eq!((error.kind(), all.as_slice()), (ErrorKind::TimedOut, &b"early"[..]));
                return Err(HandlerError::Client);
            }
            other => panic!("nobody wrote {other}"),
        }
        Ok(())
    }
}

struct Rig {
    address: SocketAddr,
    recorder: Arc<Recorder>,
    server: Server<Speaks>,
}

impl Rig {
    fn start(tunnel_idle: Duration) -> Self {
        let mut config = ServerConfig::default();
        config.linger = LingerPlan { timeout: SHORT, ..config.linger };
        // Of tunnels it is not the deadline.
        config.exchange_timeout = Some(SHORT);
        config.connection.timeouts.tunnel_idle = tunnel_idle;
        config.drain.quiet = SHORT;
        let acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap();
        let address = acceptor.local_addr().unwrap();
        let recorder = Arc::new(Recorder::default());
        let server = Server::new(Speaks, config, Clock::start(), recorder.clone(), Drain::default());
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(acceptor).await });
        Self { address, recorder, server }
    }

    /// A connection on which a tunnel was asked for, and `early` sent along.
    async fn ask(&self, target: &str, early: &str) -> Wire {
        let client = Wire::connect(self.address).await;
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n{early}");
        client.send(head).await;
        client
    }
}

async fn switched(client: &mut Wire) {
    let head = client.head().await.unwrap();
    assert_eq!(
        (head.status(), head.field("Upgrade"), head.field("Connection")),
        (101, Some("echo/1"), Some("upgrade"))
    );
}

async fn rest(client: &mut Wire) -> String {
    let mut heard = Vec::new();
    client.content(Framing::UntilClose, |piece| heard.extend_from_slice(piece)).await.unwrap();
    String::from_utf8(heard).unwrap()
}

#[test]
fn a_handler_speaks_through_a_stream_of_bytes() {
    run(async {
        let rig = Rig::start(LONG);
        for (target, heard) in [("/echo", "early and late"), ("/elsewhere", "EARLY AND LATE")] {
            let mut client = rig.ask(target, "early ").await;
            switched(&mut client).await;
            // Longer than an exchange may take.
            tokio::time::sleep(2 * SHORT).await;
            client.send("and late").await;
            client.fin();
            assert_eq!(rest(&mut client).await, heard);
        }
        let ended = rig.recorder.until_ended(2).await;
        assert_eq!((ended.status, ended.outcome, ended.error), (101, Outcome::Answered(MadeBy::Origin), None));
        assert_eq!((ended.request_bytes, ended.response_bytes), (14, 14));
        rig.recorder.until_closed(Side::Downstream, 2).await;
        assert_eq!(rig.recorder.log().reasons(Side::Downstream), [CloseReason::Upgraded; 2]);
        drop(rig.server);
    });
}

#[test]
fn what_a_handler_leaves_open_is_cut_off_and_what_it_ends_is_not() {
    run(async {
        let rig = Rig::start(LONG);
        let mut client = rig.ask("/leaves", "").await;
        let end = loop {
            if let Err(end) = client.take().await {
                break end;
            }
        };
        assert_eq!(end, End::Reset, "half of what there was to say looks like half");
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!(ended.outcome, Outcome::Answered(MadeBy::Origin));
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason, CloseReason::HandlerFailed);
        let mut client = rig.ask("/ends", "nobody reads this").await;
        switched(&mut client).await;
        assert_eq!(rest(&mut client).await, "all");
        drop(client);
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 2).await.reason, CloseReason::Upgraded);
        drop(rig.server);
    });
}

#[test]
fn silence_ends_a_stream_of_bytes_by_an_error() {
    run(async {
        let rig = Rig::start(SHORT);
        let mut client = rig.ask("/waits", "early").await;
        switched(&mut client).await;
        assert_eq!(client.end().await, End::Reset);
        let closed = rig.recorder.until_reason(Side::Downstream, "timeout-tunnel-idle").await;
        assert_eq!(closed.exchanges, 1);
        drop(rig.server);
    });
}

#[test]
fn who_did_not_ask_is_not_switched() {
    run(async {
        let rig = Rig::start(LONG);
        let mut client = Wire::connect(rig.address).await;
        for _ in 0..2 {
            let response = client.ask("GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\n\r\n").await;
            assert_eq!((response.status(), response.field("Upgrade")), (426, None));
        }
        drop(rig.server);
    });
}
