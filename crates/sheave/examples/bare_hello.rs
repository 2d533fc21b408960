//! A server that says hello, on the library alone: one thread, no drain by signals, nobody told. `bare_hello LISTEN`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use sheave_lifecycle::observe::Silent;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::socket::Socket;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::config::ServerConfig;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::server::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Hello;

impl<S: Socket> Handler<S> for Hello {
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.fields_mut().push(Known::ContentType, b"text/plain").map_err(|_| HandlerError::Failed("content-type"))?;
        exchange.respond(&mut head, b"Hello, world!").await
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args().nth(1).ok_or("usage: hello LISTEN")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?.block_on(async {
        let listener = TcpAcceptor::bind(listen, &ListenOptions::default())?;
        let server = Server::new(Hello, ServerConfig::default(), Clock::start(), Arc::new(Silent), Drain::default());
        server.serve(listener).await;
        Ok(())
    })
}
