//! A server on the simulated network, what its observer was told, and clients of HTTP/2.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use sheave_lifecycle::close::Severity;
use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_lifecycle::observe::{Closed, ExchangeEnd, Moved, Observer, Opened, Outcome};
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use sheave_net::drain::Drain;
use sheave_net::socket::Socket;
use sheave_net::tls::listener::TlsListener;
use sheave_proto::config::{ConnectionConfig, Timeouts};
use sheave_proto::h2_config::Http2Config;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use tokio::task::JoinHandle;

use crate::handler::Scripted;
use crate::peer::{MANNERS, Manner};

pub(crate) const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// What the observer was told.
#[derive(Default)]
pub(crate) struct Told {
    ends: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
    opened: Mutex<u32>,
    worst: Mutex<Option<Severity>>,
    moved: Mutex<Vec<&'static str>>,
}

impl Observer for Told {
    fn opened(&self, _: &Opened) {
        *self.opened.lock().unwrap() += 1;
    }

    fn moved(&self, it: &Moved) {
        self.moved.lock().unwrap().push(it.phase.label());
    }

    fn closed(&self, it: &Closed) {
        self.ends.lock().unwrap().push(format!("{} in {}", it.reason, it.phase.label()));
        let mut worst = self.worst.lock().unwrap();
        *worst = (*worst).max(Some(it.reason.severity(it.side, it.phase)));
    }

    fn exchange_ended(&self, it: &ExchangeEnd<'_>) {
        let how = match it.outcome {
            Outcome::Answered(by) => by.label(),
            Outcome::Reset => "reset",
        };
        let error = it.error.map_or(String::new(), |error| format!(" {error}"));
        self.exchanges.lock().unwrap().push(format!(
            "{}. {} {} {} {} {how} {}>{}{error}",
            it.number, it.method, it.target, it.version, it.status, it.request_bytes, it.response_bytes
        ));
    }

    fn refused(&self, limit: &'static str) {
        self.exchanges.lock().unwrap().push(format!("refused by {limit}"));
    }
}

/// What is known when a test's run is over.
pub(crate) struct Known {
    /// How connections ended.
    pub(crate) ends: Vec<String>,
    /// How exchanges ended.
    pub(crate) exchanges: Vec<String>,
    /// To which phases connections moved.
    pub(crate) moved: Vec<&'static str>,
    /// The worst of the connections' ends.
    pub(crate) severity: Severity,
    /// What became of connections in the drain with which each run ends.
    pub(crate) report: DrainReport,
}

/// A server that is served to.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) net: SimNet,
    pub(crate) server: Server<Scripted>,
    pub(crate) handler: Scripted,
    pub(crate) told: Arc<Told>,
}

impl Told {
    pub(crate) fn ends(&self) -> Vec<String> {
        self.ends.lock().unwrap().clone()
    }

    pub(crate) fn exchanges(&self) -> Vec<String> {
        self.exchanges.lock().unwrap().clone()
    }
}

/// Short deadlines of different lengths, so that each can be told by when it passes; a drain of half a second.
pub(crate) fn config() -> ServerConfig {
    ServerConfig {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                first_byte: Duration::from_secs(1),
                head: Duration::from_secs(2),
                body: Duration::from_secs(3),
                idle: Duration::from_secs(4),
                ..Timeouts::default()
            },
            http2: Http2Config {
                window_timeout: Duration::from_secs(5),
                ping_interval: Duration::from_secs(6),
                ping_timeout: Duration::from_secs(2),
                goaway_timeout: Duration::from_secs(1),
                ..Http2Config::default()
            },
            ..ConnectionConfig::default()
        },
        write_timeout: Duration::from_secs(7),
        drain: DrainPlan {
            quiet: Duration::from_millis(100),
            grace: Duration::from_millis(500),
            ..DrainPlan::default()
        },
        ..ServerConfig::default()
    }
}

/// Plays `script` against a server of `config`, drains it, and holds to it that nothing is left.
pub(crate) fn play<F: Future<Output = ()>>(config: &ServerConfig, script: impl FnOnce(Rig) -> F + 'static) -> Known {
    play_in(MANNERS[0], config, script)
}

/// As [`play`], with a listener that secures connections where they are to be.
pub(crate) fn play_in<F: Future<Output = ()>>(
    manner: Manner,
    config: &ServerConfig,
    script: impl FnOnce(Rig) -> F + 'static,
) -> Known {
    play_on(&Plan::calm("http2"), manner, config, script)
}

/// As [`play_in`], on the network of `plan`.
pub(crate) fn play_on<F: Future<Output = ()>>(
    plan: &Plan,
    manner: Manner,
    config: &ServerConfig,
    script: impl FnOnce(Rig) -> F + 'static,
) -> Known {
    let told = Arc::new(Told::default());
    let report = Arc::new(Mutex::new(None));
    let (observer, reported, config) = (told.clone(), report.clone(), *config);
    let record = run(plan, |net| async move {
        let handler = Scripted::default();
        let server = Server::new(handler.clone(), config, Clock::start(), observer.clone(), Drain::default());
        let listener = TlsListener::new(net.listen(FRONT), manner.server_tls());
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        script(Rig { net, server: server.clone(), handler: handler.clone(), told: observer }).await;
        server.drain();
        *reported.lock().unwrap() = Some(serving.await.unwrap());
        assert_eq!(handler.running(), 0, "handlers are left");
    });
    let broken: Vec<_> = record.broken.iter().filter(|it| !it.contains("on purpose")).collect();
    assert!(record.ended == Ended::Completed && broken.is_empty(), "{:?} {broken:?}\n{}", record.ended, record.trace);
    assert_eq!((record.tasks_left, record.sockets_left), (0, 0), "{}", record.trace);
    let (opened, ends) = (*told.opened.lock().unwrap(), told.ends());
    assert_eq!(opened as usize, ends.len(), "every connection ends with one reason");
    let moved = std::mem::take(&mut *told.moved.lock().unwrap());
    let report = report.lock().unwrap().take().unwrap();
    let severity = told.worst.lock().unwrap().unwrap_or(Severity::Benign);
    Known { ends, exchanges: told.exchanges(), moved, severity, report }
}

impl Rig {
    pub(crate) async fn connect(&self) -> SimSocket {
        self.net.client().connect(&FRONT.into()).await.unwrap()
    }

    /// A client of the h2 crate's on a new connection.
    pub(crate) async fn client(&self) -> Client {
        Client::over(self.connect().await).await
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// A response that is whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A client that others made.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) driver: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn over(socket: impl Socket + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
        let (send, connection) = builder.handshake(socket).await.unwrap();
        Self { send, driver: tokio::spawn(connection) }
    }

    pub(crate) fn request(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(format!("http://o{path}")).body(()).unwrap()
    }

    pub(crate) async fn start(&mut self, request: Request<()>, is_end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request, is_end).unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, h2::Error> {
        let (response, _) = self.start(Self::request("GET", path), true).await;
        whole(response).await
    }

    /// Ends the connection as a client does that needs it no more, and gives what came of it.
    pub(crate) async fn leave(self) -> Result<(), h2::Error> {
        drop(self.send);
        self.driver.await.unwrap()
    }
}

pub(crate) async fn whole(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut body) = response.await?.into_parts();
    let (content, trailers) = rest(&mut body).await?;
    Ok(Answer { status: parts.status.as_u16(), fields: parts.headers, body: content, trailers })
}

pub(crate) async fn rest(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut content = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        content.extend_from_slice(&piece);
    }
    Ok((content, body.trailers().await?))
}

pub(crate) const OK: u16 = StatusCode::OK.as_u16();
