//! What axum and tower-http document, through our server.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Form, MatchedPath, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router};
use futures_util::{StreamExt, stream};
use kit::{Rig, run};
use sheave_server::connection_info::ConnectionInfo;
use sheave_server::server::Server;
use sheave_tower::handler::ServiceHandler;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

fn start(app: Router) -> Rig<ServiceHandler<Router>> {
    Rig::start(ServiceHandler::new(app).with_connect_info(ConnectInfo::<SocketAddr>))
}

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
struct Pair {
    name: String,
    number: u32,
}

#[test]
fn extractors() {
    run(async {
        let app = Router::new()
            .route(
                "/path/{name}/{number}",
                get(async |Path((name, number)): Path<(String, u32)>| format!("{name} {number}")),
            )
            .route("/query", get(async |Query(query): Query<HashMap<String, String>>| query["a"].clone()))
            .route("/json", post(async |Json(pair): Json<Pair>| Json(Pair { number: pair.number + 1, ..pair })))
            .route("/form", post(async |Form(pair): Form<Pair>| format!("{} {}", pair.name, pair.number)))
            .route(
                "/state",
                get(async |State(count): State<Arc<AtomicUsize>>| count.fetch_add(1, Ordering::Relaxed).to_string()),
            )
            .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
            .route("/exchange", get(async |Extension(info): Extension<ConnectionInfo>| info.exchange.to_string()))
            .route("/matched/{x}", get(async |matched: MatchedPath| matched.as_str().to_owned()))
            .route("/headers", get(async |headers: HeaderMap| headers["x-one"].to_str().unwrap().to_owned()))
            .route("/text", post(async |text: String| text))
            .route("/redirect", get(async || Redirect::to("/path/x/1")))
            .route("/any", any(async |request: Request| request.method().to_string()))
            .fallback(async || (StatusCode::NOT_FOUND, "nothing here"))
            .with_state(Arc::new(AtomicUsize::new(7)));
        let rig = start(app);
        let client = reqwest::Client::new();
        let ask = async |path: &str| client.get(rig.url(path)).send().await.unwrap().text().await.unwrap();
        assert_eq!(ask("/path/b%20c/5").await, "b c 5");
        assert_eq!(ask("/query?a=1%2B1&b=2").await, "1+1");
        assert_eq!(ask("/state").await, "7");
        assert_eq!(ask("/state").await, "8");
        assert!(ask("/peer").await.starts_with("127.0.0.1:"));
        assert_eq!(ask("/exchange").await, "6", "one connection");
        assert_eq!(ask("/matched/y").await, "/matched/{x}");
        assert_eq!(ask("/redirect").await, "x 1");
        assert_eq!(ask("/nowhere").await, "nothing here");
        let pair = Pair { name: "n".to_owned(), number: 1 };
        let answer = client.post(rig.url("/json")).json(&pair).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.json::<Pair>().await.unwrap(), Pair { name: "n".to_owned(), number: 2 });
        let answer = client.post(rig.url("/json")).header("content-type", "application/json").body("{").send();
        assert_eq!(answer.await.unwrap().status(), 400);
        let form = client.post(rig.url("/form")).header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(form.body("name=f&number=3").send().await.unwrap().text().await.unwrap(), "f 3");
        let answer = client.get(rig.url("/headers")).header("x-one", "1").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "1");
        let large = "x".repeat(1_000_000);
        assert_eq!(
            client.post(rig.url("/text")).body(large.clone()).send().await.unwrap().text().await.unwrap(),
            large
        );
        assert_eq!(client.put(rig.url("/any")).send().await.unwrap().text().await.unwrap(), "PUT");
        assert_eq!(client.post(rig.url("/path/x/1")).send().await.unwrap().status(), 405);
        // HEAD is answered as GET is, without the content.
        let head = client.head(rig.url("/path/x/1")).send().await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"3".parse().unwrap()));
        assert_eq!(head.text().await.unwrap(), "");
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn server_sent_events_come_one_by_one() {
    run(async {
        let (say, said) = tokio::sync::mpsc::unbounded_channel::<u32>();
        let said = Arc::new(tokio::sync::Mutex::new(Some(said)));
        let app = Router::new().route(
            "/events",
            get(move || {
                let said = said.clone();
                async move {
                    let mut said = said.lock().await.take().unwrap();
                    let events = stream::poll_fn(move |cx| said.poll_recv(cx));
                    Sse::new(events.map(|number| Ok::<_, Infallible>(Event::default().data(number.to_string()))))
                }
            }),
        );
        let rig = start(app);
        let response = reqwest::get(rig.url("/events")).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = response.bytes_stream();
        for number in 1..=3 {
            say.send(number).unwrap();
            assert_eq!(events.next().await.unwrap().unwrap(), format!("data: {number}\n\n"));
        }
        drop(say);
        assert!(events.next().await.is_none());
        rig.finish().await;
    });
}

#[test]
fn multipart() {
    run(async {
        let app = Router::new().route(
            "/",
            post(async |mut multipart: Multipart| {
                let mut seen = Vec::new();
                while let Some(field) = multipart.next_field().await.unwrap() {
                    let name = field.name().unwrap().to_owned();
                    seen.push(format!("{name}={}", field.bytes().await.unwrap().len()));
                }
                seen.join(" ")
            }),
        );
        let rig = start(app.layer(DefaultBodyLimit::max(5_000_000)));
        let form = reqwest::multipart::Form::new()
            .text("a", "text")
            .part("b", reqwest::multipart::Part::bytes(vec![0; 3_000_000]).file_name("f"));
        let answer = reqwest::Client::new().post(rig.url("/")).multipart(form).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "a=4 b=3000000");
        rig.finish().await;
    });
}

#[test]
fn static_files() {
    run(async {
        let app = Router::new().fallback_service(ServeDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
        let rig = start(app);
        let own = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
        let client = reqwest::Client::new();
        let whole = client.get(rig.url("/lib.rs")).send().await.unwrap();
        assert_eq!(whole.headers()["content-length"], *own.len().to_string());
        let modified = whole.headers()["last-modified"].clone();
        assert_eq!(whole.text().await.unwrap(), own);
        let part = client.get(rig.url("/lib.rs")).header("range", "bytes=4-9").send().await.unwrap();
        assert_eq!((part.status().as_u16(), part.text().await.unwrap()), (206, own[4..10].to_owned()));
        let same = client.get(rig.url("/lib.rs")).header("if-modified-since", modified).send().await.unwrap();
        assert_eq!((same.status().as_u16(), same.text().await.unwrap()), (304, String::new()));
        let head = client.head(rig.url("/lib.rs")).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], *own.len().to_string());
        assert_eq!(client.get(rig.url("/none")).send().await.unwrap().status(), 404);
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn compression() {
    run(async {
        let text = "over and over again ".repeat(1000);
        let expected = text.clone();
        let app = Router::new().route("/", get(async move || text)).layer(CompressionLayer::new());
        let rig = start(app);
        let client = reqwest::Client::new();
        let plain = client.get(rig.url("/")).send().await.unwrap();
        assert_eq!(plain.headers().get("content-length").unwrap(), &*expected.len().to_string());
        assert_eq!(plain.text().await.unwrap(), expected);
        let packed = client.get(rig.url("/")).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(
            (&packed.headers()["content-encoding"], packed.headers().get("content-length")),
            (&"gzip".parse().unwrap(), None)
        );
        let packed = packed.bytes().await.unwrap();
        assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < expected.len() / 10);
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn limits_on_bodies() {
    run(async {
        let app = Router::new()
            .route("/axum", post(async |text: String| text).layer(DefaultBodyLimit::max(10)))
            .route("/tower", post(async |text: String| text).layer(RequestBodyLimitLayer::new(10)))
            .route("/ours", post(async |text: String| text));
        let server = Server::builder().max_body_bytes(Some(20)).build(ServiceHandler::new(app)).unwrap();
        let rig = Rig::serve(server);
        let client = reqwest::Client::new();
        for (path, max) in [("/axum", 10), ("/tower", 10), ("/ours", 20)] {
            let fits = "x".repeat(max);
            for is_stream in [false, true] {
                let ask = async |text: String| {
                    let body = match is_stream {
                        true => reqwest::Body::wrap_stream(stream::iter([Ok::<_, Infallible>(text)])),
                        false => text.into(),
                    };
                    client.post(rig.url(path)).body(body).send().await.unwrap().status().as_u16()
                };
                assert_eq!(ask(fits.clone()).await, 200, "{path} {is_stream}");
                assert_eq!(ask(format!("{fits}x")).await, 413, "{path} {is_stream}");
            }
        }
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn layers_and_middleware() {
    run(async {
        async fn mark(request: Request, next: Next) -> Response {
            let mut response = next.run(request).await;
            response.headers_mut().insert("x-marked", "yes".parse().unwrap());
            response
        }
        let app = Router::new()
            .route("/", get(async || "well"))
            .route("/slow", get(std::future::pending::<()>))
            .route("/panics", get(async || if true { panic!("a panic that a layer catches, on purpose") } else { "" }))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20)))
            .layer(CatchPanicLayer::new())
            .layer(TraceLayer::new_for_http())
            .layer(middleware::from_fn(mark));
        let rig = start(app);
        for (path, status) in [("/", 200), ("/slow", 408), ("/panics", 500)] {
            let answer = reqwest::get(rig.url(path)).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.headers()["x-marked"], "yes");
            assert_eq!(answer.headers().get("sheave-error"), None, "the service has answered");
        }
        rig.finish().await;
    });
}

/// A handler that panics is answered for, and nobody else notices.
#[test]
fn panics() {
    run(async {
        let app = Router::new()
            .route("/", get(async || "well"))
            .route("/panics", get(async || if true { panic!("a handler's panic, on purpose") } else { "" }));
        let rig = start(app);
        let client = reqwest::Client::new();
        for _ in 0..3 {
            assert_eq!(client.get(rig.url("/")).send().await.unwrap().text().await.unwrap(), "well");
            let answer = client.get(rig.url("/panics")).send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["sheave-error"]),
                (500, &"handler-panicked".parse().unwrap())
            );
            assert_eq!(answer.headers()["connection"], "close");
        }
        drop(client);
        rig.finish().await;
    });
}

/// A body that axum streams back while it is read, and one that it drops.
#[test]
fn bodies_are_streamed_both_ways() {
    run(async {
        let app = Router::new().route("/echo", post(async |body: Body| body)).route("/drops", post(async || "dropped"));
        let rig = start(app);
        let client = reqwest::Client::new();
        let (send, mut sending) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
        let body = stream::poll_fn(move |cx| sending.poll_recv(cx)).map(Ok::<_, Infallible>);
        let answer = client.post(rig.url("/echo")).body(reqwest::Body::wrap_stream(body)).send();
        send.send("first").unwrap();
        let mut echoed = answer.await.unwrap().bytes_stream();
        assert_eq!(echoed.next().await.unwrap().unwrap(), "first");
        send.send("second").unwrap();
        assert_eq!(echoed.next().await.unwrap().unwrap(), "second");
        drop(send);
        assert!(echoed.next().await.is_none());
        for _ in 0..2 {
            let answer = client.post(rig.url("/drops")).body(vec![0; 100_000]).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "dropped");
        }
        drop(client);
        rig.finish().await;
    });
}

/// What axum leaves out of a response to HEAD, 204 and 304, and what HTTP/1.0 is sent.
#[test]
fn responses_without_content() {
    run(async {
        let app = Router::new()
            .route("/204", get(async || StatusCode::NO_CONTENT))
            .route("/304", get(async || (StatusCode::NOT_MODIFIED, "never seen")))
            .route("/text", get(async || "text"))
            .route(
                "/stream",
                get(async || Body::from_stream(stream::iter([Ok::<_, Infallible>("one"), Ok("two")])).into_response()),
            );
        let rig = start(app);
        let ask = async |line: &str| {
            let text = rig.raw(format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
            let (head, content) = text.split_once("\r\n\r\n").unwrap();
            (head.to_lowercase(), content.to_owned())
        };
        let (head, content) = ask("GET /204 HTTP/1.1").await;
        assert!(!head.contains("content-length") && content.is_empty(), "{head}");
        let (head, content) = ask("GET /304 HTTP/1.1").await;
        assert!(head.contains("304 not modified") && content.is_empty(), "{head}");
        let (head, content) = ask("HEAD /text HTTP/1.1").await;
        assert!(head.contains("content-length: 4") && content.is_empty(), "{head}");
        let (head, content) = ask("HEAD /stream HTTP/1.1").await;
        assert!(!head.contains("content-length") && content.is_empty(), "{head}");
        let (head, content) = ask("GET /stream HTTP/1.1").await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert_eq!(content, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
        let (head, content) = ask("GET /stream HTTP/1.0").await;
        assert!(!head.contains("transfer-encoding") && content == "onetwo", "{head}");
        rig.finish().await;
    });
}
