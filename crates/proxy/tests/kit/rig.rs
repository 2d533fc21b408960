//! A proxy on a loopback port, in front of origins, with a witness; held against the laws at its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sheave_client::config::ClientConfig;
use sheave_client::origin::Origin as Upstream;
use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::endpoint::Manner;
use sheave_net::leg::LingerPlan;
use sheave_net::listen::Listener;
use sheave_net::stream::KernelStream;
use sheave_net::tcp_connect::TcpConnector;
use sheave_net::tcp_listen::{ListenOptions, TcpAcceptor};
use sheave_proxy::balance::Balancer;
use sheave_proxy::config::ProxyConfig;
use sheave_proxy::gateway::Gateway;
use sheave_proxy::proxy::Proxy;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use tokio::task::JoinHandle;

use super::recorder::Recorder;
use super::wire::Wire;

/// How a proxy is set up. The defaults are the libraries', but for a pseudonym that can be compared, and short waits at
/// the end.
#[derive(Clone)]
pub struct Setup {
    pub listen: ListenOptions,
    pub server: ServerConfig,
    pub connector: TcpConnector,
    pub client: ClientConfig,
    pub proxy: ProxyConfig,
    /// How origins are spoken to.
    pub manner: Manner,
}

impl Default for Setup {
    fn default() -> Self {
        let drain = DrainPlan { quiet: Duration::from_millis(20), ..DrainPlan::default() };
        let linger = LingerPlan { timeout: Duration::from_millis(500), ..LingerPlan::default() };
        Self {
            listen: ListenOptions::default(),
            server: ServerConfig { drain, linger, ..ServerConfig::default() },
            connector: TcpConnector::default(),
            client: ClientConfig::default(),
            proxy: ProxyConfig { pseudonym: Some("p".to_owned()), ..ProxyConfig::default() },
            manner: Manner::default(),
        }
    }
}

/// A proxy at work.
pub struct Rig<G = Balancer> {
    pub address: SocketAddr,
    pub recorder: Arc<Recorder>,
    drain: Drain,
    clock: Clock,
    server: Server<Proxy<TcpConnector, G>>,
    serving: JoinHandle<DrainReport>,
    sweeping: JoinHandle<()>,
}

impl Rig {
    /// A proxy with the usual setup.
    pub fn usual(origin: SocketAddr) -> Self {
        Self::start(&[origin], Setup::default())
    }

    /// A proxy to `origins`.
    pub fn start(origins: &[SocketAddr], setup: Setup) -> Self {
        let acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &setup.listen).unwrap();
        Self::behind(acceptor, origins, setup)
    }

    /// A proxy to `origins`, behind `acceptor`.
    pub fn behind(acceptor: TcpAcceptor, origins: &[SocketAddr], setup: Setup) -> Self {
        let recorder = Arc::new(Recorder::default());
        let clock = Clock::start();
        let origins = origins.iter().map(|address| Upstream::at(*address).spoken_to(setup.manner.clone())).collect();
        let proxy = Proxy::new(origins, setup.connector, setup.proxy, setup.client, clock, recorder.clone()).unwrap();
        Self::serve(proxy, acceptor, &setup.server, clock, recorder)
    }
}

impl<G: Gateway<KernelStream>> Rig<G> {
    /// A proxy that passes on as `gateway` says.
    pub fn with(gateway: G, setup: Setup) -> Self {
        let acceptor = TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &setup.listen).unwrap();
        let recorder = Arc::new(Recorder::default());
        let clock = Clock::start();
        let proxy = Proxy::with(gateway, setup.connector, setup.proxy, setup.client, clock, recorder.clone()).unwrap();
        Self::serve(proxy, acceptor, &setup.server, clock, recorder)
    }

    fn serve(
        proxy: Proxy<TcpConnector, G>,
        acceptor: TcpAcceptor,
        config: &ServerConfig,
        clock: Clock,
        recorder: Arc<Recorder>,
    ) -> Self {
        let address = acceptor.local_addr().unwrap();
        let pool = proxy.pool().clone();
        let sweeping = tokio::spawn(async move { pool.sweep().await });
        let drain = Drain::default();
        let server = Server::new(proxy, *config, clock, recorder.clone(), drain.clone());
        let server_too = server.clone();
        let serving = tokio::spawn(async move { server_too.serve(acceptor).await });
        Self { address, recorder, drain, clock, server, serving, sweeping }
    }

    /// A client's connection.
    pub async fn client(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// The server.
    pub fn server(&self) -> &Server<Proxy<TcpConnector, G>> {
        &self.server
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.server.drain();
    }

    /// Ends the drain's patience.
    pub fn force(&self) {
        self.drain.force(self.clock.now());
    }

    /// Drains, waits until all is over, and holds the laws against what happened.
    ///
    /// # Panics
    /// When a law was broken.
    pub async fn finish(self) -> (DrainReport, Arc<Recorder>) {
        self.server.drain();
        let report = self.serving.await.unwrap();
        self.sweeping.abort();
        let _ = self.sweeping.await;
        let stats = self.server.handler().pool().stats();
        assert_eq!(stats.busy, 0, "no exchange is left upstream");
        self.server.handler().pool().clear();
        // Connections of HTTP/2 are closed by tasks of their own.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.server.live(), 0);
        drop(self.server);
        self.recorder.check_laws();
        let told = report.finished + report.waited + report.forced;
        assert_eq!(report.told, told, "{report:?}");
        (report, self.recorder)
    }
}
