//! The demo origin as a process of its own, and as a thread behind the proxy.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sheave_lifecycle::observe::Silent;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor, bind_tcp};
use sheave_net::tcp_options::TcpOptions;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;

use super::handler::Demo;
use crate::exit::Failure;
use crate::service::{Role, WorkerContext, start};

impl Role for Demo {
    type Handler = Self;

    fn handler(&self, _: WorkerContext) -> io::Result<Self> {
        Ok(*self)
    }
}

/// Starts a demo origin on a loopback port of its own, in a thread of its own, for as long as the process lives.
///
/// It is not drained: when the proxy before it has been, nobody is left who could ask it anything.
///
/// # Errors
///
/// A line that says why it could not start.
pub(crate) fn start_behind() -> Result<SocketAddr, Failure> {
    let socket = bind_tcp((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default())
        .map_err(|error| Failure::start(format!("cannot start the demo origin: {error}; or name an origin (--to)")))?;
    let failure = |error: io::Error| {
        Failure::start(format!("cannot start the demo origin: {error}; name an origin of your own (--to)"))
    };
    let address = socket.local_addr().map_err(failure)?;
    let begin = move || {
        let acceptor = TcpAcceptor::from_std(socket, &TcpOptions::default())
            .map_err(|fault| io::Error::from_raw_os_error(fault.errno.0))?;
        let server = Server::new(Demo, ServerConfig::default(), Clock::start(), Arc::new(Silent), Drain::default());
        Ok(async move { server.serve(acceptor).await })
    };
    start("demo-origin".to_owned(), begin, Box::new(|_| {})).map_err(failure)?;
    Ok(address)
}
