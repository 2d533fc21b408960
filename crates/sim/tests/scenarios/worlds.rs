//! What is tested, between its scripts: a server, a client, or a relay of both.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use sheave_client::origin::Origin;
use sheave_client::pool::Pool;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::listen::Listener;
use sheave_proxy::proxy::Proxy;
use sheave_server::config::ServerConfig;
use sheave_server::handler::Handler;
use sheave_server::server::Server;
use sheave_sim::connector::SimConnector;
use sheave_sim::net::SimNet;
use sheave_sim::recorder::Recorder;
use sheave_sim::socket::SimSocket;
use tokio::task::{JoinError, JoinHandle};

use crate::caller::{self, Diary};
use crate::catalogue::{Origins, Scenario};
use crate::handler::Scripted;
use crate::settings::{FRONT, NOBODY, ORIGIN, Settings, drain_plan};
use crate::{client, origin};

/// A client on one side of a server, a handler on the other.
pub(crate) async fn server(net: SimNet, scenario: Arc<Scenario>, settings: Settings) {
    let handler = Scripted { net: net.clone(), scenario: scenario.clone() };
    serve(net, scenario, &settings.server, Clock::start(), handler, None).await;
}

/// A relay between a client and an origin.
pub(crate) async fn relay(net: SimNet, scenario: Arc<Scenario>, settings: Settings) {
    let clock = Clock::start();
    let mut listener = net.listen(ORIGIN);
    let addresses = match scenario.origins {
        Origins::One => vec![ORIGIN],
        Origins::FirstDown => vec![NOBODY, ORIGIN],
        Origins::Down => vec![NOBODY],
        Origins::Silent => {
            // A listener that refuses new handshakes ignores them.
            let refused = listener.refuse_new();
            refused.expect("the simulated kernel can refuse");
            vec![ORIGIN]
        }
    };
    let origin = tokio::spawn(origin::serve(net.clone(), listener, scenario.clone()));
    let observer = Arc::new(Recorder::new(net.clone()));
    let origins = addresses.into_iter().map(Origin::at).collect();
    let proxy = Proxy::new(origins, net.connector(), settings.proxy, settings.client, clock, observer);
    let proxy = proxy.expect("the settings are in order");
    let pool = proxy.pool().clone();
    let sweep = tokio::spawn({
        let pool = pool.clone();
        async move { pool.sweep().await }
    });
    serve(net.clone(), scenario, &settings.server, clock, proxy, Some(&pool)).await;
    stop(&net, sweep).await;
    stop(&net, origin).await;
}

/// A user of a pool, and an origin.
pub(crate) async fn calls(net: SimNet, scenario: Arc<Scenario>, diary: Diary, settings: Settings) {
    let clock = Clock::start();
    let origin = tokio::spawn(origin::serve(net.clone(), net.listen(ORIGIN), scenario.clone()));
    let observer = Arc::new(Recorder::new(net.clone()));
    let pool = Arc::new(Pool::new(net.connector(), settings.client, clock, observer));
    let sweep = tokio::spawn({
        let pool = pool.clone();
        async move { pool.sweep().await }
    });
    let callers = (0..scenario.clients)
        .map(|which| tokio::spawn(caller::play(pool.clone(), scenario.clone(), which, clock, diary.clone())));
    for caller in callers.collect::<Vec<_>>() {
        watched(&net, Some(&pool), finish(&net, caller)).await;
    }
    watched(&net, Some(&pool), all_closed(&net)).await;
    stop(&net, sweep).await;
    stop(&net, origin).await;
}

/// Serves clients with `handler`, until all of their connections and the pool's have ended by themselves; drains then.
pub(crate) async fn serve<H: Handler<SimSocket>>(
    net: SimNet,
    scenario: Arc<Scenario>,
    config: &ServerConfig,
    clock: Clock,
    handler: H,
    pool: Option<&Pool<SimConnector>>,
) {
    let clients = |net: &SimNet| {
        let play = |which| tokio::spawn(client::play(net.clone(), scenario.clone(), which));
        (0..scenario.clients).map(play).collect()
    };
    serve_to(net, clients, config, clock, handler, pool).await;
}

/// Serves what clients `clients` begins with `handler`, until they and all connections have ended by themselves; drains then.
pub(crate) async fn serve_to<H: Handler<SimSocket>>(
    net: SimNet,
    clients: impl FnOnce(&SimNet) -> Vec<JoinHandle<()>>,
    config: &ServerConfig,
    clock: Clock,
    handler: H,
    pool: Option<&Pool<SimConnector>>,
) {
    let observer = Arc::new(Recorder::new(net.clone()));
    let drain = Drain::default();
    let server = Server::new(handler, *config, clock, observer, drain.clone());
    let has_drained = drain.clone();
    net.on_drain(move || drain.start(drain_plan(), clock.now()));
    let serving = tokio::spawn({
        let (server, listener) = (server.clone(), net.listen(FRONT));
        async move { server.serve(listener).await }
    });
    for client in clients(&net) {
        watched(&net, pool, finish(&net, client)).await;
    }
    watched(&net, pool, all_closed(&net)).await;
    if !has_drained.is_draining() {
        server.drain();
    }
    if let Some(report) = finish(&net, serving).await {
        let sum = report.finished + report.waited + report.forced;
        if report.told != sum || report.lost > report.forced {
            net.broken(format!("a drain's report does not add up: {report:?}"));
        }
    }
}

/// Waits until no socket of what is tested is open. To be awaited at the root of a run, which wakes for every change.
async fn all_closed(net: &SimNet) {
    poll_fn(|_| if net.open_sockets() == 0 { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Looks at the pool whenever something happens: law 9, as far as parked connections go.
async fn watched<T>(net: &SimNet, pool: Option<&Pool<SimConnector>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let bytes = pool.map_or(0, Pool::parked_buffer_bytes);
        if bytes > 0 {
            net.broken(format!("parked connections own {bytes} bytes of buffers (law 9)"));
        }
        work.as_mut().poll(cx)
    })
    .await
}

async fn finish<T>(net: &SimNet, task: JoinHandle<T>) -> Option<T> {
    task.await.inspect_err(|error| note(net, error)).ok()
}

pub(crate) async fn stop(net: &SimNet, task: JoinHandle<()>) {
    task.abort();
    finish(net, task).await;
}

fn note(net: &SimNet, error: &JoinError) {
    if error.is_panic() {
        net.broken("a task panicked");
    }
}
