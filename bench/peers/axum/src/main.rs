//! A router on axum's own server that says hello: one thread. `bench-hello-axum LISTEN`.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpSocket;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args().nth(1).ok_or("usage: bench-hello-axum LISTEN")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        let listener = socket.listen(4096)?.tap_io(|stream| {
            // Without it, it is only slower.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/", get(async || "Hello, world!"))).await?;
        Ok(())
    })
}
