//! What a handler can do with an exchange, and what is done for it that it leaves undone.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use kit::message::Framing;
use kit::recorder::Recorder;
use kit::run::run;
use kit::wire::{End, Wire};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::Side;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::leg::LingerPlan;
use sheave_net::listen::Listener;
use sheave_net::stream::KernelStream;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_proto::framing::BodyLength;
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::answer::Answer;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::{Exchange, Expired, Frame};
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Does what the request's target says.
#[derive(Default)]
struct Scripted {
    go: Notify,
}

fn head(status: u16) -> ResponseHead {
    ResponseHead::new(StatusCode::from_u16(status).unwrap())
}

impl Handler<KernelStream> for Scripted {
    async fn handle(&self, exchange: &mut Exchange<'_, KernelStream>) -> Result<(), HandlerError> {
        let target = exchange.request().path_and_query().to_owned();
        match target.as_str() {
            "/hello" => {
                let mut head = head(200);
                head.fields_mut().push(Known::ContentType, b"text/plain").unwrap();
                exchange.respond(&mut head, b"hello").await
            }
            "/who" => {
                let (peer, local) = (exchange.peer().unwrap(), exchange.local().unwrap());
                let text = format!("{peer} {local} {}", exchange.number());
                exchange.respond(&mut head(200), text.as_bytes()).await
            }
            "/echo" => {
                let (mut body, mut trailers) = (Vec::new(), String::new());
                while let Some(frame) = exchange.next().await? {
                    match frame {
                        Frame::Data(data) => body.extend_from_slice(&data),
                        Frame::Trailers(fields) => {
                            fields.iter().for_each(|field| trailers.push_str(&format!("[{}]", field.name())));
                        }
                    }
                }
                assert!(exchange.next().await?.is_none(), "the end stays the end");
                body.extend_from_slice(trailers.as_bytes());
                exchange.respond(&mut head(200), &body).await
            }
            "/both" => {
                exchange.send_head(&mut head(200), BodyLength::Chunked)?;
                exchange.flush().await?;
                while let Some(Frame::Data(data)) = exchange.next().await? {
                    exchange.send(&data, false).await?;
                }
                exchange.send(b"", true).await
            }
            "/pieces" => {
                exchange.send_head(&mut head(200), BodyLength::UntilClose)?;
                exchange.send(b"one", false).await?;
                exchange.send(b"", false).await?;
                self.go.notified().await;
                exchange.send(b"two", true).await
            }
            "/hints" => {
                exchange.send_head(&mut head(103), BodyLength::None)?;
                exchange.flush().await?;
                exchange.respond(&mut head(200), b"hello").await
            }
            "/204" => exchange.respond(&mut head(204), b"never seen").await,
            "/304" => exchange.respond(&mut head(304), b"never seen").await,
            "/answer" => {
                exchange.answer(&Answer::new(StatusCode::IM_A_TEAPOT, "short-and-stout"));
                exchange.answer(&Answer::new(StatusCode::OK, "the-first-one-stays"));
                Ok(())
            }
            "/nothing" => Ok(()),
            "/fails" => Err(HandlerError::Failed("my-reason")),
            "/panics" => panic!("a handler's panic, on purpose"),
            "/half" | "/half-fails" | "/half-panics" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.send(b"hello", false).await?;
                self.end_half(&target)
            }
            "/half-chunked" => {
                exchange.send_head(&mut head(200), BodyLength::Chunked)?;
                exchange.send(b"hello", false).await
            }
            "/half-answer" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.answer(&Answer::new(StatusCode::BAD_GATEWAY, "too-late"));
                exchange.send(b"helloworld", true).await
            }
            "/too-long" => {
                exchange.send_head(&mut head(200), BodyLength::Known(5))?;
                exchange.send(b"hello, world", true).await
            }
            "/too-short" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.send(b"hello", true).await
            }
            "/twice" => {
                exchange.respond(&mut head(200), b"once").await?;
                exchange.respond(&mut head(200), b"twice").await
            }
            "/fails-after" => {
                exchange.respond(&mut head(200), b"once").await?;
                Err(HandlerError::Failed("too-late"))
            }
            "/panics-after" => {
                exchange.respond(&mut head(200), b"once").await?;
                panic!("a handler's panic, on purpose")
            }
            "/stale" => {
                // A relay looks at the clock once for all that it does in a turn, and may be held up after that.
                let before = exchange.clock().now();
                let waits = poll_fn(|cx| Poll::Ready(exchange.poll_body_with(cx, before, |_| ()).is_pending()));
                assert!(waits.await);
                tokio::time::sleep(Duration::from_millis(60)).await;
                assert_eq!(poll_fn(|cx| exchange.poll_deadline(cx, before, None)).await, Expired::Client);
                Err(HandlerError::Client)
            }
            "/hangs" => std::future::pending().await,
            "/half-hangs" => {
                exchange.send_head(&mut head(200), BodyLength::Known(10))?;
                exchange.send(b"hello", false).await?;
                std::future::pending().await
            }
            "/large" => exchange.respond(&mut head(200), &vec![b'x'; 10_000_000]).await,
            other => panic!("nobody wrote {other}"),
        }
    }
}

impl Scripted {
    fn end_half(&self, target: &str) -> Result<(), HandlerError> {
        match target {
            "/half-fails" => Err(HandlerError::Failed("my-reason")),
            "/half-panics" => panic!("a handler's panic, on purpose"),
            _ => Ok(()),
        }
    }
}

/// A server at work, with a witness.
struct Rig {
    address: SocketAddr,
    recorder: Arc<Recorder>,
    server: Server<Scripted>,
    serving: JoinHandle<DrainReport>,
}

fn config() -> ServerConfig {
    ServerConfig {
        linger: LingerPlan { timeout: Duration::from_millis(500), max_bytes: 100_000 },
        drain: DrainPlan { quiet: Duration::from_millis(20), ..DrainPlan::default() },
        ..ServerConfig::default()
    }
}

impl Rig {
    fn start(config: &ServerConfig) -> Self {
        let acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap();
        let address = acceptor.local_addr().unwrap();
        let recorder = Arc::new(Recorder::default());
        let server = Server::new(Scripted::default(), *config, Clock::start(), recorder.clone(), Drain::default());
        let server_too = server.clone();
        let serving = tokio::spawn(async move { server_too.serve(acceptor).await });
        Self { address, recorder, server, serving }
    }

    async fn client(&self) -> Wire {
        Wire::connect(self.address).await
    }

    async fn finish(self) -> Arc<Recorder> {
        self.server.drain();
        self.serving.await.unwrap();
        drop(self.server);
        self.recorder.check_laws();
        self.recorder
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn whole_responses() {
    run(async {
        let rig = Rig::start(&config());
        let mut client = rig.client().await;
        let response = client.ask(get("/hello")).await;
        assert_eq!((response.status(), response.text()), (200, "hello"));
        assert_eq!(response.field("Content-Length"), Some("5"));
        assert_eq!(response.field("Content-Type"), Some("text/plain"));
        assert!(response.field("Date").is_some() && response.field("Connection").is_none());
        // HEAD gets the same head and nothing behind it.
        let head = client.ask("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((head.field("Content-Length"), head.text()), (Some("5"), ""));
        assert_eq!(client.ask(get("/204")).await.field("Content-Length"), None);
        assert_eq!(client.ask(get("/304")).await.field("Content-Length"), Some("10"));
        client.send(get("/hints")).await;
        assert_eq!((client.response().await.status(), client.response().await.text()), (103, "hello"));
        let answer = client.ask(get("/answer")).await;
        assert_eq!((answer.status(), answer.cause(), answer.says_close()), (418, Some("short-and-stout"), false));
        let local = client.local();
        assert_eq!(client.ask(get("/who")).await.text(), format!("{local} {} 7", rig.address));
        assert_eq!(client.ask(get("/hello")).await.text(), "hello", "one connection served them all");
        // RFC 9112 §9.3: HTTP/1.0 asks for what HTTP/1.1 takes for granted.
        let kept = client.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!((kept.text(), kept.field("Connection")), ("hello", Some("keep-alive")));
        // An interim response is not for HTTP/1.0.
        let last = client.ask("GET /hints HTTP/1.0\r\n\r\n").await;
        assert_eq!((last.status(), last.text(), last.says_close()), (200, "hello", true));
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn errors_of_ours_are_in_the_form_that_the_client_prefers() {
    run(async {
        let rig = Rig::start(&config());
        let mut client = rig.client().await;
        for (accept, content_type) in [
            ("", "text/plain; charset=utf-8"),
            ("Accept: */*\r\n", "text/plain; charset=utf-8"),
            ("Accept: text/html, application/json\r\n", "text/plain; charset=utf-8"),
            ("Accept: application/json\r\n", "application/json"),
            ("Accept: application/problem+json; q=0.5\r\n", "application/json"),
        ] {
            let response = client.ask(format!("GET /fails HTTP/1.1\r\nHost: a\r\n{accept}\r\n")).await;
            assert_eq!((response.status(), response.cause()), (500, Some("my-reason")));
            assert_eq!(
                (response.field("Content-Type"), response.field("Cache-Control")),
                (Some(content_type), Some("no-store"))
            );
            assert!(response.text().contains("my-reason"));
        }
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn content_comes_in_frames() {
    run(async {
        let rig = Rig::start(&config());
        let mut client = rig.client().await;
        let chunked =
            |body: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(client.ask(get("/echo")).await.text(), "");
        assert_eq!(client.ask(post("/echo", "hello")).await.text(), "hello");
        assert_eq!(client.ask(chunked("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")).await.text(), "hello");
        assert_eq!(client.ask(chunked("0\r\nA: b\r\nC: d\r\n\r\n")).await.text(), "[A][C]");
        assert_eq!(client.ask(chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n")).await.text(), "hello[A]");
        for piece in chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n").as_bytes() {
            client.send([*piece]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response().await.text(), "hello[A]");
        // The first question asks for it; who sent it all the same is not asked.
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 100);
        client.send("hello").await;
        assert_eq!(client.response().await.text(), "hello");
        let large = "x".repeat(3_000_000);
        assert!(client.ask(post("/echo", &large)).await.text() == large);
        drop(client);
        let recorder = rig.finish().await;
        let bytes: u64 = recorder.log().ended.iter().map(|ended| ended.request_bytes).sum();
        assert_eq!(bytes, 5 * 5 + 3_000_000);
    });
}

/// Nothing is asked for that a handler does not read, and the connection ends with the answer: what follows is ambiguous.
#[test]
fn content_that_nobody_reads_is_not_asked_for() {
    run(async {
        let rig = Rig::start(&config());
        for target in ["/hello", "/fails", "/nothing"] {
            let mut client = rig.client().await;
            client
                .send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
                .await;
            let response = client.response().await;
            assert_eq!(response.status(), if target == "/hello" { 200 } else { 500 });
            assert!(response.says_close());
            assert_eq!(client.end().await, End::Fin);
        }
        rig.finish().await;
    });
}

#[test]
fn content_that_nobody_reads_is_dropped_up_to_a_bound() {
    run(async {
        let rig = Rig::start(&config());
        let mut client = rig.client().await;
        assert_eq!(client.ask(post("/hello", &"x".repeat(90_000))).await.text(), "hello");
        assert_eq!(client.ask(get("/hello")).await.text(), "hello", "the connection goes on");
        // One that is longer costs the connection, but not the answer.
        client.send("POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "hello");
        while client.try_send(vec![b'x'; 10_000]).await {}
        drop(client);
        let closed = rig.recorder.until_closed(Side::Downstream, 1).await;
        assert_eq!(closed.reason, CloseReason::EarlyResponse);
        assert!(closed.bytes_in < 1_000_000, "{} bytes were read", closed.bytes_in);
        rig.finish().await;
    });
}

#[test]
fn responses_in_pieces() {
    run(async {
        for (version, framing) in [("1.1", Framing::Chunked), ("1.0", Framing::UntilClose)] {
            let rig = Rig::start(&config());
            let mut client = rig.client().await;
            client.send(format!("GET /pieces HTTP/{version}\r\nHost: a\r\n\r\n")).await;
            let head = client.head().await.unwrap();
            assert_eq!(head.response_framing("GET"), framing);
            let mut body = Vec::new();
            let watch = |piece: &[u8]| {
                body.extend_from_slice(piece);
                if body == b"one" {
                    rig.server.handler().go.notify_one();
                }
            };
            client.content(framing, watch).await.unwrap();
            assert_eq!(body, b"onetwo");
            drop(client);
            rig.finish().await;
        }
    });
}

/// The response begins before the request has come.
#[test]
fn both_directions_at_once() {
    run(async {
        let rig = Rig::start(&config());
        let mut client = rig.client().await;
        client.send("POST /both HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        assert_eq!(client.head().await.unwrap().status(), 200);
        for piece in ["2\r\nhe\r\n", "3\r\nllo\r\n", "0\r\n\r\n"] {
            client.send(piece).await;
            let mut got = Vec::new();
            while got.len() < piece.len() {
                got.extend(client.take().await.unwrap());
            }
            assert_eq!(got, piece.as_bytes());
        }
        assert_eq!(client.ask(get("/hello")).await.text(), "hello");
        drop(client);
        rig.finish().await;
    });
}

/// What a handler leaves undone, or undoes: the client is told, or sees that something is missing.
#[test]
fn what_a_handler_leaves_undone() {
    // The target; the status and cause, if it can be told; whether the connection ends, and why.
    let table = [
        ("/nothing", Some((500, "no-response")), None),
        ("/fails", Some((500, "my-reason")), None),
        ("/panics", Some((500, "handler-panicked")), Some("handler-panicked")),
        ("/half", None, Some("handler-failed")),
        ("/half-fails", None, Some("handler-failed")),
        ("/half-panics", None, Some("handler-panicked")),
        ("/half-chunked", None, Some("handler-failed")),
        ("/too-long", None, Some("handler-failed")),
        ("/too-short", None, Some("handler-failed")),
    ];
    run(async {
        for (target, told, ends) in table {
            for request in [get(target), post(target, "hello")] {
                let rig = Rig::start(&config());
                let mut client = rig.client().await;
                client.send(&request).await;
                match told {
                    Some((status, cause)) => {
                        let response = client.response().await;
                        assert_eq!((response.status(), response.cause()), (status, Some(cause)), "{target}");
                        assert_eq!(response.says_close(), ends.is_some(), "{target}");
                    }
                    None => {
                        let cut = client.try_response_to("GET").await.unwrap_err();
                        assert_eq!((cut.head.map(|head| head.status()), cut.end), (Some(200), End::Fin), "{target}");
                    }
                }
                match ends {
                    None => assert_eq!(client.ask(get("/hello")).await.text(), "hello", "{target}"),
                    Some(_) => assert_eq!(client.end().await, End::Fin, "{target}"),
                }
                drop(client);
                let closed = rig.recorder.until_closed(Side::Downstream, 1).await;
                assert_eq!(closed.reason.label(), ends.unwrap_or("peer-closed"), "{target}");
                let ended = rig.recorder.until_ended(1).await;
                let outcome = if told.is_some() { Outcome::Answered(MadeBy::Us) } else { Outcome::Reset };
                assert_eq!((ended.outcome, ended.error.is_some()), (outcome, true), "{target}");
                rig.finish().await;
            }
        }
    });
}

/// HTTP/1.0 sees the end of a response by the connection's end alone: one that is not whole ends with a reset.
#[test]
fn what_is_left_undone_of_a_response_until_the_end() {
    run(async {
        let rig = Rig::start(&config());
        let mut client = rig.client().await;
        client.send("GET /half-chunked HTTP/1.0\r\n\r\n").await;
        // The reset may come before what was sent of it is read.
        match client.head().await {
            Ok(head) => {
                let ended = client.content(head.response_framing("GET"), |_| ()).await;
                assert_eq!(ended, Err(End::Reset));
            }
            Err(cut) => assert_eq!(cut.end, End::Reset),
        }
        rig.finish().await;
    });
}

/// The process goes down in the middle of it all: what was sent of such a response must not look whole then either.
#[test]
fn a_runtime_that_goes_down_cuts_responses_off() {
    run(async {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let rig = runtime.spawn(async { Rig::start(&config()) }).await.unwrap();
        let mut client = Wire::connect(rig.address).await;
        client.send("GET /pieces HTTP/1.0\r\n\r\n").await;
        let head = client.head().await.unwrap();
        let (mut runtime, mut body) = (Some(runtime), Vec::new());
        let go_down = |piece: &[u8]| {
            body.extend_from_slice(piece);
            if let Some(runtime) = runtime.take_if(|_| body == b"one") {
                runtime.shutdown_background();
            }
        };
        assert_eq!(client.content(head.response_framing("GET"), go_down).await, Err(End::Reset));
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason, CloseReason::Cancelled);
        rig.recorder.check_laws();
    });
}

/// After the last byte of a response, nothing that happens can touch it.
#[test]
fn what_a_handler_does_after_its_response() {
    run(async {
        for (target, text, reason) in [
            ("/twice", "once", "peer-closed"),
            ("/fails-after", "once", "peer-closed"),
            ("/half-answer", "helloworld", "peer-closed"),
            ("/panics-after", "once", "handler-panicked"),
        ] {
            let rig = Rig::start(&config());
            let mut client = rig.client().await;
            assert_eq!(client.ask(get(target)).await.text(), text);
            if reason == "peer-closed" {
                assert_eq!(client.ask(get("/hello")).await.text(), "hello", "{target}");
            } else {
                assert_eq!(client.end().await, End::Fin, "{target}");
            }
            drop(client);
            assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), reason, "{target}");
            let ended = rig.recorder.until_ended(1).await;
            assert_eq!((ended.status, ended.outcome), (200, Outcome::Answered(MadeBy::Origin)), "{target}");
            rig.finish().await;
        }
    });
}

/// A panic is its connection's trouble and nobody else's.
#[test]
fn a_panic_harms_nobody_else() {
    run(async {
        let rig = Rig::start(&config());
        let mut other = rig.client().await;
        other.send(get("/pieces")).await;
        let head = other.head().await.unwrap();
        for _ in 0..3 {
            assert_eq!(rig.client().await.ask(get("/panics")).await.status(), 500);
        }
        rig.server.handler().go.notify_one();
        let mut body = Vec::new();
        other.content(head.response_framing("GET"), |piece| body.extend_from_slice(piece)).await.unwrap();
        assert_eq!(body, b"onetwo");
        drop(other);
        rig.finish().await;
    });
}

#[test]
fn a_handler_that_hangs_meets_the_exchanges_deadline() {
    run(async {
        let rig = Rig::start(&ServerConfig { exchange_timeout: Some(Duration::from_millis(50)), ..config() });
        let mut client = rig.client().await;
        let response = client.ask(get("/hangs")).await;
        assert_eq!(
            (response.status(), response.cause(), response.says_close()),
            (504, Some("exchange-timeout"), false)
        );
        assert_eq!(client.ask(get("/hello")).await.text(), "hello");
        client.send(get("/half-hangs")).await;
        assert_eq!(client.try_response_to("GET").await.unwrap_err().end, End::Fin);
        drop(client);
        let closed = rig.recorder.until_closed(Side::Downstream, 1).await;
        assert_eq!(closed.reason.label(), "timeout-exchange");
        rig.finish().await;
    });
}

/// A client that takes nothing, and one that is gone, while a handler writes.
#[test]
fn a_handler_is_told_that_nobody_takes_what_it_writes() {
    run(async {
        let rig = Rig::start(&ServerConfig { write_timeout: Duration::from_millis(50), ..config() });
        let client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send(get("/large")).await;
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 1).await.reason.label(), "timeout-write");
        drop(client);
        let client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send(get("/large")).await;
        rig.recorder.until(|log| (log.opened_on(Side::Downstream) == 2).then_some(())).await;
        client.reset();
        assert_eq!(rig.recorder.until_closed(Side::Downstream, 2).await.reason.label(), "peer-reset");
        let log = rig.finish().await;
        assert!(log.log().ended.iter().all(|ended| ended.outcome == Outcome::Reset && ended.error.is_some()));
    });
}

/// Content that a client does not send, or not in a readable way, while a handler waits for it.
#[test]
fn a_handler_is_told_that_its_client_failed() {
    run(async {
        let mut late = config();
        late.connection.timeouts.body = Duration::from_millis(50);
        let rig = Rig::start(&late);
        let request = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        // What comes then; the answer, and the reason.
        for (number, (rest, told, reason)) in [
            ("", Some((408, "timeout-body")), "timeout-body"),
            ("x", Some((400, "invalid-chunk-size")), "protocol-error"),
            ("fin", Some((400, "truncated-body")), "truncated"),
            ("reset", None, "peer-reset"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut client = rig.client().await;
            client.send(request).await;
            match rest {
                "fin" => client.fin(),
                "reset" => {
                    rig.recorder.until(|log| (log.moved.len() > number * 2).then_some(())).await;
                    client.reset();
                    client = rig.client().await;
                }
                rest => client.send(rest).await,
            }
            if let Some((status, cause)) = told {
                let response = client.response().await;
                assert_eq!((response.status(), response.cause(), response.says_close()), (status, Some(cause), true));
                assert_eq!(client.end().await, End::Fin);
            }
            drop(client);
            assert_eq!(rig.recorder.until_reason(Side::Downstream, reason).await.reason.label(), reason);
        }
        rig.finish().await;
    });
}

/// Whose deadline passed is known by which comes first, not by a look at the clock that lies back.
#[test]
fn a_late_client_is_blamed_whatever_time_the_relay_thinks_it_is() {
    run(async {
        let mut late = config();
        late.connection.timeouts.body = Duration::from_millis(50);
        let rig = Rig::start(&late);
        let mut client = rig.client().await;
        client.send("POST /stale HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status(), response.cause()), (408, Some("timeout-body")));
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    run(async {
        let mut few = config();
        few.connection.max_requests = 3;
        let rig = Rig::start(&few);
        let mut client = rig.client().await;
        for number in 1..=3 {
            assert_eq!(client.ask(get("/hello")).await.says_close(), number == 3);
        }
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        let (_, closed) = (rig.address, rig.recorder.until_closed(Side::Downstream, 1).await);
        assert_eq!((closed.reason, closed.exchanges), (CloseReason::MaxRequests, 3));
        rig.finish().await;
    });
}
