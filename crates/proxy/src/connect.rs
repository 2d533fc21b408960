//! CONNECT: a tunnel to where the client says, as far as the operator lets it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use sheave_client::error::ClientError;
use sheave_lifecycle::observe::UpstreamPart;
use sheave_lifecycle::retry::Sent;
use sheave_net::dial::Connect;
use sheave_net::endpoint::{Endpoint, Manner};
use sheave_net::host_port::HostPort;
use sheave_net::lookup::{Lookup, SystemLookup};
use sheave_net::socket::Socket;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::target::Authority;
use sheave_server::answer::Answer;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;

use crate::attempt::{Tried, beside};
use crate::connect_rule::{Asked, ConnectRule, allows_address, judge};
use crate::failure::Failure;
use crate::proxy::Proxy;
use crate::tunnel;

/// How long a name may take to be looked up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where CONNECT may lead, and how names are looked up for it. The default is off: every CONNECT is answered with 501.
#[derive(Clone)]
pub struct ConnectPolicy {
    allow: Arc<[ConnectRule]>,
    names: Arc<dyn Names>,
}

impl ConnectPolicy {
    /// Allows what one of the rules allows; with none, CONNECT is off.
    pub fn allowing(rules: impl IntoIterator<Item = ConnectRule>) -> Self {
        Self { allow: rules.into_iter().collect(), names: Arc::new(SystemLookup) }
    }

    /// The same with another way to look names up. Default: the system's.
    #[must_use]
    pub fn looking_up_with(self, lookup: impl Lookup) -> Self {
        Self { names: Arc::new(lookup), ..self }
    }

    /// Whether any CONNECT is allowed.
    pub fn is_on(&self) -> bool {
        !self.allow.is_empty()
    }
}

impl Default for ConnectPolicy {
    fn default() -> Self {
        Self::allowing([])
    }
}

impl fmt::Debug for ConnectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectPolicy").field("allow", &self.allow).finish_non_exhaustive()
    }
}

/// A [`Lookup`] whatever its type.
trait Names: Send + Sync {
    fn look_up<'a>(
        &'a self,
        name: &'a HostPort,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;
}

impl<L: Lookup> Names for L {
    fn look_up<'a>(
        &'a self,
        name: &'a HostPort,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(self.lookup(name))
    }
}

impl<C: Connect, G> Proxy<C, G> {
    /// Carries a CONNECT as a tunnel to its end; what comes back instead is why there is none.
    pub(crate) async fn connect<D: Socket>(
        &self,
        exchange: &mut Exchange<'_, D>,
    ) -> Result<Option<Answer>, HandlerError> {
        let target = match self.asked_for(exchange) {
            Ok(target) => target,
            Err(answer) => return Ok(Some(answer)),
        };
        let endpoints = match self.find(exchange, &target).await {
            Ok(endpoints) => endpoints,
            Err(Tried::Client(gone)) => return Err(gone),
            Err(end) => return Ok(refused(exchange, end)),
        };
        exchange.note_attempt();
        let call = match beside(exchange, self.pool.tunnel(&endpoints)).await {
            Ok(Ok(call)) => call,
            Ok(Err(ClientError::Call(error, progress))) => {
                return Ok(refused(exchange, Tried::Failed(Failure::Call(error, progress))));
            }
            Ok(Err(ClientError::Pool(error))) => return Ok(refused(exchange, Tried::Failed(Failure::Pool(error)))),
            Ok(Err(_)) => return Ok(refused(exchange, Tried::Failed(Failure::Unresolved))),
            Err(Tried::Client(gone)) => return Err(gone),
            Err(end) => return Ok(refused(exchange, end)),
        };
        exchange.note_upstream(UpstreamPart {
            address: call.address(),
            connection: call.connection_id(),
            is_reused: false,
            response_after: None,
        });
        exchange.note_sent(Sent::Maybe);
        let mut head = ResponseHead::new(StatusCode::OK);
        // It has no bytes that a reason could not have.
        let _ = head.set_reason(b"Connection Established");
        exchange.switch(&mut head)?;
        tunnel::relay(exchange, call).await.map(|()| None)
    }

    /// What a CONNECT asks for, where it may be asked for.
    fn asked_for<D: Socket>(&self, exchange: &Exchange<'_, D>) -> Result<HostPort, Answer> {
        let request = exchange.request();
        if !self.config.connect.is_on() {
            return Err(Answer::new(StatusCode::NOT_IMPLEMENTED, "connect-not-supported"));
        }
        if self.config.via.as_ref().is_some_and(|via| via.is_in(request.fields())) {
            return Err(Answer::new(StatusCode::LOOP_DETECTED, "proxy-loop"));
        }
        // RFC 9110 §9.3.6: it has no content; what says otherwise would be read in two ways.
        if !exchange.has_whole_request() {
            return Err(Answer::new(StatusCode::BAD_REQUEST, "connect-with-content"));
        }
        target_of(request).ok_or(Answer::new(StatusCode::BAD_REQUEST, "invalid-target"))
    }

    /// Where the target is, as far as it may be connected to.
    async fn find<D: Socket>(&self, exchange: &mut Exchange<'_, D>, target: &HostPort) -> Result<Vec<Endpoint>, Tried> {
        let rules = &self.config.connect.allow;
        let addresses = match judge(rules, target) {
            Asked::Denied => Vec::new(),
            Asked::Allowed(address) => vec![address],
            Asked::LookUp { by_name } => {
                let looking = tokio::time::timeout(LOOKUP_TIMEOUT, self.config.connect.names.look_up(target));
                let found = match beside(exchange, looking).await? {
                    Ok(Ok(found)) if !found.is_empty() => found,
                    _ => return Err(Tried::Failed(Failure::Unresolved)),
                };
                found.into_iter().filter(|address| allows_address(rules, *address, by_name)).collect()
            }
        };
        if addresses.is_empty() {
            return Err(Tried::Failed(Failure::NotAllowed));
        }
        Ok(addresses.into_iter().map(|address| Endpoint::new(address, Manner::default())).collect())
    }
}

/// Says why there is no tunnel.
fn refused<D: Socket>(exchange: &mut Exchange<'_, D>, end: Tried) -> Option<Answer> {
    let Tried::Failed(failure) = end else { return None };
    exchange.note_sent(failure.progress().sent());
    Some(failure.answer())
}

/// The host and the port behind CONNECT.
fn target_of(request: &RequestHead) -> Option<HostPort> {
    let authority = Authority::parse(request.authority()?.as_bytes())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    HostPort::new(host, authority.port()?).ok()
}
