//! The proxy: a handler that sends each request on to an origin.

use std::fmt;
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
use crate::forward::{Client, Local, Onward, prepare_request};
use crate::upgrade;

/// A reverse proxy. One per worker: it owns that worker's pool.
pub struct Proxy<C: Connect> {
    pub(crate) balancer: Balancer,
    pub(crate) pool: Arc<Pool<C>>,
    pub(crate) config: ProxyConfig,
    budget: Mutex<Budget>,
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
    /// A proxy to `origins` that opens connections with `connector`.
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
        let is_token = |name: &String| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        };
        if !config.pseudonym.as_ref().is_none_or(is_token) {
            return Err(BuildError::Pseudonym);
        }
        if !config.upgrades.iter().all(|protocol| upgrade::is_protocol(protocol)) {
            return Err(BuildError::Upgrade);
        }
        let pool = Pool::new(connector, client, clock, observer);
        origins.iter().for_each(|origin| pool.follow(origin));
        Ok(Self {
            balancer: Balancer::new(origins, config.balance),
            pool: Arc::new(pool),
            budget: Mutex::new(Budget::new(&config.retry, clock.now())),
            config,
        })
    }

    /// The connections to the origins. Its sweep is to be run beside the proxy.
    pub fn pool(&self) -> &Arc<Pool<C>> {
        &self.pool
    }

    pub(crate) fn with_budget<T>(&self, ask: impl FnOnce(&mut Budget, &RetryPolicy) -> T) -> T {
        ask(&mut self.budget.lock().unwrap_or_else(PoisonError::into_inner), &self.config.retry)
    }
}

impl<S: Socket, C: Connect + 'static> Handler<S> for Proxy<C>
where
    C::Socket: 'static,
{
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        if *exchange.request().method() == Method::CONNECT {
            match exchange.request().protocol() {
                None => return self.connect(exchange).await,
                Some(protocol) if upgrade::allows(&self.config.upgrades, protocol.as_bytes()) => {}
                Some(_) => {
                    exchange.answer(&Answer::new(StatusCode::NOT_IMPLEMENTED, "protocol-not-allowed"));
                    return Ok(());
                }
            }
        }
        let client = Client { peer: exchange.peer(), is_secured: exchange.secured().is_some() };
        match prepare_request(exchange.request_mut(), client, &self.config) {
            Onward::Forward(body) => self.forward(exchange, body).await,
            Onward::Refuse(answer) => {
                exchange.answer(&answer);
                Ok(())
            }
            Onward::Local(Local::Trace) => {
                exchange.answer(&Answer::new(StatusCode::NOT_IMPLEMENTED, "trace-not-supported"));
                Ok(())
            }
            Onward::Local(Local::Options) => {
                let mut head = ResponseHead::new(StatusCode::OK);
                // RFC 9110 §9.3.7: what the last recipient can say of itself is little.
                let _ = head.fields_mut().push(Known::CacheControl, b"no-store");
                exchange.respond(&mut head, b"").await
            }
        }
    }
}
