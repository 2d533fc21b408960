//! Origins behind TLS, over the simulated network: how a connection comes to be, is kept, and is not.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::{Method, Response};
use rcgen::{CertificateParams, KeyPair};
use sheave_client::call::Call;
use sheave_client::config::ClientConfig;
use sheave_client::error::ClientError;
use sheave_client::pool::Pool;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::observe::{Closed, Observer};
use sheave_lifecycle::retry::Progress;
use sheave_net::clock::Clock;
use sheave_net::dial_tls::TlsConnector;
use sheave_net::endpoint::{Endpoint, Manner, Protocols, Secure};
use sheave_net::secured::Alpn;
use sheave_net::socket::Socket;
use sheave_net::tls::certificate::{Identity, Roots};
use sheave_net::tls::client::{ClientSettings, ClientTls, Trust};
use sheave_net::tls::server::{ServerSettings, ServerTls};
use sheave_net::tls::socket::TlsSocket;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;
use sheave_proto::version::Version;
use sheave_sim::connector::SimConnector;
use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ORIGIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 443);

/// A certificate for `localhost`, and those who believe it.
static LOCALHOST: LazyLock<(Identity, Roots)> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem();
    let identity = Identity::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (identity, Roots::from_pem(pem.as_bytes()).unwrap())
});

/// Why connections ended, or never were.
#[derive(Default)]
struct Witness {
    closed: Mutex<BTreeMap<&'static str, usize>>,
    failed: Mutex<Vec<CloseReason>>,
}

impl Observer for Witness {
    fn closed(&self, it: &Closed) {
        *self.closed.lock().unwrap().entry(it.reason.label()).or_insert(0) += 1;
    }

    fn connect_failed(&self, _: Option<SocketAddr>, reason: CloseReason) {
        self.failed.lock().unwrap().push(reason);
    }
}

type Secured = TlsConnector<SimConnector>;

struct Rig {
    net: SimNet,
    pool: Arc<Pool<Secured>>,
    witness: Arc<Witness>,
    clock: Clock,
    tls: ClientTls,
}

impl Rig {
    fn endpoint(&self, name: &str, protocols: Protocols) -> Endpoint {
        let secure = Secure { client: self.tls.clone(), name: name.parse().unwrap() };
        Endpoint::new(ORIGIN, Manner { tls: Some(secure), protocols, announces: None })
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<(Version, Option<Alpn>, bool), ClientError> {
        let call = self.pool.acquire(std::slice::from_ref(endpoint), Reuse::Usual).await?;
        let alpn = call.secured().and_then(|secured| secured.alpn);
        let told = (call.version(), alpn, call.is_reused());
        assert_eq!(status(call, self.clock).await, 200);
        Ok(told)
    }

    fn ends(&self) -> BTreeMap<&'static str, usize> {
        self.witness.closed.lock().unwrap().clone()
    }
}

async fn status<S: Socket>(mut call: Call<S>, clock: Clock) -> u16 {
    let mut head = RequestHead::new(Method::GET, "/").unwrap();
    head.fields_mut().push(Known::Host, b"localhost").unwrap();
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

fn test<F: Future<Output = ()>>(config: ClientConfig, scenario: impl FnOnce(Arc<Rig>) -> F) {
    let record = run(&Plan::calm("secured"), |net| async move {
        let (witness, clock) = (Arc::new(Witness::default()), Clock::start());
        let connector = TlsConnector::new(net.connector());
        let pool = Arc::new(Pool::new(connector, config, clock, witness.clone()));
        let tls = ClientTls::new(&ClientSettings::new(Trust::Roots(LOCALHOST.1.clone()))).unwrap();
        let rig = Arc::new(Rig { net, pool: pool.clone(), witness, clock, tls });
        let sweeping = pool.clone();
        let sweep = tokio::spawn(async move { sweeping.sweep().await });
        scenario(rig.clone()).await;
        sweep.abort();
        let _ = sweep.await;
        assert_eq!((pool.stats().busy, pool.stats().waiting), (0, 0));
        pool.clear();
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
    assert_eq!((record.ended, record.broken), (Ended::Completed, Vec::new()), "{}", record.trace);
}

/// An origin that speaks these.
struct Server {
    listener: SimListener,
    tls: ServerTls,
}

impl Server {
    fn start(net: &SimNet, alpn: &[Alpn]) -> Self {
        let settings = ServerSettings { alpn: alpn.to_vec(), ..ServerSettings::new(vec![LOCALHOST.0.clone()]) };
        Self { listener: net.listen(ORIGIN), tls: ServerTls::new(&settings).unwrap() }
    }

    async fn accept(&mut self) -> TlsSocket<SimSocket> {
        let mut socket = self.tls.accept(self.listener.accept().await);
        poll_fn(|cx| socket.poll_handshake(cx)).await.unwrap();
        socket
    }
}

/// Answers requests until the other side ends.
async fn serve(mut socket: TlsSocket<SimSocket>) {
    if socket.secured().and_then(|secured| secured.alpn) == Some(Alpn::Http2) {
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let _ = respond.send_response(Response::new(()), true);
        }
        return;
    }
    let mut buffer = [0; 4096];
    while socket.read(&mut buffer).await.is_ok_and(|len| len > 0) {
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        socket.flush().await.unwrap();
    }
}

#[test]
fn the_version_is_the_origins_choice_among_what_is_offered() {
    use Alpn::{Http1, Http2};
    for (speaks, protocols, version, alpn) in [
        (&[Http2, Http1][..], Protocols::Either, Version::Http2, Some(Http2)),
        (&[Http1], Protocols::Either, Version::Http11, Some(Http1)),
        (&[Http2, Http1], Protocols::Http1, Version::Http11, Some(Http1)),
        (&[Http2, Http1], Protocols::Http2, Version::Http2, Some(Http2)),
        // It knows nothing of ALPN, and so nothing of HTTP/2.
        (&[], Protocols::Either, Version::Http11, None),
    ] {
        test(ClientConfig::default(), |rig| async move {
            let mut server = Server::start(&rig.net, speaks);
            let serving = tokio::spawn(async move { serve(server.accept().await).await });
            let endpoint = rig.endpoint("localhost", protocols);
            for turn in 0..3 {
                assert_eq!(rig.ask(&endpoint).await, Ok((version, alpn, turn > 0)), "{speaks:?} {protocols:?}");
            }
            assert_eq!(rig.pool.stats().idle, 1);
            serving.abort();
        });
    }
}

/// The first requests of all wait for what the origin chooses, and then share it, or not.
#[test]
fn the_first_requests_of_all_open_no_more_connections_than_they_need() {
    for (speaks, connections) in [(Alpn::Http2, 1), (Alpn::Http1, 5)] {
        test(ClientConfig::default(), |rig| async move {
            let mut server = Server::start(&rig.net, &[speaks]);
            let accepted = Arc::new(Mutex::new(0));
            let counted = accepted.clone();
            let accepting = tokio::spawn(async move {
                let mut serving = tokio::task::JoinSet::new();
                loop {
                    let socket = server.accept().await;
                    *counted.lock().unwrap() += 1;
                    serving.spawn(serve(socket));
                }
            });
            let asked: Vec<_> = (0..5)
                .map(|_| {
                    let rig = rig.clone();
                    tokio::spawn(async move {
                        let endpoint = rig.endpoint("localhost", Protocols::Either);
                        let call = rig.pool.acquire(&[endpoint], Reuse::Usual).await.unwrap();
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        assert_eq!(status(call, rig.clock).await, 200);
                    })
                })
                .collect();
            for asked in asked {
                asked.await.unwrap();
            }
            assert_eq!(*accepted.lock().unwrap(), connections);
            accepting.abort();
        });
    }
}

/// Session tickets that arrive while a connection is parked are no bytes that nobody asked for; close_notify is its end.
#[test]
fn tickets_leave_a_parked_connection_alive_and_close_notify_ends_it() {
    for (speaks, protocols) in [(Alpn::Http1, Protocols::Http1), (Alpn::Http2, Protocols::Http2)] {
        test(ClientConfig::default(), |rig| async move {
            let mut server = Server::start(&rig.net, &[speaks]);
            let serving = tokio::spawn(async move {
                serve(server.accept().await).await;
                server
            });
            let endpoint = rig.endpoint("localhost", protocols);
            // The tickets of TLS 1.3 follow the handshake, and lie there when the connection is looked at next.
            assert!(rig.ask(&endpoint).await.is_ok());
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert_eq!(rig.ask(&endpoint).await.map(|(_, _, is_reused)| is_reused), Ok(true));
            }
            assert_eq!(rig.pool.stats().idle, 1);
            // The origin's task is dropped, and its socket says close_notify.
            serving.abort();
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!((rig.pool.stats().idle, rig.ends()), (0, [("peer-closed", 1)].into()));
        });
    }
}

/// Nothing of the request was written, the cause has a name, and the address is left alone for a moment.
#[test]
fn a_failed_handshake_names_its_cause() {
    for (name, label, reason) in [
        ("elsewhere.example", "upstream-tls-name-mismatch", "handshake-failed"),
        ("closes", "upstream-tls-closed", "peer-closed"),
        ("resets", "upstream-tls-reset", "peer-reset"),
        ("plain", "upstream-tls-not-tls", "handshake-failed"),
        ("silent", "upstream-tls-timeout", "timeout-handshake"),
    ] {
        test(ClientConfig::default(), |rig| async move {
            let mut server = Server::start(&rig.net, &[Alpn::Http1]);
            let serving = tokio::spawn(async move {
                let mut socket = server.listener.accept().await;
                match name {
                    "resets" => drop(socket),
                    "closes" => {
                        let _ = socket.read(&mut [0; 4096]).await.unwrap();
                    }
                    "plain" => {
                        let mut hello = [0; 10];
                        socket.read_exact(&mut hello).await.unwrap();
                        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                        std::future::pending::<()>().await;
                    }
                    "silent" => std::future::pending().await,
                    _ => {
                        let mut socket = server.tls.accept(socket);
                        let _ = poll_fn(|cx| socket.poll_handshake(cx)).await;
                        std::future::pending::<()>().await;
                    }
                }
            });
            let endpoint = rig.endpoint(name, Protocols::Either);
            let error = rig.ask(&endpoint).await.unwrap_err();
            assert_eq!((error.label(), error.progress()), (label, Progress::Connecting), "{error}");
            let failed: Vec<_> = rig.witness.failed.lock().unwrap().iter().map(|reason| reason.label()).collect();
            assert_eq!((failed, rig.ends()), (vec![reason], BTreeMap::new()), "no connection came to be");
            let again = rig.ask(&endpoint).await.unwrap_err();
            assert_eq!(again, error, "it backs off");
            assert_eq!(rig.witness.failed.lock().unwrap().len(), 1);
            serving.abort();
        });
    }
}

/// An origin that wants no HTTP/2 for what it was asked gets the next request in HTTP/1, over a connection of its own.
#[test]
fn an_origin_that_requires_http1_gets_it() {
    test(ClientConfig::default(), |rig| async move {
        let mut server = Server::start(&rig.net, &[Alpn::Http2, Alpn::Http1]);
        let serving = tokio::spawn(async move {
            let first = server.accept().await;
            let refusing = tokio::spawn(async move {
                let mut connection = h2::server::handshake(first).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
                }
            });
            serve(server.accept().await).await;
            refusing.abort();
        });
        let endpoint = [rig.endpoint("localhost", Protocols::Either)];
        let mut call = rig.pool.acquire(&endpoint, Reuse::Usual).await.unwrap();
        assert_eq!(call.version(), Version::Http2);
        let mut head = RequestHead::new(Method::POST, "/").unwrap();
        head.fields_mut().push(Known::Host, b"localhost").unwrap();
        call.send_head(&head, "/", BodyLength::None, rig.clock.now()).unwrap();
        let error = poll_fn(|cx| call.poll_response_with(cx, rig.clock.now(), |_| ())).await.unwrap_err();
        assert_eq!((error.label(), call.progress()), ("upstream-http-1-1-required", Progress::RefusedStream));
        drop(call);
        let again = rig.pool.connect(&endpoint, Reuse::Never).await.unwrap();
        assert_eq!(again.version(), Version::Http11);
        assert_eq!(status(again, rig.clock).await, 200);
        assert_eq!(rig.ask(&endpoint[0]).await, Ok((Version::Http11, Some(Alpn::Http1), true)));
        assert_eq!(rig.ends(), [("retired", 1)].into());
        serving.abort();
    });
}

/// Two names at one address are two origins: a connection for one is not for the other.
#[test]
fn names_share_no_connections() {
    test(ClientConfig::default(), |rig| async move {
        let mut server = Server::start(&rig.net, &[Alpn::Http1]);
        let serving = tokio::spawn(async move { serve(server.accept().await).await });
        assert!(rig.ask(&rig.endpoint("localhost", Protocols::Http1)).await.is_ok());
        let now = rig.clock.now();
        let other = rig.endpoint("elsewhere.example", Protocols::Http1);
        assert!(rig.pool.checkout(&other, now, Reuse::Usual).is_none());
        assert!(rig.pool.checkout(&rig.endpoint("localhost", Protocols::Http1), now, Reuse::Usual).is_some());
        serving.abort();
    });
}
