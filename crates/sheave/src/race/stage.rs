//! An origin and a proxy in threads of their own, which end when they are let go.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use sheave_client::origin::Origin;
use sheave_client::pool::Pool;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::listen::Listener;
use sheave_net::tcp_connect::TcpConnector;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_proxy::proxy::Proxy;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use super::protections::Protections;
use super::witness::Witness;
use crate::fault::FaultyOrigin;

/// A thread with a runtime whose tasks end when this is dropped.
#[derive(Debug)]
pub(crate) struct Actor {
    leave: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.leave.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been said by the thread itself.
            let _ = thread.join();
        }
    }
}

/// Starts a thread; `begin` spawns what it does within its runtime.
fn start<T: Send + 'static>(
    name: &str,
    begin: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<(T, Actor)> {
    let (leave, left) = oneshot::channel::<()>();
    let (begun, has_begun) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let runtime = match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = begun.send(Err(error));
                return;
            }
        };
        runtime.block_on(async {
            let _ = begun.send(begin());
            let _ = left.await;
        });
    })?;
    let actor = Actor { leave: Some(leave), thread: Some(thread) };
    has_begun.recv().unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))).map(|begun| (begun, actor))
}

/// Starts an origin on a loopback port of its own.
///
/// # Errors
///
/// As the kernel says it.
pub(crate) fn start_origin(origin: FaultyOrigin) -> io::Result<(SocketAddr, Actor)> {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let begin = move || {
        let listener = TcpListener::from_std(socket)?;
        tokio::spawn(async move { origin.accept(listener).await });
        Ok(address)
    };
    start("race-origin", begin)
}

/// A proxy at work.
pub(crate) struct Staged {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its connections to the origin.
    pub(crate) pool: Arc<Pool<TcpConnector>>,
}

/// Starts a proxy to an origin on a loopback port of its own.
///
/// # Errors
///
/// As the kernel says it.
pub(crate) fn start_proxy(
    origin: SocketAddr,
    protections: Protections,
    witness: Arc<Witness>,
) -> io::Result<(Staged, Actor)> {
    let begin = move || {
        let acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default())
            .map_err(|error| io::Error::other(error.to_string()))?;
        let address = acceptor.local_addr().ok_or_else(|| io::Error::other("a TCP socket without an address"))?;
        let clock = Clock::start();
        let (connector, client) = (TcpConnector::default(), protections.client());
        let origins = vec![Origin::at(origin)];
        let proxy = Proxy::new(origins, connector, protections.proxy(), client, clock, witness.clone())
            .map_err(io::Error::other)?;
        let pool = proxy.pool().clone();
        let swept = pool.clone();
        tokio::spawn(async move { swept.sweep().await });
        let server = Server::new(proxy, ServerConfig::default(), clock, witness, Drain::default());
        tokio::spawn(async move { server.serve(acceptor).await });
        Ok(Staged { address, pool })
    };
    start("race-proxy", begin)
}
