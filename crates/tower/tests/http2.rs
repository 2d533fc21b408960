//! Services over HTTP/2: the same as over HTTP/1, many at a time.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::{Rig, run};
use sheave_server::connection_info::ConnectionInfo;
use sheave_tower::handler::ServiceHandler;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

fn app() -> Router {
    Router::new()
        .route("/", get(async |version: Version| format!("{version:?}")))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
        .route("/exchange", get(async |Extension(info): Extension<ConnectionInfo>| info.exchange.to_string()))
        .route("/echo", post(async |body: Body| body))
        .route("/ignores", post(async || "ignored"))
        .route("/204", get(async || StatusCode::NO_CONTENT))
        .route("/panics", get(async || if true { panic!("a handler's panic, on purpose") } else { "" }))
}

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data: Send, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    client
}

#[test]
fn many_at_a_time_and_one_that_panics() {
    run(async {
        let rig = Rig::start(ServiceHandler::new(app()).with_connect_info(ConnectInfo::<SocketAddr>));
        let client = connect::<Full<Bytes>>(rig.address).await;
        let ask = async |path: &str, body: &'static str| {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let request = Request::builder().method(method).uri(rig.url(path)).body(Full::from(body)).unwrap();
            let (parts, body) = client.clone().send_request(request).await.unwrap().into_parts();
            (parts.status.as_u16(), String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
        };
        assert_eq!(ask("/", "").await, (200, "HTTP/2.0".to_owned()));
        assert_eq!(ask("/peer", "").await, (200, "127.0.0.1".to_owned()));
        assert_eq!(ask("/exchange", "").await, (200, "3".to_owned()));
        assert_eq!(ask("/204", "").await, (204, String::new()));
        assert_eq!(ask("/ignores", "something").await, (200, "ignored".to_owned()));
        let asked = (0..50).map(|number| {
            let ask = &ask;
            async move {
                match number % 5 {
                    0 => assert_eq!(ask("/panics", "").await.0, 500),
                    _ => assert_eq!(ask("/echo", "all the same").await, (200, "all the same".to_owned())),
                }
            }
        });
        join_all(asked).await;
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn both_directions_at_once_and_trailers() {
    run(async {
        let rig = Rig::start(ServiceHandler::new(app()));
        let mut client = connect(rig.address).await;
        let (send, mut sending) = mpsc::unbounded_channel::<Frame<Bytes>>();
        let body = StreamBody::new(stream::poll_fn(move |cx| {
            sending.poll_recv(cx).map(|frame| frame.map(Ok::<_, Infallible>))
        }));
        let request = Request::post(rig.url("/echo")).body(body).unwrap();
        let answer = client.send_request(request);
        send.send(Frame::data(Bytes::from_static(b"first"))).unwrap();
        let mut echoed = answer.await.unwrap().into_body();
        assert_eq!(echoed.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        send.send(Frame::data(Bytes::from_static(b"second"))).unwrap();
        assert_eq!(echoed.frame().await.unwrap().unwrap().into_data().unwrap(), "second");
        let trailers: HeaderMap = [(http::header::ETAG, "x".parse().unwrap())].into_iter().collect();
        send.send(Frame::trailers(trailers.clone())).unwrap();
        drop(send);
        assert_eq!(echoed.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
        assert!(echoed.frame().await.is_none());
        drop((client, echoed));
        rig.finish().await;
    });
}
