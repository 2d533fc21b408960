//! Passing requests on: what each worker of `sheave proxy` does.

use std::io;
use std::sync::Arc;

use sheave_client::config::ClientConfig;
use sheave_client::origin::Origin;
use sheave_net::dial_tls::TlsConnector;
use sheave_net::endpoint::Manner;
use sheave_net::proxy_protocol::send::AnnouncingConnector;
use sheave_net::resolve::Resolved;
use sheave_net::tcp_connect::TcpConnector;
use sheave_net::tcp_options::TcpOptions;
use sheave_proxy::config::ProxyConfig;
use sheave_proxy::proxy::Proxy;

use crate::pools::Pools;
use crate::service::{Role, WorkerContext};

/// Makes a proxy for each worker, with a pool of its own. The addresses of origins are looked up once for all.
#[derive(Clone)]
pub(crate) struct PassOn {
    /// Where origins are, what goes before their paths, and how they are spoken to.
    pub(crate) origins: Vec<(Resolved, String, Manner)>,
    /// How requests are passed on.
    pub(crate) proxy: ProxyConfig,
    /// What is asked of TCP.
    pub(crate) tcp: TcpOptions,
    /// What origins are held to.
    pub(crate) client: ClientConfig,
    /// The workers' pools, for whoever looks on.
    pub(crate) pools: Pools,
}

impl Role for PassOn {
    type Handler = Proxy<TlsConnector<AnnouncingConnector<TcpConnector>>>;

    fn handler(&self, worker: WorkerContext) -> io::Result<Self::Handler> {
        let origin = |(resolved, base, manner): &(Resolved, String, Manner)| {
            Origin::new(resolved.clone(), base).spoken_to(manner.clone())
        };
        let origins = self.origins.iter().map(origin).collect();
        let tcp = TcpConnector { tcp: self.tcp, ..TcpConnector::default() };
        let connector = TlsConnector::new(AnnouncingConnector::new(tcp));
        let proxy =
            Proxy::new(origins, connector, self.proxy.clone(), self.client.clone(), worker.clock, worker.observer)
                .map_err(io::Error::other)?;
        let pool = Arc::clone(proxy.pool());
        self.pools.add(&pool);
        tokio::spawn(async move { pool.sweep().await });
        Ok(proxy)
    }

    fn pools(&self) -> Pools {
        self.pools.clone()
    }

    fn ended(proxy: &Self::Handler) {
        proxy.pool().clear();
    }
}
