//! The proxy: a handler that sends each request on to an origin.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode};
use sheave_client::config::ClientConfig;
use sheave_client::origin::Origin;
use sheave_client::pool::Pool;
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::retry::{Budget, RetryPolicy};
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::socket::Socket;
use sheave_proto::head::ResponseHead;
use sheave_proto::known::Known;
use sheave_server::answer::Answer;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;

use crate::balance::Balancer;
use crate::config::ProxyConfig;
use crate::forward::{Local, Onward, prepare_request};
use crate::gateway::Gateway;
use crate::settled::Settled;
use crate::testimony::Client;
use crate::upgrade;

/// A reverse proxy. One per worker: it owns that worker's pool.
///
/// What a [`Gateway`] decides is decided there; a [`Balancer`] chooses an origin and leaves the rest as it is.
pub struct Proxy<C: Connect, G = Balancer> {
    pub(crate) gateway: G,
    pub(crate) pool: Arc<Pool<C>>,
    pub(crate) config: Settled,
    budget: Mutex<Budget>,
    /// Requests that began, and that the budget has not been told of.
    began: AtomicU64,
}

/// Why there is no proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no origin to send requests to.
    NoOrigin,
    /// The pseudonym cannot stand in `Via`: it is not a token. RFC 9110 §7.6.3
    Pseudonym,
    /// A protocol that clients shall be able to switch to is not `name` or `name/version`, or is HTTP. RFC 9110 §7.8
    Upgrade,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOrigin => "there is no origin to send requests to",
            Self::Pseudonym => "the pseudonym for Via must be a name without blanks, commas or other separators",
            Self::Upgrade => {
                "a protocol to switch to must be a name, or a name and a version (name/version), and not HTTP"
            }
        })
    }
}

impl std::error::Error for BuildError {}

impl<C: Connect> Proxy<C> {
    /// A proxy to `origins` that opens connections with `connector`; the others as for [`Self::with`]. They are balanced as
    /// [`ProxyConfig::balance`] says, and followed as their addresses change.
    ///
    /// # Errors
    /// [`BuildError`] when the configuration cannot work.
    pub fn new(
        origins: Vec<Origin>,
        connector: C,
        config: ProxyConfig,
        client: ClientConfig,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, BuildError> {
        if origins.is_empty() {
            return Err(BuildError::NoOrigin);
        }
        let balancer = Balancer::new(origins, config.balance);
        let proxy = Self::with(balancer, connector, config, client, clock, observer)?;
        proxy.gateway.origins().for_each(|origin| proxy.pool.follow(origin));
        Ok(proxy)
    }
}

impl<C: Connect, G> Proxy<C, G> {
    /// A proxy that passes requests on as `gateway` decides, over connections that `connector` opens.
    ///
    /// `clock` is the one of the server whose handler it becomes, or ages mean nothing
    /// ([`ServerBuilder::clock`](sheave_server::builder::ServerBuilder::clock)). [`ProxyConfig::balance`] is not read. Where
    /// origins stay the same, [`Pool::follow`] lets the pool follow each of them as its addresses change, and keep connections
    /// ready; otherwise connections to addresses that are gone end when they are idle for too long.
    ///
    /// # Errors
    /// [`BuildError`] when the configuration cannot work.
    pub fn with(
        gateway: G,
        connector: C,
        config: ProxyConfig,
        client: ClientConfig,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, BuildError> {
        let config = Settled::new(config)?;
        Ok(Self {
            gateway,
            pool: Arc::new(Pool::new(connector, client, clock, observer)),
            budget: Mutex::new(Budget::new(&config.retry, clock.now())),
            began: AtomicU64::new(0),
            config,
        })
    }

    /// What decides.
    pub const fn gateway(&self) -> &G {
        &self.gateway
    }

    /// The connections to the origins. Its sweep is to be run beside the proxy.
    pub fn pool(&self) -> &Arc<Pool<C>> {
        &self.pool
    }

    /// A request began: what retries are a share of.
    pub(crate) fn note_request(&self) {
        // Each request does this, and few ask for the sum: no lock, and no locked addition. Where several threads share a
        // proxy one may be lost, which makes the budget smaller by a fraction of a retry.
        self.began.store(self.began.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn with_budget<T>(&self, ask: impl FnOnce(&mut Budget, &RetryPolicy) -> T) -> T {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.requests_began(self.began.swap(0, Ordering::Relaxed));
        ask(&mut budget, &self.config.retry)
    }
}

impl<S: Socket, C: Connect + 'static, G: Gateway<S>> Handler<S> for Proxy<C, G>
where
    C::Socket: 'static,
{
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        let mut context = G::Context::default();
        let mut framed = None;
        if G::HAS_FILTERS {
            framed = self.filter_request(exchange, &mut context).await?;
            if framed.is_none() {
                return Ok(());
            }
        }
        if *exchange.request().method() == Method::CONNECT {
            match exchange.request().protocol() {
                None => {
                    // What seldom happens has no room in every exchange.
                    return match Box::pin(self.connect(exchange)).await? {
                        Some(answer) => self.refuse(exchange, answer, &mut context).await,
                        None => Ok(()),
                    };
                }
                Some(protocol) if upgrade::allows(&self.config.upgrades, protocol.as_bytes()) => {}
                Some(_) => {
                    let answer = Answer::new(StatusCode::NOT_IMPLEMENTED, "protocol-not-allowed");
                    return self.refuse(exchange, answer, &mut context).await;
                }
            }
        }
        let client = Client { peer: exchange.peer(), is_secured: exchange.secured().is_some() };
        match prepare_request(exchange.request_mut(), framed, client, &self.config) {
            Onward::Forward(body) => self.forward(exchange, body, &mut context).await,
            Onward::Refuse(answer) => self.refuse(exchange, answer, &mut context).await,
            Onward::Local(Local::Trace) => {
                let answer = Answer::new(StatusCode::NOT_IMPLEMENTED, "trace-not-supported");
                self.refuse(exchange, answer, &mut context).await
            }
            Onward::Local(Local::Options) => {
                let mut head = ResponseHead::new(StatusCode::OK);
                // RFC 9110 §9.3.7: what the last recipient can say of itself is little.
                let _ = head.fields_mut().push(Known::CacheControl, b"no-store");
                Box::pin(exchange.respond(&mut head, b"")).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sheave_net::tcp_connect::TcpConnector;
    use tokio::net::TcpStream;

    use super::*;

    fn handling<'e>(
        proxy: &'e Proxy<TcpConnector>,
        exchange: &'e mut Exchange<'e, TcpStream>,
    ) -> impl Future<Output = Result<(), HandlerError>> {
        proxy.handle(exchange)
    }

    fn future_size<A, B, F>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// It is a part of the box that every exchange has.
    #[test]
    fn what_is_remembered_of_an_exchange_is_small() {
        assert!(future_size(handling) <= 752, "{}", future_size(handling));
    }
}
