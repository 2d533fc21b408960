//! The same app of axum's over both versions, with and without TLS, asked by hyper's client: extractors, files, limits and
//! layers say the same whichever way the request came.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Form, Multipart, Path, Query, State};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::run;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use sheave_net::into_listener::IntoListener;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::certificate::Identity;
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::listener::TlsListener;
use sheave_net::tls::server::{ServerSettings, ServerTls};
use sheave_server::connection_info::ConnectionInfo;
use sheave_server::server::Server;
use sheave_tower::handler::ServiceHandler;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

fn app() -> Router {
    let count = Arc::new(AtomicUsize::new(0));
    let limited = Router::new()
        .route("/limited", post(async |text: String| text).layer(DefaultBodyLimit::max(10)))
        .route("/cut", post(async |text: String| text).layer(RequestBodyLimitLayer::new(10)));
    let packed =
        Router::new().route("/packed", get(async || "over and over ".repeat(500))).layer(CompressionLayer::new());
    let timed = Router::new()
        .route("/slow", get(std::future::pending::<()>))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(20)));
    Router::new()
        .route("/version", get(async |version: Version| format!("{version:?}")))
        .route(
            "/path/{name}/{number}",
            get(async |Path((name, number)): Path<(String, u32)>| format!("{name} {number}")),
        )
        .route("/query", get(async |Query(query): Query<HashMap<String, String>>| query["a"].clone()))
        .route("/json", post(async |Json(value): Json<Value>| Json(json!({ "had": value }))))
        .route("/form", post(async |Form(form): Form<HashMap<String, String>>| form["a"].clone()))
        .route("/multipart", post(multipart))
        .route(
            "/count",
            get(async |State(count): State<Arc<AtomicUsize>>| count.fetch_add(1, Ordering::Relaxed).to_string()),
        )
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
        .route("/secured", get(async |Extension(info): Extension<ConnectionInfo>| info.secured.is_some().to_string()))
        .route("/events", get(async || Sse::new(stream::iter([1, 2].map(event)))))
        .route("/echo", post(async |body: Body| body))
        .merge(limited)
        .merge(packed)
        .merge(timed)
        .nest_service("/files", ServeDir::new(SOURCES))
        .layer(TraceLayer::new_for_http())
        .with_state(count)
}

fn event(number: u32) -> Result<Event, Infallible> {
    Ok(Event::default().data(number.to_string()))
}

async fn multipart(mut multipart: Multipart) -> String {
    let mut seen = String::new();
    while let Some(field) = multipart.next_field().await.unwrap() {
        seen += &format!("{}={} ", field.name().unwrap().to_owned(), field.text().await.unwrap());
    }
    seen
}

/// How requests come.
#[derive(Clone, Copy, Debug)]
struct Way {
    version: Version,
    has_tls: bool,
}

const WAYS: [Way; 4] = [
    Way { version: Version::HTTP_11, has_tls: false },
    Way { version: Version::HTTP_2, has_tls: false },
    Way { version: Version::HTTP_11, has_tls: true },
    Way { version: Version::HTTP_2, has_tls: true },
];

/// A connection of hyper's client.
enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    async fn connect(way: Way, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        if !way.has_tls {
            return Self::over(way, stream).await;
        }
        let alpn = if way.version == Version::HTTP_2 { Alpn::Http2 } else { Alpn::Http1 };
        let settings = ClientSettings { alpn: vec![alpn], ..ClientSettings::new(Trust::AnybodyInsecurely) };
        let mut stream = ClientTls::new(&settings).unwrap().connect(stream, &"localhost".parse().unwrap());
        poll_fn(|cx| stream.poll_handshake(cx)).await.unwrap();
        Self::over(way, stream).await
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(way: Way, stream: S) -> Self {
        let stream = TokioIo::new(stream);
        if way.version == Version::HTTP_2 {
            let (client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            return Self::Http2(client);
        }
        let (client, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(client)
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        match self {
            Self::Http1(client) => {
                client.ready().await.unwrap();
                client.send_request(request).await.unwrap()
            }
            Self::Http2(client) => client.send_request(request).await.unwrap(),
        }
    }
}

/// What is asked, and what is expected: a status, a field, and the content.
struct Case {
    ask: (Method, &'static str, &'static [(&'static str, &'static str)], &'static str),
    status: u16,
    field: Option<(&'static str, &'static str)>,
    content: Option<&'static str>,
}

const fn case(method: Method, path: &'static str, status: u16, content: &'static str) -> Case {
    Case { ask: (method, path, &[], ""), status, field: None, content: Some(content) }
}

const fn sending(
    path: &'static str,
    content_type: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Case {
    Case { ask: (Method::POST, path, content_type, body), status: 200, field: None, content: None }
}

const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; \
                    name=\"b\"; filename=\"f\"\r\n\r\ntwo\r\n--x--\r\n";

/// All that is the same on every way; each way's own comes on top.
fn cases() -> Vec<Case> {
    vec![
        case(Method::GET, "/path/b%20c/5", 200, "b c 5"),
        Case { content: None, ..case(Method::GET, "/path/b/none", 400, "") },
        case(Method::GET, "/query?a=1%2B1&b=2", 200, "1+1"),
        case(Method::GET, "/peer", 200, "127.0.0.1"),
        case(Method::GET, "/nowhere", 404, ""),
        case(Method::POST, "/query", 405, ""),
        case(Method::GET, "/slow", 408, ""),
        Case {
            content: Some(r#"{"had":{"x":[1,null]}}"#),
            field: Some(("content-type", "application/json")),
            ..sending("/json", &[("content-type", "application/json")], r#"{"x":[1,null]}"#)
        },
        Case { status: 400, ..sending("/json", &[("content-type", "application/json")], "{") },
        Case { status: 415, ..sending("/json", &[], "{}") },
        Case {
            content: Some("b c"),
            ..sending("/form", &[("content-type", "application/x-www-form-urlencoded")], "a=b+c")
        },
        Case {
            content: Some("a=1 b=two "),
            ..sending("/multipart", &[("content-type", "multipart/form-data; boundary=x")], FORM)
        },
        Case {
            field: Some(("content-type", "text/event-stream")),
            ..case(Method::GET, "/events", 200, "data: 1\n\ndata: 2\n\n")
        },
        Case { content: Some("all of it"), ..sending("/echo", &[], "all of it") },
        Case { content: Some("ten bytes!"), ..sending("/limited", &[], "ten bytes!") },
        Case { status: 413, ..sending("/limited", &[], "eleven byte") },
        Case { content: Some("ten bytes!"), ..sending("/cut", &[], "ten bytes!") },
        Case { status: 413, ..sending("/cut", &[], "eleven byte") },
        Case {
            ask: (Method::GET, "/packed", &[("accept-encoding", "gzip")], ""),
            status: 200,
            field: Some(("content-encoding", "gzip")),
            content: None,
        },
        Case {
            ask: (Method::GET, "/files/lib.rs", &[("range", "bytes=0-2")], ""),
            status: 206,
            field: Some(("content-length", "3")),
            content: Some("//!"),
        },
        Case {
            ask: (Method::GET, "/files/lib.rs", &[("range", "bytes=9999999-")], ""),
            status: 416,
            field: None,
            content: None,
        },
        Case { field: Some(("content-length", "5")), ..case(Method::HEAD, "/path/a/123", 200, "") },
        case(Method::GET, "/files/../Cargo.toml", 404, ""),
    ]
}

async fn ask_all(way: Way, address: SocketAddr) {
    let mut client = Client::connect(way, address).await;
    let base = format!("{}://localhost", if way.has_tls { "https" } else { "http" });
    let (version, secured) = (format!("{:?}", way.version), way.has_tls.to_string());
    let mut number = 0;
    let own = [("/version", version), ("/secured", secured), ("/count", "0".to_owned()), ("/count", "1".to_owned())];
    let own = own.map(|(path, content)| (case(Method::GET, path, 200, ""), Some(content)));
    for (case, content) in cases().into_iter().map(|case| (case, None)).chain(own) {
        let (method, path, fields, body) = case.ask;
        // In HTTP/1 the target is a path, and the host a field.
        let uri = if way.version == Version::HTTP_2 { format!("{base}{path}") } else { path.to_owned() };
        let mut request = Request::builder().method(&method).uri(uri);
        if way.version != Version::HTTP_2 {
            request = request.header("host", "localhost");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = client.ask(request.body(Full::from(body)).unwrap()).await;
        let what = format!("{method} {path} over {way:?}");
        assert_eq!((answer.status().as_u16(), answer.version()), (case.status, way.version), "{what}");
        assert!(answer.headers().contains_key("date"), "{what}");
        if let Some((name, value)) = case.field {
            assert_eq!(answer.headers()[name], value, "{what}");
        }
        let heard = answer.into_body().collect().await.unwrap().to_bytes();
        if let Some(content) = content.as_deref().or(case.content) {
            assert_eq!(String::from_utf8_lossy(&heard), content, "{what}");
        }
        number += 1;
    }
    assert!(number > 20);
}

#[test]
fn an_app_is_the_same_over_both_versions_with_and_without_tls() {
    run(async {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let identity = Identity::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
        let settings = ServerSettings { alpn: vec![Alpn::Http2, Alpn::Http1], ..ServerSettings::new(vec![identity]) };
        let tls = ServerTls::new(&settings).unwrap();
        for way in WAYS {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let listener = TlsListener::new(listener.into_listener().unwrap(), way.has_tls.then(|| tls.clone()));
            let handler = ServiceHandler::new(app()).with_connect_info(ConnectInfo::<SocketAddr>);
            let server = Server::builder().build(handler).unwrap();
            let serving = tokio::spawn({
                let server = server.clone();
                async move { server.serve(listener).await }
            });
            ask_all(way, address).await;
            let report = server.drain().await;
            assert_eq!(serving.await.unwrap(), report);
            assert_eq!((report.forced, report.lost), (0, 0), "{way:?}");
        }
    });
}
