//! A client on the simulated network, and origins that take their time over each part of what they say.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use sheave_client::builder::ClientBuilder;
use sheave_client::client::Client;
use sheave_net::host_port::HostPort;
use sheave_net::lookup::Lookup;
use sheave_sim::connector::SimConnector;
use sheave_sim::laws::{Patience, check};
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::recorder::Recorder;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Where the origin is.
pub const ORIGIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// How long each step of an origin, and a lookup, takes.
pub const STEP: Duration = Duration::from_millis(5);

/// Knows where the origin is, after a while.
pub struct SlowLookup(pub Duration);

impl Lookup for SlowLookup {
    async fn lookup(&self, _: &HostPort) -> io::Result<Vec<SocketAddr>> {
        sleep(self.0).await;
        Ok(vec![ORIGIN])
    }
}

pub type SimClient = Client<SimConnector>;

/// What an origin does with a connection.
pub type Serve = fn(SimSocket) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a scenario with a client and an origin, and holds the laws against what happened. Nothing may be left of either.
pub fn test<F: Future<Output = ()>>(
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    serve: Serve,
    scenario: impl FnOnce(SimClient) -> F,
) {
    let record = run(&Plan::calm("client"), |net: SimNet| async move {
        let mut listener = net.listen(ORIGIN);
        let origin = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                connections.spawn(serve(listener.accept().await));
            }
        });
        let builder = Client::builder().resolver(SlowLookup(STEP)).observer(Arc::new(Recorder::new(net.clone())));
        let client = configure(builder).connector(net.connector()).build().unwrap();
        scenario(client.clone()).await;
        let stats = client.pool_stats();
        assert_eq!((stats.busy, stats.waiting, stats.streams), (0, 0, 0), "every place is free");
        drop(client);
        // What ends with the client ends in the next turns of the runtime.
        sleep(STEP).await;
        origin.abort();
        let _ = origin.await;
        sleep(STEP).await;
    });
    assert_eq!((record.ended, &record.broken), (Ended::Completed, &Vec::new()), "{}", record.trace);
    assert_eq!((record.tasks_left, record.sockets_left), (0, 0), "{}", record.trace);
    let patience = Patience {
        timeout: Duration::from_secs(60),
        tick: Duration::from_millis(10),
        sweep: Duration::from_millis(100),
    };
    let broken = check(&record, &patience);
    assert!(broken.is_empty(), "{broken:?}\n{}", record.trace);
}

/// An origin that speaks HTTP/1, and answers with what was asked: `target content`. It moves `/moved` on.
pub fn http1(mut socket: SimSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { while exchange(&mut socket).await.is_some() {} })
}

async fn exchange(socket: &mut SimSocket) -> Option<()> {
    let head = until(socket, b"\r\n\r\n").await?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let content = if is_chunked { until(socket, b"0\r\n\r\n").await? } else { String::new() };
    let target = head.split(' ').nth(1)?;
    // The lines of chunks that are no content are those that are short.
    let content: String = content.split("\r\n").filter(|line| line.len() > 2).collect();
    let text = format!("{target} {content}");
    let (first, rest) = text.split_at(text.len() / 2);
    let status = if target == "/moved" { "307 Moved\r\nLocation: /target" } else { "200 OK" };
    let end = format!("{:x}\r\n{rest}\r\n0\r\nEtag: x\r\n\r\n", rest.len());
    for part in [
        "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned(),
        format!("HTTP/1.1 {status}\r\n"),
        "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        format!("{:x}\r\n{first}\r\n", first.len()),
        end,
    ] {
        sleep(STEP).await;
        socket.write_all(part.as_bytes()).await.ok()?;
    }
    Some(())
}

/// Reads up to and including `end`; `None` when the connection ends.
async fn until(socket: &mut SimSocket, end: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(end) {
        text.push(socket.read_u8().await.ok()?);
    }
    String::from_utf8(text).ok()
}

/// An origin that speaks HTTP/2, because others made it, and answers like [`http1`].
pub fn http2(socket: SimSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Ok(mut connection) = h2::server::handshake(socket).await else { return };
        let mut streams = JoinSet::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            streams.spawn(async move {
                let path = request.uri().path().to_owned();
                let (mut body, mut content) = (request.into_body(), Vec::new());
                while let Some(Ok(data)) = body.data().await {
                    body.flow_control().release_capacity(data.len()).unwrap();
                    content.extend_from_slice(&data);
                }
                sleep(STEP).await;
                let Ok(mut send) = respond.send_response(http::Response::new(()), false) else { return };
                sleep(STEP).await;
                let _ = send.send_data(Bytes::from(format!("{path} ")), false);
                sleep(STEP).await;
                let _ = send.send_data(Bytes::from(content), true);
            });
        }
    })
}

/// Drops `work` right after it was polled so many times; `None` then.
pub async fn cancelled_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Content that comes piece by piece, each after a while.
pub struct SlowPieces {
    left: Vec<&'static str>,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl SlowPieces {
    pub fn of(pieces: &[&'static str]) -> Self {
        Self { left: pieces.iter().rev().copied().collect(), pause: Box::pin(sleep(STEP)) }
    }
}

impl futures_core::Stream for SlowPieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        std::task::ready!(self.pause.as_mut().poll(cx));
        self.pause = Box::pin(sleep(STEP));
        Poll::Ready(self.left.pop().map(|piece| Ok(Bytes::from(piece))))
    }
}
