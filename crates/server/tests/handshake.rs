//! From accept to HTTP: what a handshake that drags, fails or names another client leads to, on the simulated network.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::limit::OverLimit;
use sheave_lifecycle::observe::{Closed, ExchangeEnd, Identified, Observer};
use sheave_lifecycle::phase::Phase;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::drain::Drain;
use sheave_net::handshake::HandshakeError;
use sheave_net::listen::{Accepted, Listener};
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::head::ResponseHead;
use sheave_server::admission::SharedLimits;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
const NAMED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 4321);

/// A socket whose handshake takes one byte: `!` is a success, `@` too and names another client, all else a failure.
struct Shaking {
    socket: SimSocket,
    is_named: bool,
}

impl AsyncRead for Shaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Shaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Socket for Shaking {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
            Err(error) => Err(HandshakeError::Io(IoFault::new(sheave_lifecycle::errno::Op::Read, &error))),
            Ok(()) => match buffer.filled() {
                [] => Err(HandshakeError::Closed),
                b"!" => Ok(()),
                b"@" => {
                    self.is_named = true;
                    Ok(())
                }
                _ => Err(HandshakeError::Tls { label: "no-hello", detail: String::new() }),
            },
        })
    }

    fn awaits_peer(&self) -> bool {
        !self.is_named
    }

    fn probe(&mut self) -> Liveness {
        self.socket.probe()
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Socket::read_now(&mut self.socket, buffer)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    fn set_abortive_close(&self) {
        self.socket.set_abortive_close();
    }

    fn peer(&self) -> Option<SocketAddr> {
        if self.is_named { Some(NAMED) } else { self.socket.peer() }
    }

    fn local(&self) -> Option<SocketAddr> {
        self.socket.local()
    }
}

struct Front(SimListener);

impl Front {
    fn shaking(accepted: Accepted<SimSocket>) -> Accepted<Shaking> {
        let Accepted { socket, peer, local } = accepted;
        Accepted { socket: Shaking { socket, is_named: false }, peer, local }
    }
}

impl Listener for Front {
    type Socket = Shaking;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<Shaking>, IoFault>> {
        self.0.poll_accept(cx).map_ok(Self::shaking)
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<Shaking>>, IoFault> {
        self.0.accept_now().map(|accepted| accepted.map(Self::shaking))
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        self.0.refuse_new()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }
}

struct Hello;

impl Handler<Shaking> for Hello {
    async fn handle(&self, exchange: &mut Exchange<'_, Shaking>) -> Result<(), HandlerError> {
        let peer = exchange.peer().map_or_else(String::new, |peer| peer.ip().to_string());
        exchange.respond(&mut ResponseHead::new(StatusCode::OK), peer.as_bytes()).await
    }
}

/// What the observer was told: ends, exchanges, names, limits.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Told {
    fn closed(&self, it: &Closed) {
        self.note(format!("closed {} in {} of {}", it.reason, it.phase.label(), it.peer.unwrap().ip()));
    }

    fn identified(&self, it: &Identified) {
        self.note(format!("identified {}", it.peer.unwrap()));
    }

    fn exchange_ended(&self, it: &ExchangeEnd<'_>) {
        self.note(format!("answered {} to {}", it.status, it.peer.unwrap().ip()));
    }

    fn refused(&self, limit: &'static str) {
        self.note(format!("refused by {limit}"));
    }

    fn held_back(&self, limit: &'static str) {
        self.note(format!("held back by {limit}"));
    }
}

/// Plays `script` against a server of `config`; gives what the observer was told, and the drain's report.
fn play<F: Future<Output = ()>>(
    config: &ServerConfig,
    script: impl FnOnce(SimNet, Arc<Server<Hello>>) -> F + 'static,
) -> (Vec<String>, DrainReport) {
    let told = Arc::new(Told::default());
    let report = Arc::new(Mutex::new(None));
    let (observer, reported, config) = (told.clone(), report.clone(), *config);
    let record = run(&Plan::calm("handshake"), |net| async move {
        let server = Arc::new(Server::new(Hello, config, Clock::start(), observer, Drain::default()));
        let listener = Front(net.listen(FRONT));
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        script(net, server.clone()).await;
        server.drain();
        *reported.lock().unwrap() = Some(serving.await.unwrap());
    });
    assert_eq!(
        (record.ended, &record.broken, record.tasks_left, record.sockets_left),
        (Ended::Completed, &vec![], 0, 0)
    );
    let report = report.lock().unwrap().take().unwrap();
    (told.take(), report)
}

async fn connect(net: &SimNet) -> SimSocket {
    net.client().connect(&FRONT.into()).await.unwrap()
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n";

async fn ask(client: &mut SimSocket) -> String {
    client.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn quick() -> ServerConfig {
    let drain = DrainPlan { quiet: Duration::ZERO, grace: Duration::from_secs(5), ..DrainPlan::default() };
    ServerConfig { handshake_timeout: Duration::from_secs(2), drain, ..ServerConfig::default() }
}

#[test]
fn a_handshake_that_is_over_is_followed_by_http() {
    let (told, report) = play(&quick(), |net, _| async move {
        let mut client = connect(&net).await;
        client.write_all(b"!").await.unwrap();
        assert!(ask(&mut client).await.ends_with("\r\n\r\n127.0.0.1"));
    });
    assert_eq!(told, ["answered 200 to 127.0.0.1", "closed agreed in idle of 127.0.0.1"]);
    assert_eq!(report.forced, 0);
}

#[test]
fn each_way_in_which_a_handshake_fails_has_its_name() {
    for (sent, expected) in [
        (Some(&b"?"[..]), "closed handshake-failed (no-hello) in handshake of 127.0.0.1"),
        (Some(b""), "closed peer-closed in handshake of 127.0.0.1"),
        (None, "closed timeout-handshake in handshake of 127.0.0.1"),
    ] {
        let (told, _) = play(&quick(), move |net, _| async move {
            let mut client = connect(&net).await;
            match sent {
                Some(b"") => drop(client),
                Some(bytes) => {
                    client.write_all(bytes).await.unwrap();
                    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
                }
                None => {
                    let before = tokio::time::Instant::now();
                    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
                    assert!(before.elapsed() >= Duration::from_secs(2));
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        assert_eq!(told, [expected]);
    }
}

#[test]
fn a_client_that_a_header_names_is_the_one_in_logs_and_limits() {
    let limits = SharedLimits { max_connections_per_client: NonZeroU32::new(1), ..SharedLimits::default() };
    let (told, _) = play(&ServerConfig { shared: limits, ..quick() }, |net, _| async move {
        // All come from one address, and the limit would let in one of them.
        let mut one = connect(&net).await;
        one.write_all(b"@").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut two = connect(&net).await;
        two.write_all(b"@").await.unwrap();
        assert!(ask(&mut two).await.starts_with("HTTP/1.1 503"));
        assert!(ask(&mut one).await.ends_with("192.0.2.7"));
    });
    assert_eq!(
        told,
        [
            "identified 192.0.2.7:4321",
            "identified 192.0.2.7:4321",
            "refused by max-connections-per-client",
            "answered 503 to 192.0.2.7",
            "answered 200 to 192.0.2.7",
            "closed agreed in idle of 192.0.2.7",
            "closed refused (max-connections-per-client) in waiting of 192.0.2.7",
        ]
    );
}

#[test]
fn whoever_speaks_for_others_takes_no_place_of_its_own_under_the_limit() {
    let limits = SharedLimits { max_connections_per_client: NonZeroU32::new(1), ..SharedLimits::default() };
    let (told, _) = play(&ServerConfig { shared: limits, ..quick() }, |net, _| async move {
        let mut first = connect(&net).await;
        let second = connect(&net).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        // Two are there that have not named anybody yet.
        first.write_all(b"@").await.unwrap();
        assert!(ask(&mut first).await.ends_with("192.0.2.7"));
        drop(second);
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    assert_eq!(
        told,
        [
            "identified 192.0.2.7:4321",
            "answered 200 to 192.0.2.7",
            "closed agreed in idle of 192.0.2.7",
            "closed peer-closed in handshake of 127.0.0.1",
        ]
    );
}

#[test]
fn whoever_is_beyond_the_bound_waits_in_line_or_is_closed() {
    for (over_limit, expected) in [
        (
            OverLimit::Wait,
            vec![
                "held back by max-handshakes",
                "held back by max-handshakes",
                "closed peer-closed in handshake of 127.0.0.1",
                "answered 200 to 127.0.0.1",
                "answered 200 to 127.0.0.1",
            ],
        ),
        (OverLimit::Close, vec!["refused by max-handshakes", "refused by max-handshakes"]),
    ] {
        let config = ServerConfig { max_handshakes: 1, over_limit, ..quick() };
        let (told, _) = play(&config, move |net, _| async move {
            let silent = connect(&net).await;
            let mut waiting = Vec::new();
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                waiting.push(connect(&net).await);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            if over_limit == OverLimit::Close {
                for mut closed in waiting {
                    assert_eq!(closed.read(&mut [0]).await.unwrap(), 0);
                }
                return;
            }
            for client in &mut waiting {
                client.write_all(b"!").await.unwrap();
                client.write_all(REQUEST).await.unwrap();
            }
            // Nobody is served while the first one does not move.
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(waiting[0].probe(), Liveness::Alive);
            drop(silent);
            for mut client in waiting {
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 200"));
            }
        });
        let told: Vec<_> = told.iter().map(String::as_str).filter(|it| !it.starts_with("closed agreed")).collect();
        if over_limit == OverLimit::Close {
            assert_eq!(told.iter().filter(|it| **it == "refused by max-handshakes").count(), 2);
            assert_eq!(
                told.iter().filter(|it| **it == "closed refused (max-handshakes) in handshake of 127.0.0.1").count(),
                2
            );
        } else {
            assert_eq!(told, expected);
        }
    }
}

#[test]
fn waiting_for_a_place_counts_against_the_deadline() {
    let config = ServerConfig { max_handshakes: 1, ..quick() };
    let (told, _) = play(&config, |net, _| async move {
        let (mut one, mut two) = (connect(&net).await, connect(&net).await);
        let before = tokio::time::Instant::now();
        for client in [&mut one, &mut two] {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
        assert!(before.elapsed() < Duration::from_millis(2100));
    });
    let late = format!("closed {} in handshake of 127.0.0.1", CloseReason::TimedOut(Timer::Handshake));
    assert_eq!(told, ["held back by max-handshakes".to_owned(), late.clone(), late]);
}

#[test]
fn a_drain_lets_a_handshake_go_on_and_its_force_ends_it() {
    let (told, report) = play(&quick(), |net, server| async move {
        let mut goes_on = connect(&net).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        server.drain();
        tokio::time::sleep(Duration::from_millis(1)).await;
        goes_on.write_all(b"!").await.unwrap();
        assert!(ask(&mut goes_on).await.starts_with("HTTP/1.1 200"));
    });
    assert_eq!(told, ["answered 200 to 127.0.0.1", "closed agreed in idle of 127.0.0.1"]);
    assert_eq!((report.told, report.finished), (1, 1));
    let drain = DrainPlan { grace: Duration::from_millis(500), ..quick().drain };
    let (told, report) = play(&ServerConfig { drain, ..quick() }, |net, server| async move {
        let mut silent = connect(&net).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        server.drain();
        let error = silent.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
    assert_eq!(told, [format!("closed {} in {} of 127.0.0.1", CloseReason::DrainForced, Phase::Handshake.label())]);
    assert_eq!((report.forced, report.lost), (1, 0));
}
