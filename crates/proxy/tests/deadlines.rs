//! Peers that are late: each phase has its deadline, and each deadline its own end.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::{End, Wire};
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::Side;
use sheave_net::tcp_options::TcpOptions;
use socket2::{SockFilter, SockRef};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Short enough to wait for; what is asserted is what happened, not when.
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_head_that_is_late_is_told_so() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.timeouts.head = SHORT;
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        client.send("GET / HTTP/1.1\r\nHos").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.cause()), (408, Some("timeout-head")));
        assert!(response.says_close() && response.field("Date").is_some());
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "timeout-head");
        assert_eq!(origin.accepted(), 0);
        rig.finish().await;
    });
}

/// What was known of the exchange before says nothing of the one whose head is missing.
#[test]
fn a_late_head_behind_a_response_without_content_is_told_with_content() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.timeouts.head = SHORT;
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        assert_eq!(client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
        client.send("GET / HTT").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.body.is_empty()), (408, false));
        assert_eq!(client.end().await, End::Fin);
        let ended = rig.recorder.until_ended(2).await;
        assert_eq!((ended.number, ended.status, ended.response_bytes), (2, 408, response.body.len() as u64));
        drop(client);
        rig.finish().await;
    });
}

/// One byte at a time, each well within any time between two reads: it is the whole head that has a deadline.
#[test]
fn a_head_that_trickles_is_late_all_the_same() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.timeouts.head = SHORT;
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        let Wire { reader, writer } = &mut client;
        let trickle = async {
            writer.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nA: ").await.unwrap();
            while writer.send_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let head = tokio::select! {
            () = trickle => panic!("cut off before its answer"),
            head = reader.head() => head.unwrap(),
        };
        assert_eq!((head.status(), head.cause()), (408, Some("timeout-head")));
        drop(client);
        rig.finish().await;
    });
}

/// Silence owes no answer: browsers connect in advance.
#[test]
fn silence_ends_without_a_word() {
    run(async {
        let mut setup = Setup::default();
        setup.server.connection.timeouts.first_byte = SHORT;
        setup.server.connection.timeouts.idle = SHORT;
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], setup);
        for (number, (first, label)) in [
            ("", "timeout-first-byte"),
            // An empty line before a request is no request.
            ("\r\n", "timeout-first-byte"),
            (GET, "timeout-idle"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut client = rig.client().await;
            client.send(first).await;
            if first == GET {
                assert_eq!(client.response().await.text(), "ok");
            }
            assert_eq!(client.end().await, End::Fin);
            let closed = rig.recorder.until_closed(Side::Downstream, number + 1).await;
            assert_eq!(closed.reason.label(), label);
        }
        rig.finish().await;
    });
}

#[test]
fn content_that_is_late_is_told_so() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            assert!(connection.request().await.is_none(), "half a request is none");
        })
        .await;
        let mut setup = Setup::default();
        setup.server.connection.timeouts.body = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        for (number, framing) in [
            "Content-Length: 10\r\n\r\nhello",
            "Content-Length: 10\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n",
            "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        ]
        .into_iter()
        .enumerate()
        {
            let mut client = rig.client().await;
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}")).await;
            let response = client.response().await;
            assert_eq!((response.status(), response.cause()), (408, Some("timeout-body")), "{framing:?}");
            assert!(response.says_close());
            assert_eq!(client.end().await, End::Fin);
            drop(client);
            let closed = rig.recorder.until_closed(Side::Downstream, number + 1).await;
            assert_eq!(closed.reason.label(), "timeout-body");
            assert_eq!(rig.recorder.until_closed(Side::Upstream, number + 1).await.reason.label(), "other-side");
            let ended = rig.recorder.until_ended(number + 1).await;
            assert_eq!((ended.status, ended.outcome), (408, Outcome::Answered(MadeBy::Us)));
        }
        rig.finish().await;
    });
}

/// The response is under way: it cannot be told any more, only cut off.
#[test]
fn content_that_is_late_during_the_response_cuts_it_off() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.wire.head().await.unwrap();
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
            connection.drain().await;
        })
        .await;
        let mut setup = Setup::default();
        setup.server.connection.timeouts.body = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
        let cut = client.try_response_to("POST").await.unwrap_err();
        assert_eq!(cut.head.map(|head| head.status()), Some(200));
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "timeout-body");
        drop(client);
        rig.finish().await;
    });
}

/// What a client does not take.
#[test]
fn a_client_that_does_not_read_is_reset() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
            connection
                .wire
                .try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n{}", "x".repeat(10_000_000)))
                .await;
            connection.drain().await;
        })
        .await;
        let mut setup = Setup::default();
        setup.listen.tcp = TcpOptions { send_buffer_bytes: Some(16 * 1024), ..TcpOptions::default() };
        setup.server.write_timeout = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send(GET).await;
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "timeout-write");
        assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason.label(), "other-side");
        drop(client);
        rig.finish().await;
    });
}

/// The whole response fits into our buffer, and its connection has no other deadline left.
#[test]
fn a_client_that_does_not_read_the_end_is_reset() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n{}", "x".repeat(150_000))).await;
            connection.drain().await;
        })
        .await;
        for close in ["", "Connection: close\r\n"] {
            let mut setup = Setup::default();
            setup.listen.tcp = TcpOptions { send_buffer_bytes: Some(4 * 1024), ..TcpOptions::default() };
            setup.server.write_timeout = SHORT;
            let rig = Rig::start(&[origin.address], setup);
            let client = Wire::connect_small(rig.address, 4 * 1024).await;
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{close}\r\n")).await;
            assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "timeout-write");
            let ended = rig.recorder.until_ended(1).await;
            assert_eq!((ended.status, ended.outcome), (200, Outcome::Reset));
            drop(client);
            rig.finish().await;
        }
    });
}

/// An address that takes no connection and refuses none: its SYNs are ignored.
async fn deaf() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // ret #0: drop every segment.
    SockRef::from(&listener).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn an_origin_that_is_not_connected_to_in_time() {
    run(async {
        let (_deaf, address) = deaf().await;
        let mut setup = Setup::default();
        setup.client.dial.connect_timeout = SHORT;
        let rig = Rig::start(&[address], setup.clone());
        let mut client = rig.client().await;
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        let cause = "upstream-connect-timeout; request-sent=no; attempts=1; gave-up=no-other-origin";
        assert_eq!((answer.status(), answer.field("Sheave-Error")), (504, Some(cause)));
        drop(client);
        rig.finish().await;
        // With another, its time is lost and nothing else.
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[address, origin.address], setup);
        let mut client = rig.client().await;
        assert_eq!(client.ask(GET).await.text(), "ok");
        drop(client);
        rig.finish().await;
    });
}

/// A client that leaves while a connection is being made is not waited for.
#[test]
fn a_client_that_resets_ends_the_connecting() {
    run(async {
        let (_deaf, address) = deaf().await;
        let rig = Rig::usual(address);
        let client = rig.client().await;
        client.send(GET).await;
        rig.recorder.until(|log| (!log.moved.is_empty()).then_some(())).await;
        client.reset();
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "peer-reset");
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.status, ended.outcome), (0, Outcome::Reset));
        rig.finish().await;
    });
}

#[test]
fn an_origin_that_does_not_answer_in_time() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            while let Some(request) = connection.request().await {
                match request.target() {
                    "/begins" => connection.send("HTTP/1.1 200 OK\r\nContent-Le").await,
                    // Interim responses are no answer.
                    "/interim" => {
                        while connection.wire.try_send("HTTP/1.1 102 Processing\r\n\r\n").await {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                    _ => {}
                }
            }
        })
        .await;
        let mut setup = Setup::default();
        setup.client.connection.timeouts.response = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        for (target, sent, why) in
            [("/", "maybe", "no-evidence"), ("/begins", "yes", "response-begun"), ("/interim", "yes", "response-begun")]
        {
            client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let mut answer = client.response().await;
            while answer.status() == 102 {
                answer = client.response().await;
            }
            let cause = format!("upstream-response-timeout; request-sent={sent}; attempts=1; gave-up={why}");
            assert_eq!((answer.status(), answer.field("Sheave-Error")), (504, Some(&*cause)), "{target}");
            assert!(!answer.says_close());
        }
        drop(client);
        let (_, recorder) = rig.finish().await;
        assert_eq!(
            recorder.log().reasons(Side::Upstream).iter().map(|reason| reason.label()).collect::<Vec<_>>(),
            ["timeout-response"; 3]
        );
    });
}

#[test]
fn an_origin_that_stops_amid_its_content() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            assert_eq!(connection.wire.take().await, Err(End::Reset));
        })
        .await;
        let mut setup = Setup::default();
        setup.client.connection.timeouts.body = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        client.send(GET).await;
        let cut = client.try_response_to("GET").await.unwrap_err();
        assert_eq!((cut.end, &cut.body[..]), (End::Fin, &b"hello"[..]));
        assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason.label(), "timeout-body");
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.outcome, ended.error), (Outcome::Reset, Some("upstream-body-timeout")));
        drop(client);
        rig.finish().await;
    });
}

/// Whose time runs: an origin is not late while the client does not take what came, nor a client while the origin does
/// not take what it sent.
#[test]
fn time_stands_still_for_whom_we_do_not_read_from() {
    run(async {
        let go = Arc::new(Notify::new());
        let go_too = go.clone();
        let origin = Origin::start_small(16 * 1024, move |mut connection| {
            let go = go_too.clone();
            async move {
                let head = connection.wire.head().await.unwrap();
                go.notified().await;
                connection.wire.content(head.request_framing(), |_| ()).await.unwrap();
                connection
                    .send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000)))
                    .await;
                connection.drain().await;
            }
        })
        .await;
        let mut setup = Setup::default();
        let tcp = TcpOptions {
            recv_buffer_bytes: Some(16 * 1024),
            send_buffer_bytes: Some(16 * 1024),
            ..TcpOptions::default()
        };
        setup.listen.tcp = tcp;
        setup.connector.tcp = tcp;
        setup.server.connection.timeouts.body = SHORT;
        setup.client.connection.timeouts.body = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = Wire::connect_small(rig.address, 16 * 1024).await;
        let Wire { reader, writer } = &mut client;
        let content = "x".repeat(1_000_000);
        let sending = async {
            writer
                .send_all(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len()).as_bytes())
                .await
                .unwrap();
            writer.send_all(content.as_bytes()).await.unwrap();
        };
        // Several times the deadline for content passes in which neither side takes anything.
        let waiting = async {
            tokio::time::sleep(SHORT * 5).await;
            go.notify_one();
        };
        tokio::join!(sending, waiting);
        let head = reader.head().await.unwrap();
        tokio::time::sleep(SHORT * 5).await;
        assert_eq!(head.status(), 200);
        reader.content(head.response_framing("POST"), |_| ()).await.unwrap();
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn an_exchange_that_takes_too_long_as_a_whole() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            while let Some(request) = connection.request().await {
                if request.target() == "/begins" {
                    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                    while connection.wire.try_send("1\r\nx\r\n").await {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        })
        .await;
        let mut setup = Setup::default();
        setup.server.exchange_timeout = Some(SHORT);
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        let answer = client.ask(GET).await;
        assert_eq!((answer.status(), answer.cause(), answer.says_close()), (504, Some("exchange-timeout"), false));
        client.send("GET /begins HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let cut = client.try_response_to("GET").await.unwrap_err();
        assert_eq!((cut.head.map(|head| head.status()), cut.end), (Some(200), End::Fin));
        drop(client);
        let closed = rig.recorder.until_closed(Side::Downstream, 1).await;
        assert_eq!(closed.reason.label(), "timeout-exchange");
        let ended = rig.recorder.until_ended(2).await;
        assert_eq!((ended.outcome, ended.error), (Outcome::Reset, Some("exchange-timeout")));
        rig.finish().await;
    });
}

/// A lingering close ends, even if the client never closes.
#[test]
fn lingering_ends() {
    run(async {
        let origin = Origin::friendly().await;
        let mut setup = Setup::default();
        setup.server.linger.timeout = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        let answer = client.ask("nonsense\r\n\r\n").await;
        assert_eq!(answer.status(), 400);
        assert_eq!(client.end().await, End::Fin);
        rig.recorder.until_closed(Side::Downstream, 1).await;
        drop(client);
        // One that sends on is not read for ever.
        let client = rig.client().await;
        client.send("nonsense\r\n\r\n").await;
        while client.try_send(ok("x")).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.recorder.until_closed(Side::Downstream, 2).await;
        rig.finish().await;
    });
}
