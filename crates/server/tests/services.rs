//! Services that own their request: what they can answer with, and what they see of the client.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use kit::recorder::Recorder;
use kit::run::run;
use kit::wire::{End, Wire};
use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_lifecycle::phase::Side;
use sheave_net::into_listener::IntoListener;
use sheave_net::leg::LingerPlan;
use sheave_net::listen::Listener;
use sheave_net::stream::KernelStream;
use sheave_proto::head::ResponseHead;
use sheave_server::body::{BodyError, RequestBody};
use sheave_server::builder::ServerBuilder;
use sheave_server::connection_info::ConnectionInfo;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::interim::Interim;
use sheave_server::reply::{IntoReply, ReplyBody, file};
use sheave_server::server::Server;
use sheave_server::service::{exchange_fn, service_fn};
use sheave_server::upgrade::{NotUpgraded, OnUpgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// A server at work, with a witness.
struct Rig<H> {
    address: SocketAddr,
    recorder: Arc<Recorder>,
    server: Server<H>,
    serving: JoinHandle<DrainReport>,
}

impl<H: Handler<KernelStream>> Rig<H> {
    fn start(handler: H) -> Self {
        Self::with(Server::builder(), handler)
    }

    fn with(builder: ServerBuilder, handler: H) -> Self {
        let recorder = Arc::new(Recorder::default());
        let plan = DrainPlan { quiet: Duration::from_millis(20), ..DrainPlan::default() };
        let server = builder.observer(recorder.clone()).drain(plan).linger(briefly()).build(handler).unwrap();
        let listener = listen().into_listener().unwrap();
        let address = listener.local_addr().unwrap();
        let server_too = server.clone();
        let serving = tokio::spawn(async move { server_too.serve(listener).await });
        Self { address, recorder, server, serving }
    }

    async fn client(&self) -> Wire {
        Wire::connect(self.address).await
    }

    async fn finish(self) -> DrainReport {
        let report = self.server.drain().await;
        assert_eq!(self.serving.await.unwrap(), report);
        drop(self.server);
        self.recorder.check_laws();
        report
    }
}

/// For clients that stay though they were told to go.
fn briefly() -> LingerPlan {
    LingerPlan { timeout: Duration::from_millis(100), ..LingerPlan::default() }
}

fn listen() -> std::net::TcpListener {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
}

fn pieces(pieces: &'static [&'static str]) -> ReplyBody {
    ReplyBody::stream(stream::iter(pieces.iter().map(|piece| Ok::<_, BodyError>(Bytes::from_static(piece.as_bytes())))))
}

fn trailers() -> HeaderMap {
    [(http::header::ETAG, HeaderValue::from_static("\"x\""))].into_iter().collect()
}

async fn replies(request: Request<RequestBody>) -> Response<ReplyBody> {
    match request.uri().path() {
        "/str" => "text".into_reply(),
        "/string" => String::from("text").into_reply(),
        "/bytes" => Bytes::from_static(b"octets").into_reply(),
        "/nothing" => ().into_reply(),
        "/status" => StatusCode::NO_CONTENT.into_reply(),
        "/teapot" => (StatusCode::IM_A_TEAPOT, "short").into_reply(),
        "/result" => Err::<&str, _>((StatusCode::CONFLICT, String::from("no"))).into_reply(),
        "/stream" => pieces(&["one", "", "two"]).into_reply(),
        "/trailers" => pieces(&["one"]).with_trailers(trailers()).into_reply(),
        "/text-trailers" => ReplyBody::full("one").with_trailers(trailers()).into_reply(),
        "/file" => file(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).await.unwrap(),
        "/no-file" => match file(env!("CARGO_MANIFEST_DIR")).await {
            Ok(reply) => reply,
            Err(error) => (StatusCode::NOT_FOUND, error.kind().to_string()).into_reply(),
        },
        "/declared" => {
            let mut response = pieces(&["12345"]).into_reply();
            response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
            response
        }
        other => panic!("nobody wrote {other}"),
    }
}

#[test]
fn whatever_is_a_reply_is_sent_as_one() {
    run(async {
        let rig = Rig::start(service_fn(replies));
        let mut client = rig.client().await;
        let text = Some("text/plain; charset=utf-8");
        for (target, status, content, content_type, length) in [
            ("/str", 200, "text", text, Some("4")),
            ("/string", 200, "text", text, Some("4")),
            ("/bytes", 200, "octets", Some("application/octet-stream"), Some("6")),
            ("/nothing", 200, "", None, Some("0")),
            ("/status", 204, "", None, None),
            ("/teapot", 418, "short", text, Some("5")),
            ("/result", 409, "no", text, Some("2")),
            ("/stream", 200, "onetwo", None, None),
            ("/no-file", 404, "is a directory", text, Some("14")),
            ("/declared", 200, "12345", None, Some("5")),
        ] {
            let response = client.ask(get(target)).await;
            assert_eq!((response.status(), response.text()), (status, content), "{target}");
            assert_eq!(response.field("Content-Type"), content_type, "{target}");
            assert_eq!(response.field("Content-Length"), length, "{target}");
        }
        let own = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let response = client.ask(get("/file")).await;
        assert_eq!((response.text(), response.field("Content-Length")), (&*own, Some(&*own.len().to_string())));
        for target in ["/trailers", "/text-trailers"] {
            let response = client.ask(get(target)).await;
            assert_eq!(response.text(), "one");
            assert_eq!(response.trailers, [("ETag".to_owned(), "\"x\"".to_owned())]);
        }
        // To HEAD the same head, and nothing behind it; a stream says nothing of its length.
        for (target, length) in [("/str", Some("4")), ("/stream", None), ("/declared", Some("5"))] {
            client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            assert_eq!(client.response_to("HEAD").await.field("Content-Length"), length, "{target}");
        }
        assert_eq!(client.ask(get("/str")).await.text(), "text", "one connection served them all");
        // HTTP/1.0 has neither chunks nor trailers.
        let response = client.ask("GET /trailers HTTP/1.0\r\n\r\n").await;
        assert_eq!((response.text(), response.says_close()), ("one", true));
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        rig.finish().await;
    });
}

async fn wrong(request: Request<RequestBody>) -> Response<ReplyBody> {
    match request.uri().path() {
        "/too-long" | "/mismatch" => {
            let is_stream = request.uri().path() == "/too-long";
            let mut response = if is_stream { pieces(&["123", "456"]) } else { ReplyBody::full("123456") }.into_reply();
            response.headers_mut().insert("content-length", HeaderValue::from_static("5"));
            response
        }
        "/fails" => {
            let stream = stream::iter([Ok(Bytes::from_static(b"some")), Err("it broke")]);
            ReplyBody::stream(stream).into_reply()
        }
        "/interim" => StatusCode::EARLY_HINTS.into_reply(),
        "/switches" => StatusCode::SWITCHING_PROTOCOLS.into_reply(),
        "/panics" => panic!("a service's panic, on purpose"),
        "/half-panics" => {
            let mut left = 2;
            let stream = stream::poll_fn(move |_| {
                left -= 1;
                assert!(left > 0, "a stream's panic, on purpose");
                std::task::Poll::Ready(Some(Ok::<_, BodyError>(Bytes::from_static(b"some"))))
            });
            ReplyBody::stream(stream).into_reply()
        }
        _ => "well".into_reply(),
    }
}

#[test]
fn what_goes_wrong_is_told_or_cut_off_and_harms_nobody_else() {
    run(async {
        let rig = Rig::start(service_fn(wrong));
        let mut other = rig.client().await;
        for (target, told, reason) in [
            ("/mismatch", Some("content-length-mismatch"), "agreed"),
            ("/interim", Some("interim-status"), "agreed"),
            ("/switches", Some("switch-without-upgrade"), "agreed"),
            ("/panics", Some("handler-panicked"), "handler-panicked"),
            ("/too-long", None, "handler-failed"),
            ("/fails", None, "handler-failed"),
            ("/half-panics", None, "handler-panicked"),
        ] {
            let mut client = rig.client().await;
            client.send(get(target)).await;
            match told {
                Some(cause) => {
                    let response = client.response().await;
                    assert_eq!((response.status(), response.cause()), (500, Some(cause)), "{target}");
                }
                None => assert!(client.try_response_to("GET").await.is_err(), "{target}"),
            }
            if reason == "agreed" {
                client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
                assert_eq!(client.response().await.text(), "well");
            }
            drop(client);
            rig.recorder.until_reason(Side::Downstream, reason).await;
            assert_eq!(other.ask(get("/")).await.text(), "well", "after {target}");
        }
        drop(other);
        rig.finish().await;
    });
}

/// Echoes while it reads.
async fn echo(request: Request<RequestBody>) -> Response<RequestBody> {
    Response::new(request.into_body())
}

#[test]
fn a_body_is_read_while_the_response_is_sent() {
    run(async {
        let rig = Rig::start(service_fn(echo));
        let mut client = rig.client().await;
        assert_eq!(client.ask(get("/")).await.field("Content-Length"), Some("0"));
        let response = client.ask(post("/", "hello")).await;
        assert_eq!((response.text(), response.field("Content-Length")), ("hello", Some("5")));
        let response = client.ask(chunked("/") + "2\r\nhe\r\n3\r\nllo\r\n0\r\nETag: x\r\n\r\n").await;
        assert_eq!(response.text(), "hello");
        assert_eq!(response.trailers, [("ETag".to_owned(), "x".to_owned())]);
        // Each piece is answered before the next is sent.
        client.send(chunked("/")).await;
        assert_eq!(client.head().await.unwrap().status(), 200);
        for piece in ["2\r\nhe\r\n", "3\r\nllo\r\n", "0\r\n\r\n"] {
            client.send(piece).await;
            let mut got = Vec::new();
            while got.len() < piece.len() {
                got.extend(client.take().await.unwrap());
            }
            assert_eq!(got, piece.as_bytes());
        }
        let large = "x".repeat(3_000_000);
        let reading = rig.client();
        let Wire { mut reader, writer } = reading.await;
        let sending = tokio::spawn({
            let request = post("/", &large);
            async move { writer.send_all(request.as_bytes()).await.unwrap() }
        });
        let head = reader.head().await.unwrap();
        let mut got = 0;
        reader.content(head.response_framing("POST"), |piece| got += piece.len()).await.unwrap();
        sending.await.unwrap();
        assert_eq!(got, large.len());
        drop((client, reader));
        rig.finish().await;
    });
}

#[test]
fn a_client_is_asked_for_its_content_by_the_first_question() {
    run(async {
        let asked = Arc::new(Notify::new());
        let go = asked.clone();
        let rig = Rig::start(service_fn(move |request: Request<RequestBody>| {
            let go = go.clone();
            async move {
                if request.uri().path() == "/ignores" {
                    return "ignored".into_reply();
                }
                go.notified().await;
                request.into_body().bytes(100).await.unwrap().into_reply()
            }
        }));
        let expecting = |target: &str| {
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        };
        let mut client = rig.client().await;
        client.send(expecting("/reads")).await;
        asked.notify_one();
        assert_eq!(client.response().await.status(), 100);
        client.send("hello").await;
        assert_eq!(client.response().await.text(), "hello");
        client.send(expecting("/ignores")).await;
        let response = client.response().await;
        assert_eq!((response.text(), response.says_close()), ("ignored", true));
        assert_eq!(client.end().await, End::Fin);
        rig.finish().await;
    });
}

/// The service answers at once; another task reads.
#[test]
fn a_body_works_in_another_task_and_beyond_the_response() {
    run(async {
        let (told, mut tell) = mpsc::unbounded_channel();
        let rig = Rig::start(service_fn(move |request: Request<RequestBody>| {
            let told = told.clone();
            async move {
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    while let Some(piece) = body.next().await {
                        told.send(piece).unwrap();
                    }
                    assert!(body.is_end_stream() && body.next().await.is_none());
                });
                "taken"
            }
        }));
        let mut client = rig.client().await;
        client.send(chunked("/")).await;
        assert_eq!(client.response().await.text(), "taken");
        for (piece, expected) in [("2\r\nhe\r\n", "he"), ("3\r\nllo\r\n", "llo")] {
            client.send(piece).await;
            assert_eq!(tell.recv().await.unwrap().unwrap(), expected);
        }
        client.send("0\r\n\r\n").await;
        rig.recorder.until_ended(1).await;
        assert_eq!(client.ask(post("/", "again")).await.text(), "taken", "the connection goes on");
        rig.recorder.until_ended(2).await;
        assert_eq!(tell.recv().await.unwrap().unwrap(), "again");
        // A client that leaves amid a body: its reader is told.
        client.send(chunked("/")).await;
        assert_eq!(client.response().await.text(), "taken");
        client.fin();
        assert_eq!(tell.recv().await.unwrap(), Err(BodyError::Client("truncated-body")));
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn a_body_that_is_let_go_is_thrown_away() {
    run(async {
        let rig = Rig::start(service_fn(async |request: Request<RequestBody>| {
            let mut body = request.into_body();
            let first = body.next().await.unwrap().unwrap();
            drop(body);
            assert!(!first.is_empty());
            "enough"
        }));
        let mut client = rig.client().await;
        assert_eq!(client.ask(post("/", &"x".repeat(300_000))).await.text(), "enough");
        assert_eq!(client.ask(post("/", "y")).await.text(), "enough", "the connection goes on");
        drop(client);
        rig.finish().await;
    });
}

/// What goes wrong with a body is told to the service and, where it has no answer of its own by then, to the client.
#[test]
fn a_bodys_limits_are_told_to_both() {
    run(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = seen.clone();
        let builder = Server::builder().max_body_bytes(Some(10)).body_timeout(Duration::from_millis(50));
        let service = service_fn(move |request: Request<RequestBody>| {
            let note = note.clone();
            async move {
                let mut body = request.into_body();
                loop {
                    match body.next().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            note.lock().unwrap().push(error);
                            return pending().await;
                        }
                        None => return "whole",
                    }
                }
            }
        });
        let rig = Rig::with(builder, service);
        for (sent, told, status) in [
            (chunked("/") + "8\r\n12345678\r\n8\r\n", BodyError::TooLarge, 413),
            (chunked("/") + "2\r\nhe\r\n", BodyError::TimedOut("timeout-body"), 408),
            (chunked("/") + "2\r\nhe\r\nx\r\n", BodyError::Client("invalid-chunk-size"), 400),
        ] {
            let mut client = rig.client().await;
            client.send(sent).await;
            let response = client.response().await;
            assert_eq!((response.status(), response.cause()), (status, Some(told.label())));
            assert_eq!(seen.lock().unwrap().pop(), Some(told));
        }
        rig.finish().await;
    });
}

#[test]
fn a_collected_body_has_a_bound() {
    run(async {
        let rig = Rig::start(service_fn(async |request: Request<RequestBody>| {
            request
                .into_body()
                .bytes(5)
                .await
                .map_err(|error| (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
                .map_or_else(IntoReply::into_reply, IntoReply::into_reply)
        }));
        let mut client = rig.client().await;
        assert_eq!(client.ask(post("/", "12345")).await.text(), "12345");
        assert_eq!(client.ask(chunked("/") + "2\r\n12\r\n3\r\n345\r\n0\r\n\r\n").await.text(), "12345");
        assert_eq!(client.ask(post("/", "123456")).await.status(), 413);
        assert_eq!(client.ask(chunked("/") + "2\r\n12\r\n4\r\n3456\r\n0\r\n\r\n").await.status(), 413);
        drop(client);
        rig.finish().await;
    });
}

/// A client that is gone ends the service's work.
#[test]
fn a_service_is_dropped_when_its_client_is_gone() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    run(async {
        let (began, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begin, end) = (began.clone(), ended.clone());
        let rig = Rig::start(service_fn(move |_: Request<RequestBody>| {
            let (begin, end) = (begin.clone(), Dropped(end.clone()));
            async move {
                begin.notify_one();
                pending::<()>().await;
                drop(end);
            }
        }));
        for request in [get("/"), post("/", "hello")] {
            let client = rig.client().await;
            client.send(request).await;
            began.notified().await;
            client.reset();
            ended.notified().await;
        }
        rig.recorder.until_closed(Side::Downstream, 2).await;
        rig.finish().await;
    });
}

#[test]
fn interim_responses_go_ahead() {
    run(async {
        let go = Arc::new(Notify::new());
        let wait = go.clone();
        let service = service_fn(move |request: Request<RequestBody>| {
            let wait = wait.clone();
            async move {
                let interim = request.extensions().get::<Interim>().unwrap().clone();
                let links = [(http::header::LINK, HeaderValue::from_static("</a.css>"))].into_iter().collect();
                interim.early_hints(links);
                if request.uri().path() == "/waits" {
                    wait.notified().await;
                    interim.processing();
                }
                "final"
            }
        });
        let rig = Rig::start(service.with_interim());
        let mut client = rig.client().await;
        client.send(get("/")).await;
        let hints = client.response().await;
        assert_eq!((hints.status(), hints.field("Link")), (103, Some("</a.css>")));
        assert_eq!(client.response().await.text(), "final");
        client.send(get("/waits")).await;
        assert_eq!(client.response().await.status(), 103);
        go.notify_one();
        assert_eq!(client.response().await.status(), 102);
        assert_eq!(client.response().await.text(), "final");
        assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").await.text(), "final", "RFC 9110 §15.2: not to HTTP/1.0");
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn a_service_knows_its_connection() {
    run(async {
        let rig = Rig::start(service_fn(async |request: Request<RequestBody>| {
            let info = request.extensions().get::<ConnectionInfo>().unwrap();
            assert!(info.secured.is_none());
            format!("{} {} {}", info.peer.unwrap(), info.local.unwrap(), info.exchange)
        }));
        let mut client = rig.client().await;
        for number in 1..=2 {
            let response = client.ask(get("/")).await;
            assert_eq!(response.text(), format!("{} {} {number}", client.local(), rig.address));
        }
        drop(client);
        rig.finish().await;
    });
}

/// Speaks another protocol: says everything twice.
async fn upgrading(mut request: Request<RequestBody>) -> Response<ReplyBody> {
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else { return "plain".into_reply() };
    match (request.uri().path(), request.method()) {
        ("/declines", _) => {
            tokio::spawn(async move { assert_eq!(upgrade.await.err(), Some(NotUpgraded)) });
            return "declined".into_reply();
        }
        ("/forgets", _) => drop(upgrade),
        _ => {
            tokio::spawn(async move {
                let mut stream = upgrade.await.unwrap();
                let mut bytes = [0; 100];
                loop {
                    let len = stream.read(&mut bytes).await.unwrap();
                    if len == 0 {
                        stream.write_all(b"bye").await.unwrap();
                        return stream.shutdown().await.unwrap();
                    }
                    stream.write_all(&bytes[..len]).await.unwrap();
                    stream.write_all(&bytes[..len]).await.unwrap();
                }
            });
        }
    }
    if request.method() == Method::CONNECT {
        return ().into_reply();
    }
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_reply();
    response.headers_mut().insert("upgrade", HeaderValue::from_static("twice"));
    response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    response
}

#[test]
fn a_service_can_speak_another_protocol() {
    run(async {
        let rig = Rig::start(service_fn(upgrading));
        let offer =
            |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: twice\r\n\r\n");
        let mut client = rig.client().await;
        assert_eq!(client.ask(get("/")).await.text(), "plain");
        assert_eq!(client.ask(offer("/declines")).await.text(), "declined");
        for request in [offer("/"), "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n".to_owned()] {
            let mut client = rig.client().await;
            client.send(&request).await;
            let head = client.head().await.unwrap();
            assert_eq!(head.status(), if request.starts_with("GET") { 101 } else { 200 });
            client.send("abc").await;
            let mut got = Vec::new();
            while got.len() < 6 {
                got.extend(client.take().await.unwrap());
            }
            assert_eq!(got, b"abcabc");
            client.fin();
            got.clear();
            while got.len() < 3 {
                got.extend(client.take().await.unwrap());
            }
            assert_eq!(got, b"bye");
            assert_eq!(client.end().await, End::Fin);
        }
        let mut forgotten = rig.client().await;
        forgotten.send(offer("/forgets")).await;
        assert_eq!(forgotten.head().await.unwrap().status(), 101);
        assert_ne!(forgotten.end().await, End::Fin, "nobody speaks the protocol");
        drop((client, forgotten));
        rig.finish().await;
    });
}

#[test]
fn functions_of_the_exchange_are_handlers() {
    run(async {
        let count = AtomicUsize::new(0);
        let rig =
            Rig::start(exchange_fn(count, async |count: &AtomicUsize, exchange: &mut Exchange<'_, KernelStream>| {
                let text = format!("{} {}", exchange.request().target(), count.fetch_add(1, Ordering::Relaxed));
                let mut head = ResponseHead::new(StatusCode::OK);
                exchange.respond(&mut head, text.as_bytes()).await?;
                Ok::<_, HandlerError>(())
            }));
        let mut client = rig.client().await;
        assert_eq!(client.ask(get("/a")).await.text(), "/a 0");
        assert_eq!(client.ask(get("/b")).await.text(), "/b 1");
        drop(client);
        let report = rig.finish().await;
        assert_eq!(report.lost, 0);
    });
}

async fn hello(_: Request<RequestBody>) -> &'static str {
    "hello"
}

#[test]
fn one_server_listens_in_several_places_and_drains_as_one() {
    run(async {
        let server = Server::builder().linger(briefly()).build(service_fn(hello)).unwrap();
        let path = std::env::temp_dir().join(format!("sheave-services-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let unix = tokio::net::UnixListener::bind(&path).unwrap().into_listener().unwrap();
        let tcp = listen().into_listener().unwrap();
        let address = tcp.local_addr().unwrap();
        let (one, other) = (server.clone(), server.clone());
        let serving = tokio::spawn(async move { tokio::join!(one.serve(tcp), other.serve(unix)) });
        let mut client = Wire::connect(address).await;
        assert_eq!(client.ask(get("/")).await.text(), "hello");
        let mut local = tokio::net::UnixStream::connect(&path).await.unwrap();
        local.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        local.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");
        let draining = server.drain();
        client.send(get("/last")).await;
        assert!(client.response().await.says_close());
        assert_eq!(client.end().await, End::Fin);
        let report = draining.await;
        assert_eq!((report.told, report.finished, report.lost), (1, 1, 0));
        serving.await.unwrap();
        assert!(!path.exists(), "its file is removed");
    });
}

#[test]
fn a_server_on_cores_serves_on_each_and_drains_as_one() {
    run(async {
        let (told, mut threads) = mpsc::unbounded_channel();
        let server = Server::builder()
            .linger(briefly())
            .build(service_fn(move |_: Request<RequestBody>| {
                told.send(std::thread::current().name().map(str::to_owned)).unwrap();
                async { "hello" }
            }))
            .unwrap();
        let (one, other) = (listen(), listen());
        let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve_on_cores(2, [one, other]).await }
        });
        let mut clients = Vec::new();
        for address in addresses {
            for _ in 0..4 {
                let mut client = Wire::connect(address).await;
                assert_eq!(client.ask(get("/")).await.text(), "hello");
                clients.push(client);
            }
        }
        let mut served = [0, 0];
        for _ in &clients {
            match threads.recv().await.unwrap().as_deref() {
                Some("server-0") => served[0] += 1,
                Some("server-1") => served[1] += 1,
                other => panic!("served by {other:?}"),
            }
        }
        assert_eq!(served, [4, 4], "connections are spread evenly");
        let report = server.drain().await;
        assert_eq!((report.told, report.waited, report.lost), (8, 8, 0));
        assert_eq!(serving.await.unwrap().unwrap(), report);
    });
}
