//! A gateway: a key is asked for, clients stay with an origin by their key, and responses are marked.
//!
//! `gateway 127.0.0.1:8080 127.0.0.1:9000 127.0.0.1:9001`: where to listen, and the origins.

use std::{env, error::Error, net::SocketAddr, sync::Arc};

use http::StatusCode;
use sheave_client::{config::ClientConfig, origin::Origin};
use sheave_lifecycle::observe::Silent;
use sheave_net::{clock::Clock, socket::Socket, tcp_connect::TcpConnector};
use sheave_proto::head::ResponseHead;
use sheave_proxy::{config::ProxyConfig, gateway::Attempts, gateway::Gateway, proxy::Proxy};
use sheave_server::{answer::Answer, error::HandlerError, exchange::Exchange, server::Server};

type Chosen = Option<Arc<Origin>>;
type Done = Result<(), HandlerError>;

struct ByKey(Vec<Arc<Origin>>);

impl<S: Socket> Gateway<S> for ByKey {
    type Context = usize; // What the key comes to.
    type Upstream = Arc<Origin>;

    async fn before_request(&self, exchange: &mut Exchange<'_, S>, sum: &mut usize) -> Done {
        match exchange.request().fields().get_named("x-api-key") {
            Some(key) => *sum = key.iter().map(|byte| usize::from(*byte)).sum(),
            None => exchange.answer(&Answer::new(StatusCode::UNAUTHORIZED, "no-key")),
        }
        exchange.request_mut().fields_mut().remove_named("x-api-key");
        Ok(())
    }

    async fn choose_upstream(&self, _: &mut Exchange<'_, S>, tried: Attempts<'_>, sum: &mut usize) -> Chosen {
        let mut in_turn = self.0.iter().cycle().skip(*sum % self.0.len()).take(self.0.len());
        in_turn.find(|origin| !tried.has_refused(origin)).cloned()
    }

    async fn before_response(&self, _: &mut Exchange<'_, S>, head: &mut ResponseHead, _: &mut usize) -> Done {
        let marked = head.fields_mut().push_named("X-Gateway", b"by-key");
        marked.map_err(|_| HandlerError::Failed("field-refused"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = env::args().skip(1).map(|text| text.parse::<SocketAddr>()).collect::<Result<Vec<_>, _>>()?;
    if addresses.len() < 2 {
        return Err("where to listen, and at least one origin".into());
    }
    let listener = tokio::net::TcpListener::bind(addresses.remove(0)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let gateway = ByKey(addresses.into_iter().map(|address| Arc::new(Origin::at(address))).collect());
    let (clock, forwarding, pooling) = (Clock::start(), ProxyConfig::default(), ClientConfig::default());
    let proxy = Proxy::with(gateway, TcpConnector::default(), forwarding, pooling, clock, Arc::new(Silent))?;
    let pool = proxy.pool().clone();
    tokio::spawn(async move { pool.sweep().await });
    Server::builder().clock(clock).serve(listener, proxy).await?;
    Ok(())
}
