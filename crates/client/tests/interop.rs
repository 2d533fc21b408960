//! The client against servers that others made: hyper in both versions and behind TLS, axum and its layers.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sheave_client::client::Client;
use sheave_client::content::Content;
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::certificate::{Identity, Roots};
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::{ServerSettings, ServerTls};
use tokio::net::TcpListener;

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Far beyond what any test takes.
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test hangs") });
}

type Frames = std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>;

/// A stream out of what is here.
struct Ready(Frames);

impl futures_core::Stream for Ready {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// Answers with the method and what came, and with the trailers that came.
async fn echo(request: Request<Incoming>) -> Result<Response<StreamBody<Ready>>, hyper::Error> {
    let (method, is_head) = (request.method().to_string(), *request.method() == Method::HEAD);
    let content = request.into_body().collect().await?;
    let mut frames = vec![Ok(Frame::data(Bytes::from(method)))];
    let trailers = content.trailers().cloned();
    frames.push(Ok(Frame::data(content.to_bytes())));
    frames.extend(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
    // In HTTP/2, hyper leaves it to its services that HEAD gets no content.
    frames.retain(|_| !is_head);
    let mut response = Response::new(StreamBody::new(Ready(frames.into_iter())));
    response.headers_mut().insert("trailer", "etag".parse().unwrap());
    Ok(response)
}

/// A hyper server that speaks both versions, behind TLS if that is given.
async fn hyper(tls: Option<ServerTls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(echo);
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // What the client closes is no matter here.
                let _ = match tls {
                    None => builder.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => {
                        let mut stream = tls.accept(stream);
                        if poll_fn(|cx| stream.poll_handshake(cx)).await.is_err() {
                            return;
                        }
                        builder.serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    address
}

async fn exchange_all(client: &Client, base: &str, version: Version, is_secured: bool) {
    for (turn, (method, content)) in
        [(Method::GET, ""), (Method::POST, "hello"), (Method::PUT, ""), (Method::DELETE, "")].into_iter().enumerate()
    {
        let response = client.request(method.clone(), format!("{base}/x")).version(version).body(content).send().await;
        let response = response.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (version, 200));
        assert_eq!(response.connection().is_reused, turn > 0, "{method}");
        assert_eq!(response.connection().secured.is_some(), is_secured);
        assert_eq!(response.text().await.unwrap(), format!("{method}{content}"));
    }
    let response = client.head(format!("{base}/x")).version(version).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), "");
    // More than fits into buffers and windows, of unknown length, with trailers behind it.
    let pieces = (0..64).map(|piece| Ok(Frame::data(Bytes::from(vec![piece; 64 * 1024])))).collect::<Vec<_>>();
    let trailers: HeaderMap = [(http::header::ETAG, "x".parse().unwrap())].into_iter().collect();
    let frames: Vec<_> = pieces.into_iter().chain([Ok(Frame::trailers(trailers))]).collect();
    let content = Content::of(StreamBody::new(Ready(frames.into_iter())));
    let sent = client.post(format!("{base}/x")).version(version).header("trailer", "etag").header("te", "trailers");
    let (bytes, trailers) = sent.body(content).send().await.unwrap().bytes_and_trailers().await.unwrap();
    assert_eq!(bytes.len(), 4 + 64 * 64 * 1024);
    assert!(bytes[4..].chunks(64 * 1024).enumerate().all(|(piece, bytes)| bytes.iter().all(|b| *b as usize == piece)));
    assert_eq!(trailers.unwrap()["etag"], "x");
}

#[test]
fn hyper_without_tls() {
    run(async {
        let base = format!("http://{}", hyper(None).await);
        let client = Client::new();
        exchange_all(&client, &base, Version::HTTP_11, false).await;
        exchange_all(&client, &base, Version::HTTP_2, false).await;
        assert_eq!(client.pool_stats().busy, 0);
    });
}

/// A server's side and its client's, by an issuer that nobody else knows.
fn secured(alpn: &[Alpn]) -> (ServerTls, ClientTls) {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    // Whom it calls itself: no two are the same issuer.
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{:?}", key.public_key_raw()));
    let (certificate, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let server = ServerSettings { alpn: alpn.to_vec(), ..ServerSettings::new(vec![identity]) };
    let trust = Trust::Roots(Roots::from_pem(certificate.as_bytes()).unwrap());
    (ServerTls::new(&server).unwrap(), ClientTls::new(&ClientSettings::new(trust)).unwrap())
}

#[test]
fn hyper_with_tls() {
    run(async {
        for (alpn, version) in [
            (&[Alpn::Http2, Alpn::Http1][..], Version::HTTP_2),
            (&[Alpn::Http1], Version::HTTP_11),
            (&[], Version::HTTP_11),
        ] {
            let (server, tls) = secured(alpn);
            let base = format!("https://localhost:{}", hyper(Some(server)).await.port());
            let client = Client::builder().tls(tls.clone()).build().unwrap();
            // What nobody says is the server's choice.
            let response = client.get(base.as_str()).send().await.unwrap();
            assert_eq!(response.version(), version, "{alpn:?}");
            let secured = response.connection().secured.clone().unwrap();
            assert_eq!((secured.version, secured.server_name.as_deref()), ("TLSv1.3", Some("localhost")));
            assert_eq!(response.text().await.unwrap(), "GET");
            if !alpn.is_empty() {
                let client = Client::builder().tls(tls).build().unwrap();
                exchange_all(&client, &base, version, true).await;
            }
        }
    });
}

#[test]
fn whom_nobody_believes_is_not_talked_to() {
    run(async {
        let (server, tls) = secured(&[Alpn::Http1]);
        let (_, other) = secured(&[Alpn::Http1]);
        let port = hyper(Some(server)).await.port();
        for (tls, host, label) in
            [(other, "localhost", "upstream-tls-unknown-issuer"), (tls, "127.0.0.1", "upstream-tls-name-mismatch")]
        {
            let client = Client::builder().tls(tls).build().unwrap();
            let error = client.get(format!("https://{host}:{port}/")).send().await.unwrap_err();
            assert_eq!((error.label(), error.is_connect(), error.is_safe_to_retry()), (label, true, true), "{error}");
        }
    });
}

/// A router on axum's own server.
async fn axum(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

#[test]
fn axum_takes_forms_and_queries() {
    run(async {
        type Pairs = Vec<(String, String)>;
        let app = Router::new()
            .route("/query", get(async |axum::extract::Query(pairs): axum::extract::Query<Pairs>| format!("{pairs:?}")))
            .route("/form", post(async |axum::Form(pairs): axum::Form<Pairs>| format!("{pairs:?}")));
        let base = axum(app).await;
        let client = Client::new();
        let pairs = [("a b", "c&d=e"), ("\u{e9}", "")];
        let expected = format!("{pairs:?}");
        let asked = client.get(format!("{base}/query")).query(&pairs).send().await.unwrap();
        assert_eq!(asked.error_for_status().unwrap().text().await.unwrap(), expected);
        let sent = client.post(format!("{base}/form")).form(&pairs).send().await.unwrap();
        assert_eq!(sent.text().await.unwrap(), expected);
        let missing = client.get(format!("{base}/none")).send().await.unwrap().error_for_status().unwrap_err();
        assert_eq!((missing.status().map(|it| it.as_u16()), missing.label()), (Some(404), "response-status"));
    });
}

#[cfg(feature = "json")]
#[test]
fn axum_takes_json() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Point {
        x: i32,
        y: Option<String>,
    }
    run(async {
        let app = Router::new()
            .route(
                "/",
                post(async |axum::Json(mut point): axum::Json<Point>| {
                    point.x += 1;
                    axum::Json(point)
                }),
            )
            .route("/none", get(async || "no JSON"));
        let base = axum(app).await;
        let client = Client::new();
        let sent = client.post(base.as_str()).json(&Point { x: 1, y: Some("z".to_owned()) }).send().await.unwrap();
        assert_eq!(sent.json::<Point>().await.unwrap(), Point { x: 2, y: Some("z".to_owned()) });
        let error = client.get(format!("{base}/none")).send().await.unwrap().json::<Point>().await.unwrap_err();
        assert_eq!((error.label(), error.is_decode()), ("response-json", true));
    });
}

/// What others encode is decoded, and what they are not asked for is left alone.
#[cfg(any(feature = "brotli", feature = "gzip", feature = "zstd"))]
#[test]
fn encoded_by_tower_http() {
    run(async {
        let text = "all work and no play ".repeat(10_000);
        let content = text.clone();
        let layer = tower_http::compression::CompressionLayer::new();
        let base = axum(Router::new().route("/", get(async move || content)).layer(layer)).await;
        let client = Client::new();
        for coding in [
            #[cfg(feature = "zstd")]
            "zstd",
            #[cfg(feature = "brotli")]
            "br",
            #[cfg(feature = "gzip")]
            "gzip",
        ] {
            let response = client.get(base.as_str()).header("accept-encoding", coding).send().await.unwrap();
            assert!(response.headers().get("content-encoding").is_none() && response.content_length().is_none());
            assert_eq!(response.text().await.unwrap(), text, "{coding}");
            let plain = Client::builder().decode(false).build().unwrap();
            let response = plain.get(base.as_str()).header("accept-encoding", coding).send().await.unwrap();
            assert_eq!(response.headers()["content-encoding"], coding);
            assert!(response.bytes().await.unwrap().len() < text.len() / 10);
        }
        // Without a word of the caller's, all that is known is asked for.
        let response = client.get(base.as_str()).send().await.unwrap();
        assert_eq!(response.bytes_up_to(text.len()).await.unwrap(), text);
        let error = client.get(base.as_str()).send().await.unwrap().bytes_up_to(text.len() - 1).await.unwrap_err();
        assert_eq!(error.label(), "response-too-large", "counted as it is decoded");
    });
}
