//! Attempts at one exchange: on which origin and connection, and whether there is another.

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Method;
use sheave_client::call::Call;
use sheave_client::error::{CallError, PoolError};
use sheave_client::origin::Origin;
use sheave_client::pool::Pool;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::UpstreamPart;
use sheave_lifecycle::retry::{Attempt, Evidence, GiveUp, Progress, Verdict, judge};
use sheave_net::dial::Connect;
use sheave_net::endpoint::{Announced, Endpoint, Manner, Protocols};
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::known::Known;
use sheave_proto::version::Version;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use smallvec::SmallVec;

use crate::config::HostPolicy;
use crate::failure::Failure;
use crate::forward::is_idempotent;
use crate::gateway::{Attempts, Gateway, Upstream, identity};
use crate::proxy::Proxy;
use crate::pump::{Pump, Pumped};
use crate::replay::Replay;
use crate::tunnel;
use crate::words::{self, Translated, Translation, asks_for_tunnel};

/// How one attempt ended.
pub(crate) enum Tried {
    /// The exchange is over.
    Done,
    /// The client failed.
    Client(HandlerError),
    /// The origin failed.
    Failed(Failure),
}

/// What is remembered from one attempt at an exchange to the next.
#[derive(Default)]
struct Tries {
    made: u32,
    replay: Replay,
    /// The origins that could not be reached.
    refused: Vec<usize>,
    has_failed_on_one: bool,
    last_evidence: Option<Evidence>,
}

impl<C: Connect, G> Proxy<C, G> {
    /// Sends the request on until it is answered, or cannot be.
    pub(crate) async fn forward<D: Socket>(
        &self,
        exchange: &mut Exchange<'_, D>,
        body: BodyLength,
        context: &mut G::Context,
    ) -> Result<(), HandlerError>
    where
        G: Gateway<D>,
    {
        let mut tries = Tries::default();
        self.note_request();
        let mut upstream = self.gateway.choose_upstream(exchange, Attempts::new(0, &[]), context).await;
        loop {
            if upstream.is_none() && !exchange.can_answer() {
                return Ok(());
            }
            tries.made += 1;
            exchange.note_attempt();
            let end = match &upstream {
                None => Tried::Failed(Failure::Unresolved),
                Some(upstream) => self.attempt(exchange, body, upstream, &mut tries, context).await,
            };
            let failure = match end {
                Tried::Done => return Ok(()),
                Tried::Client(gone) => return Err(gone),
                Tried::Failed(failure) => failure,
            };
            let origin = upstream.take().map(|upstream| identity(upstream.origin()));
            // What seldom happens has no room in every exchange.
            match Box::pin(self.recover(exchange, failure, origin, &mut tries, context)).await {
                ControlFlow::Continue(next) => upstream = next,
                ControlFlow::Break(end) => return end,
            }
        }
    }

    /// Decides what follows an attempt that failed, and does it: goes on with another one, for which an origin may be known,
    /// or answers.
    async fn recover<D: Socket>(
        &self,
        exchange: &mut Exchange<'_, D>,
        failure: Failure,
        origin: Option<usize>,
        tries: &mut Tries,
        context: &mut G::Context,
    ) -> ControlFlow<Result<(), HandlerError>, Option<G::Upstream>>
    where
        G: Gateway<D>,
    {
        let mut upstream = None;
        exchange.note_sent(failure.progress().sent());
        if !failure.is_of_the_origin() {
            // What became of one connection may be about to become of its like: the next attempt is on a fresh one.
            tries.has_failed_on_one = true;
        } else if let Some(origin) = origin {
            tries.refused.push(origin);
            let attempts = Attempts::new(tries.made, &tries.refused);
            let other = self.gateway.choose_upstream(exchange, attempts, context).await;
            upstream = other.filter(|other| !tries.refused.contains(&identity(other.origin())));
            if !exchange.can_answer() {
                return ControlFlow::Break(Ok(()));
            }
        }
        match self.judge(exchange, &failure, &tries.replay, upstream.is_some(), tries.made) {
            Verdict::Retry(evidence) => {
                exchange.note_retry(evidence);
                tries.last_evidence = Some(evidence);
                let wait = self.backoff(tries.made);
                if !failure.is_of_the_origin() && tries.made > 1 && sleep(exchange, wait).await.is_err() {
                    return ControlFlow::Break(Err(HandlerError::Client));
                }
                if upstream.is_none() {
                    let attempts = Attempts::new(tries.made, &tries.refused);
                    upstream = self.gateway.choose_upstream(exchange, attempts, context).await;
                }
                ControlFlow::Continue(upstream)
            }
            Verdict::Give(why) => {
                let mut answer = failure.answer();
                answer.attempts = tries.made;
                answer.evidence = tries.last_evidence;
                answer.gave_up = Some(why);
                if exchange.can_answer() {
                    return ControlFlow::Break(self.refuse(exchange, answer, context).await);
                }
                exchange.note_error(answer.cause);
                exchange.truncate(CloseReason::OtherSide);
                ControlFlow::Break(Ok(()))
            }
        }
    }

    fn judge<D: Socket>(
        &self,
        exchange: &Exchange<'_, D>,
        failure: &Failure,
        replay: &Replay,
        has_other: bool,
        made: u32,
    ) -> Verdict {
        // It has waited for as long as anybody waits.
        if failure.is_of_the_queue() {
            return Verdict::Give(GiveUp::Deadline);
        }
        // To ask the same origin the same again at once would only delay the answer.
        if failure.is_of_the_origin() && !has_other {
            return Verdict::Give(GiveUp::NoOther);
        }
        let attempt = Attempt {
            progress: if exchange.can_answer() { failure.progress() } else { Progress::Answered },
            is_idempotent: is_idempotent(exchange.request().method()),
            has_idempotency_key: self.has_trusted_key(exchange),
            is_replayable: replay.is_whole(),
            made,
        };
        self.with_budget(|budget, policy| {
            let verdict = judge(&attempt, policy, budget.has_token(exchange.now()));
            if let Verdict::Retry(_) = verdict {
                budget.spend();
            }
            verdict
        })
    }

    /// One attempt at one origin.
    async fn attempt<D: Socket>(
        &self,
        exchange: &mut Exchange<'_, D>,
        body: BodyLength,
        upstream: &G::Upstream,
        tries: &mut Tries,
        context: &mut G::Context,
    ) -> Tried
    where
        G: Gateway<D>,
    {
        let is_tunnel = asks_for_tunnel(exchange.request());
        // Where it stays until it is over, as it would have a place of its own in the exchange for each time it is moved.
        let mut slot;
        {
            let endpoints = endpoints(upstream.origin(), exchange);
            let endpoints = if is_tunnel { for_tunnel(&endpoints) } else { endpoints };
            let reuse = self.reuse(exchange, tries.has_failed_on_one, is_tunnel);
            slot = self.checkout(exchange, &endpoints, upstream, reuse);
            if slot.is_none() {
                // What seldom happens has no room in every exchange.
                match Box::pin(self.reach(exchange, &endpoints, upstream, reuse)).await {
                    Ok(call) => slot = Some(call),
                    Err(end) => return end,
                }
            }
        }
        let Some(call) = &mut slot else { return Tried::Failed(Failure::Unresolved) };
        let began = exchange.now();
        exchange.note_upstream(told_of(call, None));
        if is_tunnel && let Err(end) = Box::pin(beside(exchange, call.settled())).await {
            return end;
        }
        let translation = match self.send_head(exchange, call, body, upstream.origin(), is_tunnel) {
            Ok(translation) => translation,
            Err(error) => return Tried::Failed(Failure::Call(error, call.progress())),
        };
        let keeps_body =
            is_idempotent(exchange.request().method()) || self.config.trust_idempotency_key || call.can_be_refused();
        let (kept, is_end) = tries.replay.kept();
        if (!kept.is_empty() || is_end)
            && let Err(error) = Box::pin(send_kept(call, began, kept, is_end)).await
        {
            return Tried::Failed(Failure::Call(error, call.progress()));
        }
        let mut pump = Pump {
            exchange,
            call,
            config: &self.config,
            translation,
            replay: &mut tries.replay,
            keeps_body,
            holds_head: G::HAS_FILTERS,
            answered_at: None,
        };
        let pumped = match G::HAS_FILTERS {
            false => pump.run().await,
            true => Box::pin(self.pump(&mut pump, context)).await,
        };
        if let Some(at) = pump.answered_at {
            exchange.note_upstream(told_of(call, Some(at.since(began))));
        }
        exchange.note_sent(call.progress().sent());
        if let Pumped::Switched = pumped
            && let Some(relay) = slot.take().map(|call| Box::pin(tunnel::relay(exchange, call)))
        {
            return relay.await.map_or_else(Tried::Client, |()| Tried::Done);
        }
        slot.map_or(Tried::Done, |call| conclude(call, pumped))
    }

    /// Whether the client vouches for its request, and may.
    fn has_trusted_key<D: Socket>(&self, exchange: &Exchange<'_, D>) -> bool {
        self.config.trust_idempotency_key && exchange.request().fields().contains(Known::IdempotencyKey)
    }

    /// Which parked connection will do.
    fn reuse<D: Socket>(&self, exchange: &Exchange<'_, D>, is_fresh: bool, is_tunnel: bool) -> Reuse {
        // RFC 9110 §9.2.2: what is neither safe nor idempotent cannot be sent again, and is not put at risk; nor is what
        // may have begun a conversation in another protocol, whatever its method.
        match is_fresh {
            true => Reuse::Never,
            false if is_tunnel => Reuse::Careful,
            false if is_idempotent(exchange.request().method()) || self.has_trusted_key(exchange) => Reuse::Usual,
            false => Reuse::Careful,
        }
    }

    /// A parked connection that is alive and young enough.
    fn checkout<D: Socket>(
        &self,
        exchange: &Exchange<'_, D>,
        endpoints: &[Endpoint],
        upstream: &impl Upstream,
        reuse: Reuse,
    ) -> Option<Call<C::Socket>> {
        let now = exchange.now();
        for part in by_turn(endpoints, upstream) {
            for endpoint in part {
                if let Some(call) = self.pool.checkout(endpoint, now, reuse) {
                    return Some(call);
                }
            }
        }
        None
    }

    /// A fresh connection; where there may be no more of them, the next that comes free.
    async fn reach<D: Socket>(
        &self,
        exchange: &mut Exchange<'_, D>,
        endpoints: &[Endpoint],
        upstream: &impl Upstream,
        reuse: Reuse,
    ) -> Result<Call<C::Socket>, Tried> {
        if endpoints.is_empty() {
            upstream.refused(exchange.now());
            return Err(Tried::Failed(Failure::Unresolved));
        }
        let in_turn: SmallVec<[Endpoint; 4]> = by_turn(endpoints, upstream).into_iter().flatten().cloned().collect();
        match beside(exchange, Pool::connect(&self.pool, &in_turn, reuse)).await? {
            Ok(call) => Ok(call),
            Err(error) => {
                if let PoolError::Dial(_) | PoolError::Handshake(_) = error {
                    upstream.refused(exchange.now());
                }
                Err(Tried::Failed(Failure::Pool(error)))
            }
        }
    }

    fn send_head<D: Socket>(
        &self,
        exchange: &mut Exchange<'_, D>,
        call: &mut Call<C::Socket>,
        body: BodyLength,
        origin: &Origin,
        is_tunnel: bool,
    ) -> Result<Option<Box<Translation>>, CallError> {
        let now = exchange.now();
        let request = exchange.request_mut();
        // RFC 9112 §3.2: a request of HTTP/1.0 may come without Host; ours must have one.
        if self.config.host == HostPolicy::Origin || !request.fields().contains(Known::Host) {
            let _ = request.fields_mut().set(Known::Host, origin.authority().as_bytes());
        }
        if call.version() != Version::Http2 {
            // RFC 9110 §10.1.4: it is for one hop, and HTTP/1 asks for nothing on this one.
            request.fields_mut().remove(Known::Te);
        }
        let translated = match is_tunnel {
            true => words::for_origin(request, call.version(), call.takes_extended_connect()),
            false => Ok(None),
        };
        let (other, translation) = translated.map_err(CallError::Misuse)?.map(Translated::into_parts).unzip();
        let request = other.as_ref().unwrap_or(request);
        if origin.base_path().is_empty() {
            call.send_head(request, request.path_and_query(), body, now)?;
        } else {
            let path = match request.path_and_query() {
                "*" if *request.method() == Method::OPTIONS => "",
                path => path,
            };
            call.send_head(request, &format!("{}{path}", origin.base_path()), body, now)?;
        }
        Ok(translation.flatten().map(Box::new))
    }

    /// The upper half of an interval that doubles with each attempt: spread, and never nothing.
    fn backoff(&self, made: u32) -> Duration {
        let whole = self.config.retry.backoff.saturating_mul(1 << made.saturating_sub(2).min(6));
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// What is told of the connection that carries a call.
fn told_of<U: Socket>(call: &Call<U>, response_after: Option<Duration>) -> UpstreamPart {
    UpstreamPart {
        address: call.address(),
        connection: call.connection_id(),
        is_reused: call.is_reused(),
        response_after,
    }
}

/// Lets go of a call that was pumped, and says how its attempt ended.
fn conclude<U: Socket>(call: Call<U>, pumped: Pumped) -> Tried {
    match pumped {
        Pumped::Done => {
            call.finish();
            Tried::Done
        }
        Pumped::Answered | Pumped::Held(_) | Pumped::Switched => {
            if call.has_whole_response() {
                call.finish();
            } else {
                call.abandon(CloseReason::OtherSide);
            }
            Tried::Done
        }
        Pumped::Client(gone) => {
            call.abandon(CloseReason::OtherSide);
            Tried::Client(gone)
        }
        Pumped::Origin(error) => {
            let progress = call.progress();
            // A rule that only a proxy knows is one that the connection's machine did not end it for.
            if let CallError::Protocol(broken) = error {
                call.abandon(CloseReason::Protocol(broken.label()));
            }
            Tried::Failed(Failure::Call(error, progress))
        }
    }
}

/// The endpoints from the one whose turn it is on, and those before it.
fn by_turn<'e>(endpoints: &'e [Endpoint], upstream: &impl Upstream) -> [&'e [Endpoint]; 2] {
    let first = upstream.rotation().checked_rem(endpoints.len()).unwrap_or_default();
    let (before, from) = endpoints.split_at(first);
    [from, before]
}

/// Where an origin is, on behalf of the client where it is to be told.
fn endpoints<D: Socket>(origin: &Origin, exchange: &Exchange<'_, D>) -> Arc<[Endpoint]> {
    let endpoints = origin.endpoints();
    if origin.manner().announces.is_none() {
        return endpoints;
    }
    let client = Arc::new(Announced { source: exchange.peer(), destination: exchange.local() });
    endpoints.iter().map(|endpoint| endpoint.clone().on_behalf_of(client.clone())).collect()
}

/// The same places over HTTP/1, where there is a choice: a tunnel has a connection of its own, and whoever speaks another
/// protocol at all does so there.
fn for_tunnel(endpoints: &[Endpoint]) -> Arc<[Endpoint]> {
    let alone = |endpoint: &Endpoint| match endpoint.manner().protocols {
        Protocols::Either => endpoint.spoken_to(Manner { protocols: Protocols::Http1, ..endpoint.manner().clone() }),
        Protocols::Http1 | Protocols::Http2 => endpoint.clone(),
    };
    endpoints.iter().map(alone).collect()
}

/// Sends what was kept of a request's body again.
async fn send_kept<U: Socket>(
    call: &mut Call<U>,
    now: sheave_lifecycle::time::Time,
    kept: &[u8],
    is_end: bool,
) -> Result<(), CallError> {
    poll_fn(|cx| {
        let data = [kept];
        let data: &[&[u8]] = if kept.is_empty() { &[] } else { &data };
        // A request whose head was its end has ended already; ending it again does nothing.
        Poll::Ready(call.send_body(cx, now, data, is_end, None))
    })
    .await
}

/// Waits for `work`, and for the client's end or deadline.
pub(crate) async fn beside<D: Socket, T>(
    exchange: &mut Exchange<'_, D>,
    work: impl Future<Output = T>,
) -> Result<T, Tried> {
    let mut work = pin!(work);
    poll_fn(|cx: &mut Context<'_>| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        let now = exchange.now();
        // A body that is not whole is not read meanwhile: its client's time stands still.
        if exchange.has_whole_request()
            && let Poll::Ready(gone) = exchange.poll_gone(cx, now)
        {
            return Poll::Ready(Err(Tried::Client(gone)));
        }
        Poll::Pending
    })
    .await
}

async fn sleep<D: Socket>(exchange: &mut Exchange<'_, D>, wait: Duration) -> Result<(), Tried> {
    beside(exchange, tokio::time::sleep(wait)).await
}
