//! A WebSocket echo on axum, without hyper: tokio-tungstenite speaks the protocol over our own upgrade.
//!
//! With the feature `hyper`, axum's own `WebSocketUpgrade` works: `.with_hyper_upgrades()`.

use std::error::Error;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use sheave_server::upgrade::{OnUpgrade, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Accepts the WebSocket (RFC 6455 §4.2), and gives it to a task of its own.
async fn accept(mut request: Request) -> Response {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let (Some(key), Some(upgrade)) = (key, request.extensions_mut().remove::<OnUpgrade>()) else {
        return (StatusCode::UPGRADE_REQUIRED, [(UPGRADE, "websocket")], "this is a WebSocket\n").into_response();
    };
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            echo(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
        }
    });
    let fields = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_ACCEPT, &key)];
    (StatusCode::SWITCHING_PROTOCOLS, fields).into_response()
}

/// Says what it hears, until one of both ends it.
async fn echo(mut socket: WebSocketStream<Upgraded>) {
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            break;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/echo", any(accept));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    sheave_tower::serve(listener, app).with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await }).await?;
    Ok(())
}
