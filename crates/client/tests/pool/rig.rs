//! A pool on the network that does as it is told, with its sweep, and a witness.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use sheave_client::call::Call;
use sheave_client::config::ClientConfig;
use sheave_client::error::PoolError;
use sheave_client::pool::Pool;
use sheave_client::stats::AddressState;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::{Closed, ConnectionId, Observer, Opened};
use sheave_lifecycle::time::Time;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::socket::Socket;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;
use tokio::task::JoinHandle;

use crate::net::Net;

/// The origin of most tests.
pub fn origin() -> SocketAddr {
    ([192, 0, 2, 1], 80).into()
}

/// Another address.
pub fn other() -> SocketAddr {
    ([192, 0, 2, 2], 80).into()
}

/// What was told.
#[derive(Default)]
pub struct Witness {
    pub opened: Mutex<Vec<ConnectionId>>,
    pub closed: Mutex<Vec<(ConnectionId, CloseReason)>>,
    pub dead: Mutex<Vec<CloseReason>>,
    pub failed: Mutex<usize>,
}

impl Observer for Witness {
    fn opened(&self, it: &Opened) {
        self.opened.lock().unwrap().push(it.id);
    }

    fn closed(&self, it: &Closed) {
        self.closed.lock().unwrap().push((it.id, it.reason));
    }

    fn found_dead(&self, _: ConnectionId, reason: CloseReason) {
        self.dead.lock().unwrap().push(reason);
    }

    fn connect_failed(&self, _: Option<SocketAddr>, _: CloseReason) {
        *self.failed.lock().unwrap() += 1;
    }
}

impl Witness {
    /// How many ended, by reason.
    pub fn ends(&self) -> BTreeMap<&'static str, usize> {
        let mut ends = BTreeMap::new();
        for (_, reason) in self.closed.lock().unwrap().iter() {
            *ends.entry(reason.label()).or_insert(0) += 1;
        }
        ends
    }
}

/// A pool at work.
pub struct Rig<C: Connect + 'static> {
    pub pool: Arc<Pool<C>>,
    pub witness: Arc<Witness>,
    pub clock: Clock,
    sweep: JoinHandle<()>,
}

impl<C: Connect + 'static> Rig<C>
where
    C::Socket: 'static,
{
    pub fn new(connector: C, config: ClientConfig) -> Self {
        let clock = Clock::start();
        let witness = Arc::new(Witness::default());
        let pool = Arc::new(Pool::new(connector, config, clock, witness.clone()));
        let sweeping = pool.clone();
        let sweep = tokio::spawn(async move { sweeping.sweep().await });
        Self { pool, witness, clock, sweep }
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub fn checkout(&self, reuse: Reuse) -> Option<Call<C::Socket>> {
        self.pool.checkout(&origin().into(), self.now(), reuse)
    }

    /// A fresh connection.
    pub async fn fresh(&self) -> Call<C::Socket> {
        self.pool.connect(&[origin().into()], Reuse::Never).await.expect("connects")
    }

    /// So many connections, parked.
    pub async fn park(&self, count: usize) {
        let mut calls = Vec::new();
        for _ in 0..count {
            calls.push(self.fresh().await);
        }
    }

    /// What the pool has of an address, if it knows it.
    pub fn state(&self, address: SocketAddr) -> Option<AddressState> {
        self.pool.addresses().into_iter().find(|state| state.site.address() == address)
    }

    /// A request for a connection that is on its way.
    pub fn ask(&self, reuse: Reuse) -> JoinHandle<Result<Call<C::Socket>, PoolError>> {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.acquire(&[origin().into()], reuse).await })
    }

    /// Ends all, and holds the laws against what happened.
    pub async fn finish(self) {
        self.sweep.abort();
        let _ = self.sweep.await;
        let stats = self.pool.stats();
        assert_eq!((stats.busy, stats.waiting), (0, 0));
        self.pool.clear();
        drop(self.pool);
        let mut opened = self.witness.opened.lock().unwrap().clone();
        let mut closed: Vec<_> = self.witness.closed.lock().unwrap().iter().map(|(id, _)| *id).collect();
        opened.sort_unstable();
        closed.sort_unstable();
        assert_eq!(opened, closed, "each ends once");
    }
}

impl Rig<Net> {
    pub fn on(net: &Net, config: ClientConfig) -> Self {
        Self::new(net.clone(), config)
    }
}

/// Lets the sweep and all else run for so long.
pub async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// One exchange, from head to head.
pub async fn exchange<S: Socket>(mut call: Call<S>, clock: Clock) -> u16 {
    let mut head = RequestHead::new(Method::GET, "/").unwrap();
    head.fields_mut().push(Known::Host, b"o").unwrap();
    call.send_head(&head, "/", BodyLength::None, clock.now()).unwrap();
    let mut status = 0;
    poll_fn(|cx| {
        let now = clock.now();
        let _ = call.poll_flush(cx, now);
        while !call.has_whole_response() {
            let read = std::task::ready!(call.poll_response_with(cx, now, |batch| {
                status = batch.head.map_or(status, |head| head.status().as_u16());
            }));
            read.unwrap();
        }
        std::task::Poll::Ready(())
    })
    .await;
    call.finish();
    status
}
