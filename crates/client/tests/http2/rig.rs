//! A pool on the simulated network, and one exchange on it.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::Method;
use sheave_client::call::Call;
use sheave_client::config::ClientConfig;
use sheave_client::error::{CallError, ClientError, PoolError};
use sheave_client::pool::Pool;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::{Closed, ConnectionId, Observer, Opened};
use sheave_net::clock::Clock;
use sheave_net::endpoint::{Endpoint, Manner, Protocols};
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;
use sheave_sim::connector::SimConnector;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use tokio::task::JoinHandle;

pub const ORIGIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// An origin that speaks HTTP/2, as is known.
pub fn h2c() -> Endpoint {
    Endpoint::new(ORIGIN, Manner { protocols: Protocols::Http2, ..Manner::default() })
}

/// What was told.
#[derive(Default)]
pub struct Witness {
    opened: Mutex<Vec<ConnectionId>>,
    closed: Mutex<Vec<(ConnectionId, CloseReason)>>,
}

impl Observer for Witness {
    fn opened(&self, it: &Opened) {
        self.opened.lock().unwrap().push(it.id);
    }

    fn closed(&self, it: &Closed) {
        self.closed.lock().unwrap().push((it.id, it.reason));
    }
}

/// A pool at work.
#[derive(Clone)]
pub struct Rig {
    pub net: SimNet,
    pub pool: Arc<Pool<SimConnector>>,
    witness: Arc<Witness>,
    pub clock: Clock,
}

/// What became of an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub interim: Vec<u16>,
    pub body: Vec<u8>,
    pub trailers: Option<Vec<(String, String)>>,
}

impl Rig {
    pub async fn call(&self) -> Result<Call<SimSocket>, PoolError> {
        self.pool.acquire(&[h2c()], Reuse::Usual).await
    }

    /// One exchange.
    pub async fn get(&self) -> Result<Answer, ClientError> {
        let call = self.call().await?;
        exchange(call, self.clock, Method::GET, b"").await
    }

    /// So many exchanges, side by side.
    pub fn begin(&self, count: usize) -> Vec<JoinHandle<Result<Answer, ClientError>>> {
        let begin = |_| {
            let rig = self.clone();
            tokio::spawn(async move { rig.get().await })
        };
        (0..count).map(begin).collect()
    }

    /// Why connections ended, and how many for each reason.
    pub fn ends(&self) -> BTreeMap<&'static str, usize> {
        let mut ends = BTreeMap::new();
        for (_, reason) in self.witness.closed.lock().unwrap().iter() {
            *ends.entry(reason.label()).or_insert(0) += 1;
        }
        ends
    }

    pub fn opened(&self) -> usize {
        self.witness.opened.lock().unwrap().len()
    }

    /// Waits until nothing moves any more.
    pub async fn settle(&self) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Runs a test: whatever it does, each connection ends once, and nothing is left.
pub fn test<F: Future<Output = ()>>(config: ClientConfig, scenario: impl FnOnce(Rig) -> F) {
    let record = run(&Plan::calm("http2"), |net| async move {
        let (witness, clock) = (Arc::new(Witness::default()), Clock::start());
        let pool = Arc::new(Pool::new(net.connector(), config, clock, witness.clone()));
        let rig = Rig { net, pool: pool.clone(), witness: witness.clone(), clock };
        let sweeping = pool.clone();
        let sweep = tokio::spawn(async move { sweeping.sweep().await });
        scenario(rig).await;
        sweep.abort();
        let _ = sweep.await;
        let stats = pool.stats();
        assert_eq!((stats.busy, stats.waiting, stats.streams), (0, 0, 0));
        pool.clear();
        drop(pool);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let mut opened = witness.opened.lock().unwrap().clone();
        let mut closed: Vec<_> = witness.closed.lock().unwrap().iter().map(|(id, _)| *id).collect();
        opened.sort_unstable();
        closed.sort_unstable();
        assert_eq!(opened, closed, "each ends once");
    });
    assert_eq!((record.ended, record.broken), (Ended::Completed, Vec::new()), "{}", record.trace);
    assert_eq!(record.sockets_left, 0);
}

pub fn head(method: Method) -> RequestHead {
    let mut head = RequestHead::new(method, "/path?query").unwrap();
    head.fields_mut().push(Known::Host, b"origin.example").unwrap();
    head
}

/// One exchange on a call, from head to end.
pub async fn exchange(
    mut call: Call<SimSocket>,
    clock: Clock,
    method: Method,
    body: &[u8],
) -> Result<Answer, ClientError> {
    let length = if body.is_empty() { BodyLength::None } else { BodyLength::Known(body.len() as u64) };
    if let Err(error) = call.send_head(&head(method), "/path?query", length, clock.now()) {
        return Err(ClientError::Call(error, call.progress()));
    }
    let mut left = body;
    let answer = poll_fn(|cx| {
        let now = clock.now();
        while call.is_sending() && call.poll_flush(cx, now).is_ready() {
            let (piece, rest) = left.split_at(left.len().min(10_000));
            left = rest;
            call.send_body(cx, now, &[piece], left.is_empty(), None).unwrap();
        }
        let _ = call.poll_flush(cx, now);
        Poll::Ready(())
    });
    answer.await;
    let mut answer = Answer { status: 0, interim: Vec::new(), body: Vec::new(), trailers: None };
    loop {
        match receive(&mut call, clock, &mut left, &mut answer).await {
            Ok(true) => {
                call.finish();
                return Ok(answer);
            }
            Ok(false) => {}
            Err(error) => return Err(ClientError::Call(error, call.progress())),
        }
    }
}

/// Shows one part of a response; whether it was the last.
async fn receive(
    call: &mut Call<SimSocket>,
    clock: Clock,
    left: &mut &[u8],
    answer: &mut Answer,
) -> Result<bool, CallError> {
    let mut alarm = sheave_net::alarm::Alarm::default();
    poll_fn(|cx| {
        let now = clock.now();
        while call.poll_flush(cx, now).is_ready() && call.is_sending() {
            let (piece, rest) = left.split_at(left.len().min(10_000));
            *left = rest;
            call.send_body(cx, now, &[piece], left.is_empty(), None)?;
        }
        let shown = call.poll_response_with(cx, now, |batch| {
            answer.interim.extend(batch.interim.iter().map(|head| head.status().as_u16()));
            answer.status = batch.head.map_or(answer.status, |head| head.status().as_u16());
            batch.data.iter().for_each(|piece| answer.body.extend_from_slice(piece));
            answer.trailers = batch.trailers.as_ref().map(lines);
            batch.is_end
        });
        if shown.is_ready() {
            return shown;
        }
        alarm.poll(cx, clock, now, call.deadline().map(|due| due.at)).map(|()| Err(call.expire()))
    })
    .await
}

fn lines(fields: &Fields) -> Vec<(String, String)> {
    fields.iter().map(|field| (field.name().to_owned(), String::from_utf8_lossy(field.value()).into_owned())).collect()
}
