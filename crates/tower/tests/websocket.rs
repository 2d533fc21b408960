//! WebSockets through our server: as axum has them, and over our own upgrade.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use http::StatusCode;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use kit::{Rig, run};
use sheave_server::upgrade::OnUpgrade;
use sheave_tower::handler::ServiceHandler;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Echoes over our own upgrade, with nothing of hyper.
async fn echo(mut request: Request) -> Response {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let (Some(key), Some(upgrade)) = (key, request.extensions_mut().remove::<OnUpgrade>()) else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    tokio::spawn(async move {
        let stream = upgrade.await.unwrap();
        echo_all(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
    });
    let fields = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_ACCEPT, &key)];
    (StatusCode::SWITCHING_PROTOCOLS, fields).into_response()
}

async fn echo_all<S>(mut socket: S)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            socket.send(message).await.unwrap();
        }
    }
}

/// Talks to an echo until it says goodbye.
async fn talk<H>(rig: &Rig<H>, path: &str)
where
    H: sheave_server::handler::Handler<sheave_net::stream::KernelStream>,
{
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (mut socket, response) =
        tokio_tungstenite::client_async(format!("ws://{}{path}", rig.address), stream).await.unwrap();
    assert_eq!(response.status(), 101);
    let large = "x".repeat(500_000);
    for text in ["hello", "", &large] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.send(Message::binary(vec![0; 70_000])).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(vec![0; 70_000]));
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    socket.close(None).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        assert!(message.is_close());
    }
}

#[test]
fn over_our_own_upgrade() {
    run(async {
        let rig = Rig::start(ServiceHandler::new(Router::new().route("/", any(echo))));
        talk(&rig, "/").await;
        assert_eq!(reqwest::get(rig.url("/")).await.unwrap().status(), 426);

        // With our own client, too.
        let client = sheave_client::client::Client::new();
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let offer = client.get(rig.url("/")).header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
        let response = offer.header(SEC_WEBSOCKET_KEY, key).send().await.unwrap();
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], derive_accept_key(key.as_bytes()));
        let stream = response.upgrade().await.unwrap();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        socket.send(Message::text("anybody there?")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("anybody there?"));
        socket.close(None).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_close());
        }
        drop(socket);
        assert_eq!(client.pool_stats().busy, 0);
        rig.finish().await;
    });
}

#[cfg(feature = "hyper")]
#[test]
fn as_axum_has_them() {
    use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};

    async fn echo(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                socket.send(message).await.unwrap();
            }
        }
    }

    run(async {
        let app = Router::new()
            .route("/", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
            .route("/declines", any(async |_: WebSocketUpgrade| "not today"));
        let rig = Rig::start(ServiceHandler::new(app).with_hyper_upgrades());
        for _ in 0..3 {
            talk(&rig, "/").await;
        }
        assert_eq!(reqwest::get(rig.url("/")).await.unwrap().status(), 400);
        let offer = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
                     dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let text = rig.raw(format!("GET /declines HTTP/1.1\r\nHost: a\r\n{offer}\r\nGET / HTTP/1.0\r\n\r\n")).await;
        assert!(text.contains("\r\n\r\nnot today") && text.contains(" 400 "), "the connection goes on: {text}");
        rig.finish().await;
    });
}

/// RFC 8441: a stream becomes the WebSocket, and its connection goes on with others.
#[cfg(feature = "hyper")]
#[test]
fn over_http2_as_axum_has_them() {
    use axum::extract::ws::{Message as AxumMessage, WebSocket, WebSocketUpgrade};
    use axum::routing::get;
    use bytes::Bytes;
    use http::{Method, Request, Version};
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    async fn echo(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_)) {
                socket.send(message).await.unwrap();
            }
        }
    }

    run(async {
        let app = Router::new()
            .route("/", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
            .route("/plain", get(async || "plain"));
        let builder = sheave_server::server::Server::builder().allows_extended_connect(true);
        let rig = Rig::serve(builder.build(ServiceHandler::new(app).with_hyper_upgrades()).unwrap());
        let stream = TokioIo::new(TcpStream::connect(rig.address).await.unwrap());
        let (mut client, connection) =
            hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let plain = async |client: &mut hyper::client::conn::http2::SendRequest<Empty<Bytes>>| {
            let request = Request::builder().uri(rig.url("/plain")).body(Empty::new()).unwrap();
            let answer = client.send_request(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "plain");
        };
        // The server's SETTINGS, which say that it takes this, are here then.
        plain(&mut client).await;
        let ask = |protocol: &'static str| {
            Request::builder()
                .method(Method::CONNECT)
                .version(Version::HTTP_2)
                .uri(rig.url("/"))
                .extension(hyper::ext::Protocol::from_static(protocol))
                .header("sec-websocket-version", "13")
                .body(Empty::new())
                .unwrap()
        };
        for _ in 0..2 {
            let answer = client.send_request(ask("websocket")).await.unwrap();
            assert_eq!(answer.status(), 200);
            let stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
            let large = "x".repeat(500_000);
            for text in ["hello", "", &large] {
                socket.send(Message::text(text)).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
            }
            plain(&mut client).await;
            socket.close(None).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                assert!(message.is_close());
            }
        }
        // axum takes no other protocol for a WebSocket.
        assert_eq!(client.send_request(ask("chat")).await.unwrap().status(), 400);
        plain(&mut client).await;
        drop(client);
        rig.finish().await;
    });
}
