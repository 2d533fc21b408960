//! tower's layers on the client.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use sheave_client::client::Client;
use sheave_client::failure::Error;
use sheave_lifecycle::retry::{RetryPolicy, Sent};
use sheave_tower::client::ClientService;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::retry::{Policy, RetryLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Far beyond what any test takes.
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs") });
}

/// An origin that does with each connection what `serve` does; the number tells which it is, from 0.
async fn origin<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(usize, BufReader<TcpStream>) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, BufReader::new(stream)));
        }
    });
    address
}

/// Reads a request without content; whether there was one.
async fn has_request(stream: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn request(method: Method, address: SocketAddr) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(format!("http://{address}/")).body(Full::default()).unwrap()
}

async fn text<B: http_body::Body<Error: std::fmt::Debug>>(response: Response<B>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Sends again what is safe to be sent again, as the client's own error says.
#[derive(Clone)]
struct Safely(usize);

impl<B: Clone, R> Policy<Request<B>, R, Error> for Safely {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<B>, result: &mut Result<R, Error>) -> Option<Self::Future> {
        let is_safe = result.as_ref().is_err_and(Error::is_safe_to_retry);
        self.0 = self.0.checked_sub(1).filter(|_| is_safe)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        let mut clone = Request::new(request.body().clone());
        (*clone.method_mut(), *clone.uri_mut()) = (request.method().clone(), request.uri().clone());
        Some(clone)
    }
}

#[test]
fn retries_ask_the_error() {
    run(async {
        // Every second connection is closed without an answer.
        let address = origin(async |number: usize, mut stream: BufReader<TcpStream>| {
            while has_request(&mut stream).await && number % 2 == 1 {
                stream.write_all(OK).await.unwrap();
            }
        });
        let address = address.await;
        let none = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
        let client = Client::builder().retry(none).max_idle_per_host(0).build().unwrap();
        let service = RetryLayer::new(Safely(1)).layer(ClientService::new(client.clone()));
        let response = service.clone().oneshot(request(Method::GET, address)).await.unwrap();
        assert_eq!(text(response).await, "ok");
        let error = service.clone().oneshot(request(Method::POST, address)).await.unwrap_err();
        assert_eq!((error.label(), error.request_was_sent()), ("upstream-closed", Sent::Maybe));
        assert_eq!(client.pool_stats().busy, 0);
    });
}

#[test]
fn a_concurrency_limit_limits() {
    run(async {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Semaphore::new(0));
        let address = origin({
            let (now, most, gate) = (now.clone(), most.clone(), gate.clone());
            move |_, mut stream| {
                let (now, most, gate) = (now.clone(), most.clone(), gate.clone());
                async move {
                    while has_request(&mut stream).await {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        now.fetch_sub(1, Ordering::SeqCst);
                        stream.write_all(OK).await.unwrap();
                    }
                }
            }
        });
        let address = address.await;
        let client = Client::new();
        let service = ServiceBuilder::new().concurrency_limit(2).service(ClientService::new(client.clone()));
        let calls: Vec<_> = (0..6)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move {
                    let response = service.oneshot(request(Method::GET, address)).await.unwrap();
                    assert_eq!(text(response).await, "ok");
                })
            })
            .collect();
        while now.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.pool_stats().busy, 2);
        gate.add_permits(6);
        for call in calls {
            call.await.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!(client.pool_stats().busy, 0);
    });
}

#[test]
fn a_timeout_leaves_nothing_behind() {
    run(async {
        let address = origin(async |_, mut stream: BufReader<TcpStream>| while has_request(&mut stream).await {}).await;
        let client = Client::new();
        let service =
            ServiceBuilder::new().timeout(Duration::from_millis(20)).service(ClientService::new(client.clone()));
        for _ in 0..3 {
            let error = service.clone().oneshot(request(Method::GET, address)).await.unwrap_err();
            assert!(error.is::<tower::timeout::error::Elapsed>(), "{error}");
            let stats = client.pool_stats();
            assert_eq!((stats.busy, stats.idle, stats.waiting), (0, 0, 0));
        }
    });
}
