//! A server that says hello, as a closure that owns its request: one thread, no drain by signals, nobody told.
//! `bare_service LISTEN`.

use std::error::Error;
use std::net::SocketAddr;

use http::Request;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_server::body::RequestBody;
use sheave_server::server::Server;
use sheave_server::service::service_fn;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args().nth(1).ok_or("usage: bare_service LISTEN")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(async {
        let listener = TcpAcceptor::bind(listen, &ListenOptions::default())?;
        let server = Server::builder().build(service_fn(async |_: Request<RequestBody>| "Hello, world!"))?;
        server.serve(listener).await;
        Ok(())
    })
}
