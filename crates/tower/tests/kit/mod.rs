//! A server for a test, and a bound on how long the test may take.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sheave_lifecycle::drain::DrainReport;
use sheave_net::into_listener::IntoListener;
use sheave_net::listen::Listener;
use sheave_net::stream::KernelStream;
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far beyond what any test takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `test` so that a hang is a failure.
///
/// # Panics
/// When it hangs.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("the test hangs") })
}

/// A server at work.
pub struct Rig<H> {
    pub address: SocketAddr,
    pub server: Server<H>,
    serving: JoinHandle<DrainReport>,
}

impl<H: Handler<KernelStream>> Rig<H> {
    pub fn start(handler: H) -> Self {
        Self::serve(Server::builder().build(handler).unwrap())
    }

    pub fn serve(server: Server<H>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into_listener().unwrap();
        let address = listener.local_addr().unwrap();
        let server_too = server.clone();
        let serving = tokio::spawn(async move { server_too.serve(listener).await });
        Self { address, server, serving }
    }

    /// The address of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that comes back for `request`, which is to end the connection.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_ref()).await.unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Drains, and sees nothing lost.
    pub async fn finish(self) -> DrainReport {
        let report = self.server.drain().await;
        assert_eq!(self.serving.await.unwrap(), report);
        assert_eq!((report.forced, report.lost), (0, 0));
        report
    }
}
