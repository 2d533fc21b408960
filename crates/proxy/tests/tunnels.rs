//! Connections that stop being HTTP: who may ask for it, what goes through, and how each direction and the whole end.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::sync::Arc;
use std::time::Duration;

use kit::message::Framing;
use kit::origin::{Accepted, Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::{End, Reader, Wire};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_net::tcp_options::TcpOptions;
use tokio::sync::Notify;

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Short enough to wait for; what is asserted is what happened, not when.
const SHORT: Duration = Duration::from_millis(50);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Reads so many bytes.
async fn exactly(reader: &mut Reader, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.content(Framing::Length(len), |piece| bytes.extend_from_slice(piece)).await.unwrap();
    bytes
}

/// Reads up to FIN.
async fn to_the_end(reader: &mut Reader) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.content(Framing::UntilClose, |piece| bytes.extend_from_slice(piece)).await.unwrap();
    bytes
}

/// An origin that switches, and then does what `script` says.
async fn switching<W: Future<Output = ()> + Send + 'static>(
    script: impl Fn(Accepted) -> W + Send + Sync + 'static,
) -> Origin {
    let script = Arc::new(script);
    Origin::start(move |mut connection| {
        let script = script.clone();
        async move {
            // Not every connection has a request that is whole.
            if connection.request().await.is_some() {
                connection.send(SWITCH).await;
                script(connection).await;
            }
        }
    })
    .await
}

/// An origin that switches and sends back what it is sent, up to FIN.
async fn echoing() -> Origin {
    switching(async |mut connection: Accepted| {
        loop {
            match connection.wire.take().await {
                Ok(bytes) => connection.send(bytes).await,
                Err(End::Fin) => return connection.wire.fin(),
                Err(End::Reset) => return,
            }
        }
    })
    .await
}

/// A client behind which there is a tunnel.
async fn switched(rig: &Rig) -> Wire {
    let mut client = rig.client().await;
    client.send(ASK).await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status(), head.field("Upgrade")), (101, Some("websocket")));
    assert_eq!((head.field("Connection"), head.field("Content-Length")), (Some("upgrade"), None));
    client
}

#[test]
fn bytes_go_both_ways_and_each_direction_ends_on_its_own() {
    run(async {
        let origin = echoing().await;
        let rig = Rig::usual(origin.address);
        let mut client = switched(&rig).await;
        // It looks like HTTP, and is none.
        for bytes in ["hello", ASK, "\r\n\r\n\0"] {
            client.send(bytes).await;
            assert_eq!(exactly(&mut client.reader, bytes.len()).await, bytes.as_bytes());
        }
        client.fin();
        assert_eq!(client.end().await, End::Fin);
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.status, ended.outcome, ended.error), (101, Outcome::Answered(MadeBy::Origin), None));
        let len = (5 + ASK.len() + 5) as u64;
        assert_eq!((ended.request_bytes, ended.response_bytes), (len, len));
        let (report, recorder) = rig.finish().await;
        assert_eq!(report.lost, 0);
        let log = recorder.log();
        for side in Side::ALL {
            assert_eq!(log.reasons(side), [CloseReason::Upgraded], "{side:?}");
            assert!(log.closed_on(side).all(|closed| closed.phase == Phase::Tunnel));
            assert!(log.moved.iter().any(|moved| moved.side == side && moved.phase == Phase::Tunnel), "{side:?}");
        }
        assert!(log.parked.is_empty());
    });
}

#[test]
fn either_side_may_end_first_and_still_be_told() {
    run(async {
        // The origin says all it has to say, and then listens.
        let origin = switching(async |mut connection: Accepted| {
            connection.send("all I know").await;
            connection.wire.fin();
            assert_eq!(to_the_end(&mut connection.wire.reader).await, b"and what I say");
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = switched(&rig).await;
        assert_eq!(to_the_end(&mut client.reader).await, b"all I know");
        client.send("and what ").await;
        origin.until(|origin| (origin.received(0) >= ASK.len()).then_some(())).await;
        client.send("I say").await;
        client.fin();
        rig.recorder.until_reason(Side::Upstream, "upgraded").await;
        rig.recorder.until_reason(Side::Downstream, "upgraded").await;
        // The client does, and then listens.
        let origin = switching(async |mut connection: Accepted| {
            assert_eq!(to_the_end(&mut connection.wire.reader).await, b"one");
            connection.send("two").await;
        })
        .await;
        let other = Rig::usual(origin.address);
        let mut client = switched(&other).await;
        client.send("one").await;
        client.fin();
        assert_eq!(to_the_end(&mut client.reader).await, b"two");
        for rig in [rig, other] {
            let (_, recorder) = rig.finish().await;
            assert_eq!(recorder.log().ended[0].error, None);
        }
    });
}

#[test]
fn bytes_that_come_early_are_not_lost() {
    run(async {
        // In one segment with the 101; and behind the request, before the 101 was even thought of.
        let go = Arc::new(Notify::new());
        let script = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = script.clone();
            async move {
                connection.must_request().await;
                go.notified().await;
                connection.send(format!("{SWITCH}HTTP/1.1 200 OK\r\n\r\n")).await;
                assert_eq!(to_the_end(&mut connection.wire.reader).await, ASK.as_bytes());
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send(format!("{ASK}{ASK}")).await;
        client.fin();
        origin.until(|origin| (origin.received_in_all() > 0).then_some(())).await;
        assert_eq!(origin.requests().len(), 1, "what is behind an offer is nobody's yet");
        go.notify_one();
        assert_eq!(client.head().await.unwrap().status(), 101);
        assert_eq!(to_the_end(&mut client.reader).await, b"HTTP/1.1 200 OK\r\n\r\n");
        let (_, recorder) = rig.finish().await;
        assert_eq!(recorder.log().reasons(Side::Downstream), [CloseReason::Upgraded]);
        assert_eq!(origin.accepted(), 1);
    });
}

#[test]
fn an_offer_that_is_not_taken_is_an_ordinary_request() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            while let Some(request) = connection.request().await {
                let status = if request.target() == "/ws" { "426 No\r\nUpgrade: websocket, h2c" } else { "200 OK" };
                connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok")).await;
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send(format!("{ASK}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.text()), (426, "ok"));
        // RFC 9110 §15.5.22: it says what would do, as far as that goes through us.
        assert_eq!((response.field("Upgrade"), response.field("Connection")), (Some("websocket"), Some("upgrade")));
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(origin.accepted(), 1, "the connection is of use still");
        rig.finish().await;
    });
}

#[test]
fn a_101_that_nobody_asked_for_is_an_error_of_the_origin() {
    run(async {
        let ask = |connection: &str, version: &str, upgrade: &str| {
            format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\n\r\n")
        };
        let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
        for (request, chosen) in [
            (plain, "websocket"),
            (ask("upgrade", "1.0", "websocket"), "websocket"),
            (ask("close", "1.1", "websocket"), "websocket"),
            (ask("upgrade", "1.1", "h2c"), "h2c"),
            (ask("upgrade", "1.1", "websocket, h2c"), "h2c"),
            (ask("upgrade", "1.1", "websocket"), "irc"),
            (ask("upgrade", "1.1", "websocket"), "websocket, irc"),
            (ask("upgrade", "1.1", "websocket"), ""),
        ] {
            let origin = Origin::saying(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {chosen}\r\n\r\nraw"
            ))
            .await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            let response = client.ask(&request).await;
            assert_eq!((response.status(), response.cause()), (502, Some("upstream-protocol-error")), "{request}");
            assert_eq!(response.field("Upgrade"), None);
            let closed = rig.recorder.until_closed(Side::Upstream, 1).await;
            assert_eq!(closed.reason, CloseReason::Protocol("unasked-switch"), "{request}");
            drop(client);
            let (_, recorder) = rig.finish().await;
            assert!(recorder.log().parked.is_empty() && recorder.log().retried.is_empty());
        }
    });
}

/// RFC 9110 §7.8: the request's body comes first, and the other protocol behind it.
#[test]
fn a_request_with_a_body_is_whole_before_the_tunnel_begins() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            let request = connection.must_request().await;
            connection.send(SWITCH).await;
            connection.send(&request.body).await;
            while let Ok(bytes) = connection.wire.take().await {
                connection.send(bytes).await;
            }
        })
        .await;
        for (framing, body) in
            [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
        {
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            let head = ASK.replace("GET", "POST").replace("\r\n\r\n", &format!("\r\n{framing}\r\n\r\n"));
            client.send(format!("{head}{body} world")).await;
            client.fin();
            assert_eq!(client.head().await.unwrap().status(), 101);
            assert_eq!(to_the_end(&mut client.reader).await, b"hello world");
            rig.finish().await;
        }
    });
}

#[test]
fn an_origin_that_switches_before_it_has_the_body_gets_it_all_the_same() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            let head = connection.wire.head().await.unwrap();
            assert_eq!(head.field("Content-Length"), Some("5"));
            connection.send(format!("{SWITCH}soon")).await;
            assert_eq!(to_the_end(&mut connection.wire.reader).await, b"hello world");
            connection.send("bye").await;
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send(ASK.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhe")).await;
        assert_eq!(client.head().await.unwrap().status(), 101);
        assert_eq!(exactly(&mut client.reader, 4).await, b"soon");
        client.send("llo wor").await;
        client.send("ld").await;
        client.fin();
        assert_eq!(to_the_end(&mut client.reader).await, b"bye");
        let (_, recorder) = rig.finish().await;
        assert_eq!(recorder.log().reasons(Side::Upstream), [CloseReason::Upgraded]);
    });
}

/// Bytes of which each depends on its place.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn both_directions_are_full_at_once_and_nobody_has_to_keep_up() {
    run(async {
        const LEN: usize = 3_000_000;
        let origin = Origin::start_small(8 * 1024, async |mut connection: Accepted| {
            connection.must_request().await;
            connection.send(SWITCH).await;
            let Wire { reader, writer } = &mut connection.wire;
            let down = pattern(LEN, 1);
            let sending = async {
                writer.send_all(&down).await.unwrap();
                writer.fin();
            };
            let (up, ()) = tokio::join!(to_the_end(reader), sending);
            assert!(up == pattern(LEN, 2), "{} bytes came up", up.len());
        })
        .await;
        let small = TcpOptions {
            send_buffer_bytes: Some(8 * 1024),
            recv_buffer_bytes: Some(8 * 1024),
            ..TcpOptions::default()
        };
        let mut setup = Setup::default();
        setup.listen.tcp = small;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = Wire::connect_small(rig.address, 8 * 1024).await;
        client.send(ASK).await;
        assert_eq!(client.head().await.unwrap().status(), 101);
        let Wire { reader, writer } = &mut client;
        let up = pattern(LEN, 2);
        let sending = async {
            writer.send_all(&up).await.unwrap();
            writer.fin();
        };
        let (down, ()) = tokio::join!(to_the_end(reader), sending);
        assert!(down == pattern(LEN, 1), "{} bytes came down", down.len());
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.request_bytes, ended.response_bytes), (LEN as u64, LEN as u64));
        rig.finish().await;
    });
}

#[test]
fn a_side_that_is_gone_takes_the_other_with_it() {
    run(async {
        let gone = Arc::new(Notify::new());
        let script = gone.clone();
        let origin = switching(move |mut connection: Accepted| {
            let gone = script.clone();
            async move {
                connection.send("hi").await;
                assert_eq!(connection.wire.take().await, Err(End::Reset));
                gone.notify_one();
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = switched(&rig).await;
        assert_eq!(exactly(&mut client.reader, 2).await, b"hi");
        client.reset();
        gone.notified().await;
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.outcome, ended.error), (Outcome::Answered(MadeBy::Origin), Some("peer-reset")));
        let (_, recorder) = rig.finish().await;
        assert_eq!(recorder.log().reasons(Side::Upstream), [CloseReason::OtherSide]);

        let origin = switching(async |connection: Accepted| {
            connection.send("hi").await;
            connection.wire.reset();
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = switched(&rig).await;
        // Not a FIN, which would say that the origin has said all.
        let end = loop {
            if let Err(end) = client.take().await {
                break end;
            }
        };
        assert_eq!(end, End::Reset);
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.outcome, ended.error), (Outcome::Answered(MadeBy::Origin), Some("upstream-reset")));
        let (_, recorder) = rig.finish().await;
        assert_eq!(recorder.log().reasons(Side::Downstream), [CloseReason::OtherSide]);
    });
}

#[test]
fn a_tunnel_that_is_silent_or_old_is_ended_by_its_own_deadlines_alone() {
    run(async {
        for timer in [Timer::TunnelIdle, Timer::TunnelAge] {
            let origin = switching(async |mut connection: Accepted| {
                connection.send("hi").await;
                assert_eq!(connection.wire.take().await, Err(End::Reset));
            })
            .await;
            let mut setup = Setup::default();
            // Those of requests do not apply.
            setup.server.exchange_timeout = Some(SHORT);
            for timeouts in [&mut setup.server.connection.timeouts, &mut setup.client.connection.timeouts] {
                timeouts.body = SHORT;
                timeouts.idle = SHORT;
                timeouts.response = LONG;
                match timer {
                    Timer::TunnelIdle => timeouts.tunnel_idle = SHORT * 6,
                    _ => timeouts.tunnel_age = Some(SHORT * 6),
                }
            }
            let rig = Rig::start(&[origin.address], setup);
            let mut client = switched(&rig).await;
            assert_eq!(exactly(&mut client.reader, 2).await, b"hi");
            assert_eq!(client.end().await, End::Reset, "{timer:?}");
            let ended = rig.recorder.until_ended(1).await;
            let label = CloseReason::TimedOut(timer).label();
            assert_eq!((ended.outcome, ended.error), (Outcome::Answered(MadeBy::Origin), Some(label)));
            let (_, recorder) = rig.finish().await;
            let mut reasons: Vec<_> = Side::ALL.iter().map(|side| recorder.log().reasons(*side)[0]).collect();
            reasons.sort_by_key(|reason| *reason == CloseReason::OtherSide);
            assert_eq!(reasons[0], CloseReason::TimedOut(timer));
            assert!(matches!(reasons[1], CloseReason::OtherSide | CloseReason::TimedOut(_)), "{reasons:?}");
        }
    });
}

#[test]
fn a_side_that_takes_nothing_meets_the_write_deadline() {
    run(async {
        for is_client in [true, false] {
            let go = Arc::new(Notify::new());
            let script = go.clone();
            let origin = Origin::start_small(8 * 1024, move |mut connection: Accepted| {
                let go = script.clone();
                async move {
                    connection.must_request().await;
                    connection.send(SWITCH).await;
                    if is_client {
                        while connection.wire.try_send([0; 64 * 1024]).await {}
                    } else {
                        go.notified().await;
                    }
                }
            })
            .await;
            let mut setup = Setup::default();
            setup.server.write_timeout = SHORT;
            setup.client.write_timeout = SHORT;
            setup.listen.tcp = TcpOptions { send_buffer_bytes: Some(8 * 1024), ..TcpOptions::default() };
            let rig = Rig::start(&[origin.address], setup);
            let mut client = Wire::connect_small(rig.address, 8 * 1024).await;
            client.send(ASK).await;
            assert_eq!(client.head().await.unwrap().status(), 101);
            if !is_client {
                while client.try_send([0; 64 * 1024]).await {}
            }
            let side = if is_client { Side::Downstream } else { Side::Upstream };
            let closed = rig.recorder.until_reason(side, "timeout-write").await;
            assert_eq!(closed.phase, Phase::Tunnel);
            go.notify_one();
            drop(client);
            rig.finish().await;
        }
    });
}

#[test]
fn a_drain_waits_for_tunnels_as_long_as_it_is_told_to() {
    run(async {
        let origin = echoing().await;
        let mut setup = Setup::default();
        setup.server.drain = DrainPlan {
            quiet: Duration::from_millis(10),
            grace: SHORT,
            tunnel_grace: Some(LONG),
            ..DrainPlan::default()
        };
        let rig = Rig::start(&[origin.address], setup);
        let mut tunnel = switched(&rig).await;
        let mut other = switched(&rig).await;
        // By the time that it is given up, requests have no grace any more.
        let mut client = rig.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").await;
        rig.recorder.until(|log| (log.opened_on(Side::Upstream) == 3).then_some(())).await;
        rig.drain();
        assert_eq!(client.end().await, End::Reset);
        for client in [&mut tunnel, &mut other] {
            client.send("still there?").await;
            assert_eq!(exactly(&mut client.reader, 12).await, b"still there?");
        }
        tunnel.fin();
        assert_eq!(tunnel.end().await, End::Fin);
        rig.recorder.until_reason(Side::Downstream, "upgraded").await;
        rig.force();
        assert_eq!(other.end().await, End::Reset);
        let (report, recorder) = rig.finish().await;
        assert_eq!((report.told, report.finished, report.forced, report.lost), (3, 1, 2, 2));
        let forced = CloseReason::DrainForced;
        assert_eq!(recorder.log().reasons(Side::Downstream), [forced, CloseReason::Upgraded, forced]);
    });
}

#[test]
fn a_drain_ends_tunnels_when_their_grace_is_over_and_requests_go_on() {
    run(async {
        let go = Arc::new(Notify::new());
        let script = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = script.clone();
            async move {
                let request = connection.must_request().await;
                if request.target() == "/ws" {
                    connection.send(SWITCH).await;
                    connection.drain().await;
                } else {
                    go.notified().await;
                    connection.send(ok("late")).await;
                }
            }
        })
        .await;
        let mut setup = Setup::default();
        setup.server.drain = DrainPlan {
            quiet: Duration::from_millis(10),
            grace: LONG,
            tunnel_grace: Some(SHORT),
            ..DrainPlan::default()
        };
        let rig = Rig::start(&[origin.address], setup);
        let mut tunnel = switched(&rig).await;
        let mut client = rig.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        origin.until(|origin| (origin.requests_seen() == 2).then_some(())).await;
        rig.drain();
        assert_eq!(tunnel.end().await, End::Reset);
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.status, ended.error), (101, Some("drain-forced")));
        go.notify_one();
        assert!(client.response().await.says_close());
        let (report, _) = rig.finish().await;
        assert_eq!((report.forced, report.lost), (1, 1));
    });
}

#[test]
fn an_offer_that_comes_during_a_drain_is_taken_and_does_not_say_close() {
    run(async {
        let origin = echoing().await;
        let mut setup = Setup::default();
        setup.server.drain = DrainPlan { announce: LONG, quiet: LONG, grace: LONG, ..DrainPlan::default() };
        let rig = Rig::start(&[origin.address], setup);
        let client = rig.client().await;
        rig.drain();
        drop(client);
        let mut client = switched(&rig).await;
        client.send("hi").await;
        client.fin();
        assert_eq!(to_the_end(&mut client.reader).await, b"hi");
        rig.force();
        rig.finish().await;
    });
}

#[test]
fn other_protocols_pass_only_where_they_are_allowed() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            let request = connection.must_request().await;
            match request.field("Upgrade") {
                Some(protocol) => {
                    connection.send(format!("HTTP/1.1 101 S\r\nUpgrade: {protocol}\r\n\r\nhi")).await;
                }
                None => connection.send(ok("no")).await,
            }
            connection.wire.fin();
        })
        .await;
        let mut setup = Setup::default();
        setup.proxy.upgrades = vec!["irc/6.9".to_owned()];
        let rig = Rig::start(&[origin.address], setup);
        for (offered, status) in [("irc/6.9", 101), ("irc/7", 200), ("websocket", 200), ("websocket, IRC/6.9", 101)] {
            let mut client = rig.client().await;
            client.send(ASK.replace("websocket", offered)).await;
            client.fin();
            let head = client.head().await.unwrap();
            assert_eq!(head.status(), status, "{offered}");
        }
        rig.finish().await;
    });
}
