//! A router of axum that says hello, on our server: one thread, no drain by signals, nobody told. `bare_axum LISTEN`.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args().nth(1).ok_or("usage: bare_axum LISTEN")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(async {
        let listener = TcpAcceptor::bind(listen, &ListenOptions::default())?;
        let app = Router::new().route("/", get(async || "Hello, world!"));
        sheave_tower::serve(listener, app).await?;
        Ok(())
    })
}
