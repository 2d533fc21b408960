//! Services of any kind, and clients of others.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use kit::{Rig, run};
use sheave_server::body::RequestBody;
use sheave_server::server::Server;
use sheave_tower::handler::ServiceHandler;
use sheave_tower::serve;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, service_fn};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[test]
fn a_function_is_a_service() {
    run(async {
        let service = service_fn(async |request: Request<RequestBody>| {
            let body = request.into_body().bytes(1000).await?;
            Ok::<_, BoxError>(Response::new(Full::new(body)))
        });
        let rig = Rig::start(ServiceHandler::new(service));
        let client = reqwest::Client::new();
        let answer = client.post(rig.url("/")).body("hello").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "hello");
        // An error is a 500 by name; what it says is nobody's business.
        let answer = client.post(rig.url("/")).body(vec![0; 2000]).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["sheave-error"]),
            (500, &"service-failed".parse().unwrap())
        );
        drop(client);
        rig.finish().await;
    });
}

/// Ready only once; a service that is called without having been ready panics.
#[derive(Clone)]
struct Particular {
    is_ready: bool,
    refuses: Arc<AtomicBool>,
}

impl Service<Request<RequestBody>> for Particular {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = Ready<Result<Self::Response, &'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if self.refuses.load(Ordering::Relaxed) {
            return Poll::Ready(Err("out of order"));
        }
        if !std::mem::replace(&mut self.is_ready, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        assert!(std::mem::replace(&mut self.is_ready, false), "called without having been ready");
        ready(Ok(Response::new(Full::from("ready"))))
    }
}

#[test]
fn readiness_is_respected() {
    run(async {
        let refuses = Arc::new(AtomicBool::new(false));
        let rig = Rig::start(ServiceHandler::new(Particular { is_ready: false, refuses: refuses.clone() }));
        for _ in 0..3 {
            assert_eq!(reqwest::get(rig.url("/")).await.unwrap().text().await.unwrap(), "ready");
        }
        refuses.store(true, Ordering::Relaxed);
        let answer = reqwest::get(rig.url("/")).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["sheave-error"]),
            (500, &"service-not-ready".parse().unwrap())
        );
        rig.finish().await;
    });
}

#[test]
fn a_limit_on_concurrency_counts_over_connections() {
    run(async {
        let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, counted) = (most.clone(), now);
        let service = ConcurrencyLimitLayer::new(2).layer(service_fn(move |_: Request<RequestBody>| {
            let (seen, counted) = (seen.clone(), counted.clone());
            async move {
                seen.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                counted.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
            }
        }));
        let rig = Rig::start(ServiceHandler::new(service));
        let asking = (0..20).map(|_| {
            let url = rig.url("/");
            tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await.unwrap() })
        });
        for asked in asking.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap(), "done");
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        rig.finish().await;
    });
}

/// hyper's client, which does all that HTTP/1.1 allows.
#[test]
fn a_client_of_hyper() {
    run(async {
        let service = service_fn(async |request: Request<RequestBody>| {
            let wants_trailers = request.uri().path() == "/trailers";
            let whole = request.into_body().collect().await?;
            let said = whole.trailers().and_then(|trailers| trailers.get("x-end")).cloned();
            let data = whole.to_bytes();
            let mut frames = vec![Ok::<_, Infallible>(http_body::Frame::data(data))];
            if wants_trailers {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-end", said.unwrap_or_else(|| "none".parse().unwrap()));
                frames.push(Ok(http_body::Frame::trailers(trailers)));
            }
            Ok::<_, BoxError>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
        });
        let rig = Rig::start(ServiceHandler::new(service));
        let stream = TcpStream::connect(rig.address).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        for path in ["/", "/trailers"] {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "over".parse().unwrap());
            let frames = [
                http_body::Frame::data(Bytes::from_static(b"one")),
                http_body::Frame::data(Bytes::from_static(b"two")),
                http_body::Frame::trailers(trailers.clone()),
            ];
            let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
            let request = Request::post(path)
                .header("host", "a")
                .header("te", "trailers")
                .header("trailer", "x-end")
                .body(body)
                .unwrap();
            client.ready().await.unwrap();
            let whole = client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
            assert_eq!(whole.trailers(), (path == "/trailers").then_some(&trailers));
            assert_eq!(whole.to_bytes(), "onetwo");
        }
        drop(client);
        connection.await.unwrap().unwrap();
        rig.finish().await;
    });
}

/// What users of `axum::serve` do, word for word but for the first.
#[test]
fn serving_as_axum_does() {
    run(async {
        let (stop, stopped) = oneshot::channel::<()>();
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begin, wait) = (began.clone(), go.clone());
        let app = Router::new().route("/", get(async || "well")).route(
            "/waits",
            post(async move |body: String| {
                begin.notify_one();
                wait.notified().await;
                body
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(
            serve(listener, app)
                .configure(|server| server.max_connections(10))
                .configure(|server| server.idle_timeout(Duration::from_secs(20)))
                .with_graceful_shutdown(async {
                    let _ = stopped.await;
                })
                .into_future(),
        );
        let client = reqwest::Client::new();
        assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "well");
        let waiting = tokio::spawn(client.post(format!("{url}/waits")).body("to the end").send());
        began.notified().await;
        stop.send(()).unwrap();
        go.notify_one();
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!(answer.text().await.unwrap(), "to the end");
        let report = serving.await.unwrap().unwrap();
        assert_eq!((report.forced, report.lost), (0, 0));
        assert!(client.get(&url).send().await.is_err(), "nobody listens");
    });
}

#[test]
fn a_wrong_knob_is_told() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = serve(listener, Router::<()>::new()).configure(|server| server.max_connections(0)).await;
        assert_eq!(served.unwrap_err().to_string(), "the server cannot be built");
    });
}

#[test]
fn an_axum_app_on_cores() {
    run(async {
        let app = Router::new().route("/", get(async || "well"));
        let server = Server::builder().build(ServiceHandler::new(app)).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve_on_cores(2, [listener]).await }
        });
        for _ in 0..4 {
            assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), "well");
        }
        server.drain().await;
        assert_eq!(serving.await.unwrap().unwrap().lost, 0);
    });
}

#[cfg(feature = "hyper")]
#[test]
fn a_service_of_hypers_trait() {
    use sheave_tower::hyper_service::HyperService;

    /// Counts, as one that is shared.
    struct Counting(AtomicUsize);

    impl hyper::service::Service<Request<RequestBody>> for Counting {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn call(&self, _: Request<RequestBody>) -> Self::Future {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(Response::new(Full::from(count.to_string()))) })
        }
    }

    run(async {
        let service = HyperService(Arc::new(Counting(AtomicUsize::new(0))));
        let rig = Rig::start(ServiceHandler::new(service));
        for expected in ["0", "1"] {
            assert_eq!(reqwest::get(rig.url("/")).await.unwrap().text().await.unwrap(), expected);
        }
        rig.finish().await;
    });
}
