//! How a connection is carried, and the relay between two of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sheave_client::config::ClientConfig;
use sheave_client::origin::Origin;
use sheave_lifecycle::drain::DrainReport;
use sheave_lifecycle::observe::Observer;
use sheave_net::clock::Clock;
use sheave_net::dial_tls::TlsConnector;
use sheave_net::drain::Drain;
use sheave_net::endpoint::{self, Protocols, Secure};
use sheave_net::tls::listener::TlsListener;
use sheave_proxy::config::ProxyConfig;
use sheave_proxy::proxy::Proxy;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use sheave_sim::connector::SimConnector;
use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use tokio::task::JoinHandle;

use crate::certificate::LOCALHOST;

/// Where clients connect to.
pub(crate) const FRONT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);
/// Where the origin listens.
pub(crate) const ORIGIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);

/// How a connection is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manner {
    pub(crate) protocols: Protocols,
    pub(crate) is_secured: bool,
}

/// All of them.
pub(crate) const MANNERS: [Manner; 4] = [
    Manner { protocols: Protocols::Http1, is_secured: false },
    Manner { protocols: Protocols::Http1, is_secured: true },
    Manner { protocols: Protocols::Http2, is_secured: false },
    Manner { protocols: Protocols::Http2, is_secured: true },
];

impl Manner {
    /// A listener for connections that are carried so.
    pub(crate) fn listen(self, net: &SimNet, at: SocketAddr) -> TlsListener<SimListener> {
        TlsListener::new(net.listen(at), self.is_secured.then(|| LOCALHOST.0.clone()))
    }

    /// The origin, spoken to so.
    fn origin(self) -> Origin {
        let name = "localhost".parse().unwrap();
        let tls = self.is_secured.then(|| Secure { client: LOCALHOST.1.clone(), name });
        Origin::at(ORIGIN).spoken_to(endpoint::Manner { tls, protocols: self.protocols, announces: None })
    }
}

/// The relay at work.
pub(crate) struct Relay {
    pub(crate) server: Server<Proxy<TlsConnector<SimConnector>>>,
    serving: JoinHandle<DrainReport>,
    sweeping: JoinHandle<()>,
}

impl Relay {
    /// A relay from clients that are carried as `from` says to an origin that is as `to` says.
    pub(crate) fn begin(
        net: &SimNet,
        from: Manner,
        to: Manner,
        (server, client): (ServerConfig, ClientConfig),
        observer: Arc<dyn Observer>,
    ) -> Self {
        let clock = Clock::start();
        let connector = TlsConnector::new(net.connector());
        let config = ProxyConfig { pseudonym: None, ..ProxyConfig::default() };
        let proxy = Proxy::new(vec![to.origin()], connector, config, client, clock, observer.clone()).unwrap();
        let pool = proxy.pool().clone();
        let sweeping = tokio::spawn(async move { pool.sweep().await });
        let server = Server::new(proxy, server, clock, observer, Drain::default());
        let serving = tokio::spawn({
            let (server, listener) = (server.clone(), from.listen(net, FRONT));
            async move { server.serve(listener).await }
        });
        Self { server, serving, sweeping }
    }

    /// Drains it, and leaves nothing.
    pub(crate) async fn end(self) {
        self.server.drain();
        self.serving.await.unwrap();
        self.server.handler().pool().clear();
        drop(self.server);
        self.sweeping.abort();
        let _ = self.sweeping.await;
    }
}
