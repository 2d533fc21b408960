//! Exchanges on two connections: order, reuse, both directions at once, and who may not keep up.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::message::Framing;
use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::{run, run_in_parallel};
use kit::wire::{End, Reader, Wire, Writer};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::Side;
use sheave_net::tcp_options::TcpOptions;
use tokio::sync::Notify;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Pieces of data of which every byte depends on its place, so that none can be lost, doubled or moved unseen.
struct Pattern {
    block: Vec<u8>,
    at: usize,
}

impl Pattern {
    /// A prime, so that it falls in step with no buffer.
    const PERIOD: usize = 65_521;

    fn new() -> Self {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let period: Vec<u8> = std::iter::repeat_with(next).take(Self::PERIOD).collect();
        Self { block: [&period[..], &period[..]].concat(), at: 0 }
    }

    /// The next `len` bytes, at most a period.
    fn next(&mut self, len: usize) -> &[u8] {
        let start = self.at % Self::PERIOD;
        self.at += len;
        &self.block[start..start + len]
    }

    /// Whether `piece` is what comes next.
    fn check(&mut self, piece: &[u8]) {
        for part in piece.chunks(Self::PERIOD) {
            let at = self.at;
            assert!(part == self.next(part.len()), "wrong bytes between {at} and {}", self.at);
        }
    }
}

#[test]
fn one_connection_serves_requests_in_turn() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::usual(origin.address);
        for _ in 0..3 {
            let mut client = rig.client().await;
            for path in ["/1", "/2", "/3"] {
                assert_eq!(client.ask(get(path)).await.text(), "ok");
            }
        }
        let seen: Vec<_> =
            origin.requests().into_iter().map(|(on, request)| (on, request.target().to_owned())).collect();
        assert_eq!(seen, ["/1", "/2", "/3"].repeat(3).into_iter().map(|path| (0, path.to_owned())).collect::<Vec<_>>());
        let (_, recorder) = rig.finish().await;
        let log = recorder.log();
        assert_eq!((log.reused.len(), log.parked.len(), log.opened_on(Side::Upstream)), (8, 9, 1));
        assert_eq!(log.reasons(Side::Upstream), [CloseReason::Drained]);
        assert_eq!(log.reasons(Side::Downstream), [CloseReason::PeerClosed; 3]);
    });
}

/// The connection that was parked last is the one that the origin is least likely to have closed.
#[test]
fn the_youngest_parked_connection_goes_first() {
    run(async {
        let go = Arc::new([Notify::new(), Notify::new()]);
        let go_too = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = go_too.clone();
            async move {
                while let Some(request) = connection.request().await {
                    if request.target() == "/wait" {
                        go[connection.number].notified().await;
                    }
                    connection.send(ok("ok")).await;
                }
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut first = rig.client().await;
        first.send(get("/wait")).await;
        origin.until(|origin| (origin.received_in_all() > 0).then_some(())).await;
        let mut second = rig.client().await;
        second.send(get("/wait")).await;
        for (client, connection) in [(&mut first, 1), (&mut second, 0)] {
            // Both requests are under way before either is answered.
            origin.until(|origin| (origin.accepted() == 2).then_some(())).await;
            go[1 - connection].notify_one();
            client.response().await;
        }
        origin.requests();
        for _ in 0..3 {
            first.ask(GET).await;
        }
        assert_eq!(origin.requests().iter().map(|(on, _)| *on).collect::<Vec<_>>(), [1, 1, 1]);
        drop((first, second));
        rig.finish().await;
    });
}

/// RFC 9112 §9.3.2
#[test]
fn pipelined_requests_are_answered_in_their_order() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            while let Some(request) = connection.request().await {
                connection.send(ok(&format!("{} {}", request.target(), request.text()))).await;
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        client.send(format!("{}{post}{chunked}{}", get("/1"), get("/4"))).await;
        for text in ["/1 ", "/2 hello", "/3 hi", "/4 "] {
            assert_eq!(client.response().await.text(), text);
        }
        // And with its FIN behind them: what was asked is answered.
        client.send(format!("{}{post}", get("/5"))).await;
        client.fin();
        for text in ["/5 ", "/2 hello"] {
            assert_eq!(client.response().await.text(), text);
        }
        assert_eq!(client.end().await, End::Fin);
        assert_eq!(origin.accepted(), 1);
        rig.finish().await;
    });
}

/// An upload behind a request whose answer is still awaited: part of it is read ahead, and all of it arrives.
#[test]
fn a_pipelined_upload_arrives_whole() {
    run(async {
        let go = Arc::new(Notify::new());
        let script = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = script.clone();
            async move {
                while let Some(request) = connection.request().await {
                    match request.target() {
                        "/1" => go.notified().await,
                        "/2" => {
                            let mut pattern = Pattern::new();
                            pattern.check(&request.body);
                            assert_eq!(pattern.at, 1_000_000);
                        }
                        _ => {}
                    }
                    connection.send(ok(request.target())).await;
                }
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let Wire { mut reader, writer } = rig.client().await;
        let mut pattern = Pattern::new();
        let mut requests = get("/1").into_bytes();
        requests.extend_from_slice(b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
        (0..100).for_each(|_| requests.extend_from_slice(pattern.next(10_000)));
        requests.extend_from_slice(get("/3").as_bytes());
        let asking = async { writer.send_all(&requests).await.unwrap() };
        let answered = async {
            until_asked(&origin).await;
            go.notify_one();
            for target in ["/1", "/2", "/3"] {
                let head = reader.head().await.unwrap();
                let mut body = Vec::new();
                reader.content(head.response_framing("GET"), |piece| body.extend_from_slice(piece)).await.unwrap();
                assert_eq!(body, target.as_bytes());
            }
        };
        tokio::join!(asking, answered);
        drop((reader, writer));
        rig.finish().await;
    });
}

async fn until_asked(origin: &Origin) {
    origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
}

/// RFC 9112 §9.6: whoever says close sends nothing more, and what comes all the same is not looked at.
#[test]
fn nothing_is_read_behind_a_request_that_says_close() {
    run(async {
        for close in ["Connection: close", "Connection: x, CLOSE\r\nConnection: keep-alive"] {
            let origin = Origin::friendly().await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send(format!("GET /1 HTTP/1.1\r\nHost: a\r\n{close}\r\n\r\n{}", get("/2"))).await;
            assert!(client.response().await.says_close());
            assert_eq!(client.end().await, End::Fin);
            assert_eq!(origin.requests().len(), 1);
            drop(client);
            rig.finish().await;
        }
    });
}

/// More than a read's worth of pipelined requests, and a FIN behind them.
#[test]
fn many_pipelined_requests() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::usual(origin.address);
        let client = rig.client().await;
        let count = 500;
        let requests = format!("GET / HTTP/1.1\r\nHost: a\r\nPadding: {}\r\n\r\n", "x".repeat(1000)).repeat(count);
        let Wire { mut reader, writer } = client;
        let asking = async {
            writer.send_all(requests.as_bytes()).await.unwrap();
            writer.fin();
        };
        let answered = async {
            for _ in 0..count {
                let head = reader.head().await.unwrap();
                assert_eq!(head.status(), 200);
                reader.content(head.response_framing("GET"), |_| ()).await.unwrap();
            }
        };
        tokio::join!(asking, answered);
        assert_eq!(reader.take().await, Err(End::Fin));
        assert_eq!(origin.requests().len(), count);
        assert_eq!(origin.accepted(), 1);
        rig.finish().await;
    });
}

/// The client says that it sends nothing more, before the answer.
#[test]
fn a_half_closed_client_gets_its_answer() {
    run(async {
        let go = Arc::new(Notify::new());
        let go_too = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = go_too.clone();
            async move {
                while connection.request().await.is_some() {
                    go.notified().await;
                    connection.send(ok("ok")).await;
                }
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        for request in
            [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"]
        {
            let mut client = rig.client().await;
            client.send(request).await;
            client.fin();
            origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
            go.notify_one();
            assert_eq!(client.response().await.text(), "ok", "{request:?}");
            assert_eq!(client.end().await, End::Fin, "{request:?}");
        }
        rig.finish().await;
    });
}

/// RFC 9110 §10.1.1: the origin asks for the content.
#[test]
fn content_waits_for_the_origins_100() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            loop {
                let Ok(head) = connection.wire.head().await else { return };
                assert_eq!(head.field("Expect"), Some("100-continue"));
                connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
                let mut body = Vec::new();
                connection.wire.content(head.request_framing(), |piece| body.extend_from_slice(piece)).await.unwrap();
                connection.send(ok(std::str::from_utf8(&body).unwrap())).await;
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        for (framing, content) in
            [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
        {
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n")).await;
            assert_eq!(client.response().await.status(), 100);
            client.send(content).await;
            let response = client.response().await;
            assert_eq!((response.text(), response.says_close()), ("hello", false));
            // RFC 9110 §10.1.1: not everybody waits.
            client
                .send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{framing}\r\n\r\n{content}"))
                .await;
            assert_eq!(client.response().await.status(), 100);
            assert_eq!(client.response().await.text(), "hello");
        }
        assert_eq!(origin.accepted(), 1);
        drop(client);
        rig.finish().await;
    });
}

/// The origin does not want the content. Whether the client sends it all the same is open: the connection ends, at once.
#[test]
fn content_that_the_origin_does_not_ask_for_is_not_waited_for() {
    run(async {
        for status in ["417 Expectation Failed", "413 Content Too Large", "200 OK"] {
            let response = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
            let origin = Origin::start(move |mut connection| {
                let response = response.clone();
                async move {
                    connection.wire.head().await.unwrap();
                    connection.send(response).await;
                    connection.drain().await;
                }
            })
            .await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
            let response = client.response().await;
            assert_eq!((response.head.start.as_str(), response.text()), (&*format!("HTTP/1.1 {status}"), "no"));
            assert!(response.says_close());
            // Long before the deadline for content, which nobody said would come.
            assert_eq!(client.end().await, End::Fin);
            drop(client);
            let reason = rig.recorder.until_closed(Side::Downstream, 1).await.reason;
            assert_eq!(reason, CloseReason::EarlyResponse, "{status}");
            let (_, recorder) = rig.finish().await;
            assert_eq!(recorder.log().reasons(Side::Upstream), [CloseReason::EarlyResponse]);
        }
    });
}

/// What the proxy answers itself, without an origin to ask for the content.
#[test]
fn an_error_of_ours_to_a_client_that_waits_for_a_100() {
    run(async {
        let (_holder, address) = nobody();
        let rig = Rig::usual(address);
        let mut client = rig.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.says_close()), (502, true));
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        rig.finish().await;
    });
}

/// An address of the loopback network at which nobody listens, for as long as the socket lives.
fn nobody() -> (socket2::Socket, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are sockets");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there are ports");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it was bound");
    (socket, address)
}

/// The response begins before the request has ended, and each waits for the other's next piece.
#[test]
fn both_directions_at_once() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            let head = connection.wire.head().await.unwrap();
            assert_eq!(head.request_framing(), Framing::Chunked);
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for turn in 0.. {
                let mut got = connection.wire.take().await.unwrap();
                let end = b"0\r\n\r\n";
                while !got.ends_with(b"\r\n") {
                    got.extend(connection.wire.take().await.unwrap());
                }
                if got == end {
                    connection.send(end).await;
                    break;
                }
                assert_eq!(got, format!("4\r\np{turn:03}\r\n").as_bytes());
                connection.send(&got).await;
            }
            connection.drain().await;
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        assert_eq!(client.head().await.unwrap().status(), 200);
        for turn in 0..50 {
            let piece = format!("4\r\np{turn:03}\r\n");
            client.send(&piece).await;
            let mut got = Vec::new();
            while got.len() < piece.len() {
                got.extend(client.take().await.unwrap());
            }
            assert_eq!(got, piece.as_bytes());
        }
        client.send("0\r\n\r\n").await;
        assert_eq!(client.take().await.unwrap(), b"0\r\n\r\n");
        drop(client);
        rig.finish().await;
    });
}

const LARGE: usize = 64 * 1024 * 1024;

/// Sends so much of the pattern as content, the last piece of it after `before_last`.
async fn send_large(writer: &Writer, framing: Framing, before_last: impl Future<Output = ()>) {
    let mut before_last = Some(before_last);
    let mut pattern = Pattern::new();
    let mut left = LARGE;
    // No power of two: pieces and buffers must not fall in step.
    for len in [50_000, 1, 60_000, 333].into_iter().cycle() {
        let len = len.min(left);
        if len == left
            && let Some(before_last) = before_last.take()
        {
            before_last.await;
        }
        let piece = pattern.next(len);
        if framing == Framing::Chunked && len > 0 {
            writer.send_all(format!("{len:x}\r\n").as_bytes()).await.unwrap();
            writer.send_all(piece).await.unwrap();
            writer.send_all(b"\r\n").await.unwrap();
        } else {
            writer.send_all(piece).await.unwrap();
        }
        left -= len;
        if left == 0 {
            break;
        }
    }
    if framing == Framing::Chunked {
        writer.send_all(b"0\r\n\r\n").await.unwrap();
    }
}

/// Reads content, which must be that much of the pattern.
async fn receive_large(reader: &mut Reader, framing: Framing) {
    let mut pattern = Pattern::new();
    reader.content(framing, |piece| pattern.check(piece)).await.unwrap();
    assert_eq!(pattern.at, LARGE);
}

/// 64 MiB up and 64 MiB down, at once.
#[test]
fn large_contents_both_ways() {
    const LENGTH: (&str, Framing) = ("Content-Length: 67108864", Framing::Length(LARGE));
    const CHUNKED: (&str, Framing) = ("Transfer-Encoding: chunked", Framing::Chunked);
    for (up, down) in [(LENGTH, CHUNKED), (CHUNKED, LENGTH)] {
        run_in_parallel(async {
            let origin = Origin::start(move |mut connection| async move {
                let head = connection.wire.head().await.unwrap();
                assert_eq!(head.request_framing(), up.1);
                connection.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", down.0)).await;
                let Wire { reader, writer } = &mut connection.wire;
                // A response that is whole before its request is gives up the rest of it.
                let (has_all, is_asked) = tokio::sync::oneshot::channel();
                let receiving = async {
                    receive_large(reader, up.1).await;
                    has_all.send(()).unwrap();
                };
                tokio::join!(receiving, send_large(writer, down.1, async { is_asked.await.unwrap() }));
                connection.drain().await;
            })
            .await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", up.0)).await;
            let Wire { reader, writer } = &mut client;
            let receiving = async {
                let head = reader.head().await.unwrap();
                assert_eq!(head.response_framing("POST"), down.1);
                receive_large(reader, down.1).await;
            };
            tokio::join!(send_large(writer, up.1, std::future::ready(())), receiving);
            let ended = rig.recorder.until_ended(1).await;
            let large = u64::try_from(LARGE).unwrap();
            assert_eq!((ended.request_bytes, ended.response_bytes), (large, large));
            assert_eq!(ended.outcome, Outcome::Answered(MadeBy::Origin));
            drop(client);
            rig.finish().await;
        });
    }
}

/// Buffers of the kernel that are small, so that whoever does not read is felt soon.
fn narrow() -> Setup {
    let mut setup = Setup::default();
    let tcp =
        TcpOptions { recv_buffer_bytes: Some(16 * 1024), send_buffer_bytes: Some(16 * 1024), ..TcpOptions::default() };
    setup.listen.tcp = tcp;
    setup.connector.tcp = tcp;
    setup
}

/// What all buffers on the way may hold together: three kernel's and two of the proxy's, with room to spare.
const BOUND: u64 = 1024 * 1024;

/// Writes until the other side has no more room for a while that the proxy ends, and counts.
async fn flood(writer: &Writer, taken: &AtomicU64) {
    let block = [b'x'; 16 * 1024];
    loop {
        if writer.send_all(&block[..1]).await.is_err() {
            return;
        }
        match writer.try_write(&block) {
            Ok(Some(len)) => taken.fetch_add(1 + u64::try_from(len).unwrap(), Ordering::SeqCst),
            Ok(None) => taken.fetch_add(1, Ordering::SeqCst),
            Err(_) => return,
        };
    }
}

#[test]
fn who_does_not_read_stops_the_origin() {
    run(async {
        let taken = Arc::new(AtomicU64::new(0));
        let taken_too = taken.clone();
        let origin = Origin::start_small(16 * 1024, move |mut connection| {
            let taken = taken_too.clone();
            async move {
                connection.must_request().await;
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await;
                flood(&connection.wire.writer, &taken).await;
            }
        })
        .await;
        let mut setup = narrow();
        setup.server.write_timeout = Duration::from_millis(200);
        let rig = Rig::start(&[origin.address], setup);
        let client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send(GET).await;
        let reason = rig.recorder.until_closed(Side::Downstream, 1).await.reason;
        assert_eq!(reason.label(), "timeout-write");
        assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason, CloseReason::OtherSide);
        let taken = taken.load(Ordering::SeqCst);
        assert!((1..BOUND).contains(&taken), "{taken} bytes were taken from the origin");
        let ended = rig.recorder.until_ended(1).await;
        assert_eq!((ended.status, ended.outcome, ended.error), (200, Outcome::Reset, Some("timeout-write")));
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn who_does_not_read_stops_the_client() {
    run(async {
        let done = Arc::new(Notify::new());
        let done_too = done.clone();
        let origin = Origin::start_small(16 * 1024, move |connection| {
            let done = done_too.clone();
            async move {
                done.notified().await;
                drop(connection);
            }
        })
        .await;
        let mut setup = narrow();
        setup.client.write_timeout = Duration::from_millis(200);
        let rig = Rig::start(&[origin.address], setup);
        let mut client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n").await;
        let taken = AtomicU64::new(0);
        let response = tokio::select! {
            () = flood(&client.writer, &taken) => panic!("the client is cut off before its answer"),
            head = client.reader.head() => head.unwrap(),
        };
        assert_eq!((response.status(), response.cause()), (504, Some("upstream-write-timeout")));
        let taken = taken.load(Ordering::SeqCst);
        assert!((1..BOUND).contains(&taken), "{taken} bytes were taken from the client");
        assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason.label(), "timeout-write");
        done.notify_one();
        drop(client);
        rig.finish().await;
    });
}

/// Whoever reads again gets all of it.
#[test]
fn a_slow_reader_gets_everything() {
    run(async {
        let full = Arc::new(Notify::new());
        let full_too = full.clone();
        let origin = Origin::start_small(16 * 1024, move |mut connection| {
            let full = full_too.clone();
            async move {
                connection.must_request().await;
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n").await;
                let mut pattern = Pattern::new();
                while pattern.at < 4_000_000 {
                    let mut piece = pattern.next(10_000);
                    while !piece.is_empty() {
                        match connection.wire.writer.try_write(piece).unwrap() {
                            Some(len) => piece = &piece[len..],
                            None => {
                                full.notify_one();
                                connection.wire.writer.send_all(&piece[..1]).await.unwrap();
                                piece = &piece[1..];
                            }
                        }
                    }
                }
                connection.drain().await;
            }
        })
        .await;
        let rig = Rig::start(&[origin.address], narrow());
        let mut client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send(GET).await;
        full.notified().await;
        let head = client.head().await.unwrap();
        let mut pattern = Pattern::new();
        client.content(head.response_framing("GET"), |piece| pattern.check(piece)).await.unwrap();
        assert_eq!(pattern.at, 4_000_000);
        drop(client);
        rig.finish().await;
    });
}

/// An origin that refuses an upload amid it. The client sends on, and must still be able to read the refusal.
#[test]
fn a_refusal_amid_an_upload_arrives() {
    for reads_late in [false, true] {
        run(async {
            let origin = Origin::start(async |mut connection| {
                connection.wire.head().await.unwrap();
                connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
                connection.drain().await;
            })
            .await;
            let rig = Rig::usual(origin.address);
            let Wire { mut reader, writer } = rig.client().await;
            let length = 64 * 1024 * 1024;
            writer
                .send_all(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes())
                .await
                .unwrap();
            let block = vec![b'x'; 64 * 1024];
            let uploading = async {
                for _ in 0..length / block.len() {
                    if writer.send_all(&block).await.is_err() {
                        return false;
                    }
                }
                true
            };
            let reading = async {
                let head = reader.head().await.unwrap();
                let mut body = Vec::new();
                reader.content(head.response_framing("POST"), |piece| body.extend_from_slice(piece)).await.unwrap();
                (head.status(), body)
            };
            let (whole, (status, body)) =
                if reads_late { (uploading.await, reading.await) } else { tokio::join!(uploading, reading) };
            assert_eq!((status, &body[..]), (413, &b"no"[..]));
            assert!(!whole, "the rest of the upload is not taken");
            // RFC 9112 §9.6: a FIN, and only then a reset, which would take with it what was not read.
            assert_eq!(reader.take().await, Err(End::Fin));
            let ended = rig.recorder.until_ended(1).await;
            assert_eq!((ended.status, ended.outcome), (413, Outcome::Answered(MadeBy::Origin)));
            drop((reader, writer));
            let reason = rig.recorder.until_closed(Side::Downstream, 1).await.reason;
            assert_eq!(reason, CloseReason::EarlyResponse);
            rig.finish().await;
        });
    }
}

/// A refusal of a small upload: its rest is read and dropped, and the connection goes on.
#[test]
fn a_refusal_of_a_small_upload_costs_no_connection() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            let head = connection.wire.head().await.unwrap();
            connection
                .send(if head.target() == "/big" {
                    "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno".to_owned()
                } else {
                    ok("ok")
                })
                .await;
            connection.drain().await;
        })
        .await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send("POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 413);
        client.send(vec![b'x'; 100_000]).await;
        assert_eq!(client.ask(GET).await.text(), "ok");
        assert_eq!(origin.accepted(), 2, "the origin's connection was amid a request");
        drop(client);
        rig.finish().await;
    });
}

/// A client that goes away does not keep an origin at work.
#[test]
fn a_client_that_resets_while_it_waits_takes_the_origins_connection_with_it() {
    run(async {
        for request in [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"] {
            let origin = Origin::start(async |mut connection| {
                connection.must_request().await;
                assert_eq!(connection.wire.take().await, Err(End::Reset));
            })
            .await;
            let rig = Rig::usual(origin.address);
            let client = rig.client().await;
            client.send(request).await;
            origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
            client.reset();
            assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason, CloseReason::OtherSide);
            assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "peer-reset");
            let ended = rig.recorder.until_ended(1).await;
            // Nobody was answered.
            assert_eq!((ended.status, ended.outcome, ended.error), (0, Outcome::Reset, Some("peer-reset")));
            rig.finish().await;
        }
    });
}

/// A client that breaks off amid its content: the origin must not take what it got for whole.
#[test]
fn an_upload_that_breaks_off_is_cut_off_for_the_origin() {
    run(async {
        for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
            for resets in [false, true] {
                let origin = Origin::start(async |mut connection| {
                    assert!(connection.request().await.is_none());
                })
                .await;
                let rig = Rig::usual(origin.address);
                let client = rig.client().await;
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}")).await;
                origin.until(|origin| (origin.accepted() > 0 && origin.received(0) > 0).then_some(())).await;
                if resets {
                    client.reset();
                } else {
                    client.fin();
                }
                assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason, CloseReason::OtherSide);
                let reason = if resets { "peer-reset" } else { "truncated" };
                assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), reason);
                let cut = origin.until(|origin| origin.cut().pop()).await;
                assert_eq!((cut.end, cut.body.as_slice()), (End::Reset, &b"hello"[..]));
                rig.finish().await;
            }
        }
    });
}

/// A response whose end only the connection's end would show is reset when it is cut off, whatever cuts it off: here its
/// own client, which breaks off its request meanwhile.
#[test]
fn a_response_that_its_client_cuts_off_looks_cut_off() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.wire.head().await.unwrap();
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
            connection.drain().await;
        })
        .await;
        for (version, framing, end) in [("1.0", Framing::UntilClose, End::Reset), ("1.1", Framing::Chunked, End::Fin)] {
            let rig = Rig::usual(origin.address);
            let Wire { mut reader, writer } = rig.client().await;
            let request = format!("POST / HTTP/{version}\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
            writer.send_all(request.as_bytes()).await.unwrap();
            let head = reader.head().await.unwrap();
            assert_eq!(head.response_framing("POST"), framing);
            let mut body = Vec::new();
            let break_off = |piece: &[u8]| {
                body.extend_from_slice(piece);
                if body == b"hello" {
                    writer.fin();
                }
            };
            assert_eq!(reader.content(framing, break_off).await, Err(end), "HTTP/{version}");
            assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason, CloseReason::Truncated);
            rig.finish().await;
        }
    });
}
