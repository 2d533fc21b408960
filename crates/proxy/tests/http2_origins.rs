//! Clients of HTTP/1 before origins of HTTP/2: what crosses, and what becomes of what goes wrong.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use kit::message::Framing;
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::End;
use sheave_net::endpoint::{Manner, Protocols};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// What an origin has seen.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<(String, HeaderMap)>>,
    bodies: Mutex<Vec<(Vec<u8>, Option<HeaderMap>)>>,
    resets: Mutex<Vec<Reason>>,
    told: Notify,
}

struct Origin {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
        let shared = seen.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = shared.clone();
                connections.spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut streams = JoinSet::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        streams.spawn(answer(request, respond, seen.clone()));
                    }
                });
            }
        });
        Self { address, seen, accepting }
    }

    fn requests(&self) -> Vec<(String, HeaderMap)> {
        self.seen.requests.lock().unwrap().clone()
    }
}

fn send(respond: &mut SendResponse<Bytes>, status: u16, is_end: bool) -> SendStream<Bytes> {
    let status = StatusCode::from_u16(status).unwrap();
    respond.send_response(Response::builder().status(status).header("x-origin", "o").body(()).unwrap(), is_end).unwrap()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])
}

/// Does as the path says.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Arc<Seen>) {
    let (parts, mut body) = request.into_parts();
    let count = {
        let mut requests = seen.requests.lock().unwrap();
        requests.push((format!("{} {}", parts.method, parts.uri), parts.headers));
        requests.len()
    };
    match parts.uri.path() {
        "/refused-once" if count == 1 => return respond.send_reset(Reason::REFUSED_STREAM),
        "/reset" => return respond.send_reset(Reason::INTERNAL_ERROR),
        "/cut" => {
            let mut sent = send(&mut respond, 200, false);
            sent.send_data(Bytes::from_static(b"hel"), false).unwrap();
            seen.told.notified().await;
            return sent.send_reset(Reason::INTERNAL_ERROR);
        }
        "/never" => {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            seen.resets.lock().unwrap().push(reason);
            return seen.told.notify_one();
        }
        _ if parts.method == "HEAD" => return drop(send(&mut respond, 200, true)),
        "/empty" => return drop(send(&mut respond, 204, true)),
        "/hints" => {
            respond.send_informational(Response::builder().status(103).body(()).unwrap()).unwrap();
            return drop(send(&mut respond, 200, true));
        }
        "/echo" => {
            let mut sent = send(&mut respond, 200, false);
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                sent.send_data(data, false).unwrap();
            }
            let came = body.trailers().await.unwrap();
            return sent.send_trailers(came.unwrap_or_else(trailers)).unwrap();
        }
        _ => {}
    }
    let mut whole = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        whole.extend_from_slice(&data);
    }
    let came = body.trailers().await.ok().flatten();
    seen.bodies.lock().unwrap().push((whole, came));
    let mut sent = send(&mut respond, 200, false);
    sent.send_data(Bytes::from_static(b"hello"), false).unwrap();
    sent.send_trailers(trailers()).unwrap();
}

fn http2() -> Setup {
    Setup { manner: Manner { protocols: Protocols::Http2, ..Manner::default() }, ..Setup::default() }
}

#[test]
fn a_request_crosses_and_comes_back_with_its_trailers() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let mut client = rig.client().await;
        let got = client
            .ask("GET /a?b HTTP/1.1\r\nHost: A.example\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Two: 2\r\n\r\n")
            .await;
        assert_eq!((got.head.status(), got.text()), (200, "hello"));
        assert_eq!(got.head.field("transfer-encoding"), Some("chunked"));
        assert_eq!((got.head.field("x-origin"), got.head.field("via")), (Some("o"), Some("2 p")));
        assert_eq!(got.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
        let (line, fields) = origin.requests().remove(0);
        assert_eq!(line, "GET http://A.example/a?b");
        let value = |name: &str| fields.get(name).and_then(|it| it.to_str().ok());
        assert_eq!([value("x-two"), value("x-hop"), value("host"), value("te")], [Some("2"), None, None, None]);
        assert_eq!(value("forwarded"), Some("for=127.0.0.1;host=\"A.example\";proto=http"));
        // Whoever takes trailers says so, and that is said again: gRPC asks for it.
        client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: gzip;q=0, trailers\r\n\r\n").await;
        assert_eq!(origin.requests()[1].1.get("te").map(|it| it.as_bytes()), Some(&b"trailers"[..]));
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn bodies_of_every_framing_reach_the_origin() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let mut client = rig.client().await;
        for (request, body, length, came) in [
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "hello", Some("5"), None),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "", Some("0"), None),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                "hello",
                None,
                None,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nX-End: 1\r\n\r\n",
                "he",
                None,
                Some("1"),
            ),
        ] {
            assert_eq!(client.ask(request).await.head.status(), 200, "{request:?}");
            let (got, trailers) = origin.seen.bodies.lock().unwrap().pop().unwrap();
            assert_eq!(got, body.as_bytes(), "{request:?}");
            assert_eq!(trailers.and_then(|it| it.get("x-end").cloned()).map(|it| it.len()), came.map(str::len));
            let fields = origin.requests().pop().unwrap().1;
            assert_eq!(fields.get("content-length").map(|it| it.to_str().unwrap()), length, "{request:?}");
        }
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn interim_and_empty_responses() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let mut client = rig.client().await;
        client.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.response().await.head.status(), 103);
        let got = client.response().await;
        assert_eq!((got.head.status(), got.text()), (200, ""));
        assert_eq!(client.ask("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n").await.head.status(), 204);
        let got = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(got.head.status(), 200);
        // A client that knows no chunks gets the rest up to the end.
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        let head = client.head().await.unwrap();
        assert_eq!(head.status(), 200);
        let mut body = Vec::new();
        client.content(Framing::UntilClose, |piece| body.extend_from_slice(piece)).await.unwrap();
        assert_eq!(body, b"hello");
        rig.finish().await;
    });
}

/// The response begins before the request has ended, and each goes on in its own time.
#[test]
fn both_directions_flow_at_once() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let mut client = rig.client().await;
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let head = client.head().await.unwrap();
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        for round in 0..10 {
            let piece = format!("round {round}");
            client.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
            let mut came = Vec::new();
            let expected = format!("{:x}\r\n{piece}\r\n", piece.len());
            while came.len() < expected.len() {
                came.extend(client.take().await.unwrap());
            }
            assert_eq!(came, expected.as_bytes());
        }
        client.send("0\r\nX-End: 7\r\n\r\n").await;
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n\r\n") {
            came.extend(client.take().await.unwrap());
        }
        assert_eq!(String::from_utf8(came).unwrap().to_lowercase(), "0\r\nx-end: 7\r\n\r\n");
        drop(client);
        rig.finish().await;
    });
}

/// What the origin says that it did not act on moves on unseen, whatever its method, with its body.
#[test]
fn a_refused_request_is_sent_again() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let mut client = rig.client().await;
        let got = client.ask("POST /refused-once HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!((got.head.status(), origin.requests().len()), (200, 2));
        assert_eq!(origin.seen.bodies.lock().unwrap().pop().unwrap().0, b"hello");
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn a_reset_stream_has_its_answer() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let mut client = rig.client().await;
        let got = client.ask("POST /reset HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!((got.head.status(), got.head.cause()), (502, Some("upstream-stream-reset")));
        // Its neighbour's connection is the same, and goes on.
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.head.status(), 200);
        drop(client);
        rig.finish().await;
    });
}

/// What was cut off there is cut off here: without the last chunk, or by a reset where nothing else shows it.
#[test]
fn a_response_that_is_reset_in_the_middle_is_not_presented_as_whole() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        for (version, piece, end) in [("1.1", &b"3\r\nhel\r\n"[..], End::Fin), ("1.0", b"hel", End::Reset)] {
            let mut client = rig.client().await;
            client.send(format!("GET /cut HTTP/{version}\r\nHost: a\r\n\r\n")).await;
            assert_eq!(client.head().await.unwrap().status(), 200);
            let mut came = Vec::new();
            while came.len() < piece.len() {
                came.extend(client.take().await.unwrap());
            }
            assert_eq!(came, piece);
            origin.seen.told.notify_one();
            assert_eq!(client.end().await, end, "{version}");
        }
        rig.finish().await;
    });
}

/// A client that leaves frees the origin at once.
#[test]
fn a_client_that_leaves_cancels_its_stream() {
    run(async {
        let origin = Origin::start().await;
        let rig = Rig::start(&[origin.address], http2());
        let client = rig.client().await;
        client.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
        while origin.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        client.reset();
        origin.seen.told.notified().await;
        assert_eq!(*origin.seen.resets.lock().unwrap(), [Reason::CANCEL]);
        rig.finish().await;
    });
}
