//! An axum application that is drained by Ctrl-C or SIGTERM: what it is doing is finished, and nobody sees an error.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| format!("hello, {}\n", peer.ip())))
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_secs(2)).await;
                "done, though somebody may have stopped the server meanwhile\n"
            }),
        );
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let report = sheave_tower::serve(listener, app)
        .configure(|server| server.idle_timeout(Duration::from_secs(30)))
        .with_connect_info(ConnectInfo::<SocketAddr>)
        .with_graceful_shutdown(stop)
        .await?;
    println!(
        "drained: {} told, {} finished, {} waited, {} lost",
        report.told, report.finished, report.waited, report.lost
    );
    Ok(())
}
