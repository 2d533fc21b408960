//! CONNECT: where it leads, where it does not, and what clients are told.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kit::message::Framing;
use kit::origin::{Accepted, Origin};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::End;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::{MadeBy, Outcome};
use sheave_lifecycle::phase::Side;
use sheave_net::host_port::HostPort;
use sheave_net::lookup::Lookup;
use sheave_proxy::connect::ConnectPolicy;
use tokio::net::TcpListener;

/// Knows the names that it is told.
struct Names(HashMap<&'static str, Vec<&'static str>>);

impl Lookup for Names {
    async fn lookup(&self, name: &HostPort) -> io::Result<Vec<SocketAddr>> {
        let found = self.0.get(name.host().to_ascii_lowercase().as_str()).ok_or(io::ErrorKind::NotFound)?;
        Ok(found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), name.port())).collect())
    }
}

/// A proxy that allows `rules`, and knows some names.
fn allowing(rules: &[String]) -> Setup {
    let names = HashMap::from([
        ("inside.test", vec!["127.0.0.1"]),
        ("both.test", vec!["192.168.7.7", "127.0.0.1"]),
        ("rebinding.test", vec!["169.254.169.254"]),
        ("nowhere.test", vec![]),
    ]);
    let policy = ConnectPolicy::allowing(rules.iter().map(|rule| rule.parse().unwrap())).looking_up_with(Names(names));
    let mut setup = Setup::default();
    setup.proxy.connect = policy;
    // Longer than it takes to find out that nobody is there, and shorter than a test's patience.
    setup.client.dial.connect_timeout = Duration::from_millis(300);
    setup
}

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// Somebody who speaks first, in no HTTP, and says back what is said.
async fn somebody() -> Origin {
    Origin::start(async |mut connection: Accepted| {
        connection.send("220 hello\r\n").await;
        loop {
            match connection.wire.take().await {
                Ok(bytes) => connection.send(bytes).await,
                Err(End::Fin) => return connection.wire.fin(),
                Err(End::Reset) => return,
            }
        }
    })
    .await
}

#[test]
fn what_is_allowed_is_reached() {
    run(async {
        let there = somebody().await;
        let port = there.address.port();
        let rig = Rig::start(&[there.address], allowing(&[format!("127.0.0.0/8:{port}")]));
        // By address and by name; what is not allowed of a name's addresses is not tried.
        for target in [format!("127.0.0.1:{port}"), format!("inside.test:{port}"), format!("BOTH.test:{port}")] {
            for version in ["1.1", "1.0"] {
                let mut client = rig.client().await;
                // What is behind the request is the tunnel's, whatever it looks like.
                let early = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
                client.send(format!("{}{early}", connect(&target).replace("1.1\r\n", &format!("{version}\r\n")))).await;
                let head = client.head().await.unwrap();
                assert_eq!(head.raw, "HTTP/1.1 200 Connection Established\r\n\r\n", "nothing that frames");
                client.fin();
                let mut said = Vec::new();
                client.content(Framing::UntilClose, |piece| said.extend_from_slice(piece)).await.unwrap();
                assert_eq!(String::from_utf8(said).unwrap(), format!("220 hello\r\n{early}"));
            }
        }
        let ended = rig.recorder.until_ended(6).await;
        assert_eq!((ended.method.as_str(), ended.status, ended.error), ("CONNECT", 200, None));
        assert_eq!(ended.outcome, Outcome::Answered(MadeBy::Origin));
        assert_eq!((ended.request_bytes, ended.response_bytes, ended.attempts), (27, 38, 1));
        assert_eq!(ended.upstream.map(|upstream| (upstream.address, upstream.is_reused)), Some((there.address, false)));
        let (_, recorder) = rig.finish().await;
        for side in Side::ALL {
            assert_eq!(recorder.log().reasons(side), [CloseReason::Upgraded; 6]);
        }
        assert!(recorder.log().parked.is_empty());
    });
}

#[test]
fn what_is_not_allowed_is_not_even_tried() {
    run(async {
        let there = somebody().await;
        let port = there.address.port();
        let other = port ^ 1;
        let rules = [format!("*.test:{port}"), "8.8.8.8:53".to_owned(), format!("10.0.0.0/8:{port}")];
        let rig = Rig::start(&[there.address], allowing(&rules));
        for (target, status, cause) in [
            (format!("example.com:{other}"), 403, "connect-not-allowed"),
            (format!("inside.test:{other}"), 403, "connect-not-allowed"),
            (format!("127.0.0.1:{port}"), 403, "connect-not-allowed"),
            (format!("[::1]:{port}"), 403, "connect-not-allowed"),
            (format!("[::ffff:127.0.0.1]:{port}"), 403, "connect-not-allowed"),
            ("8.8.8.8:54".to_owned(), 403, "connect-not-allowed"),
            // The name is allowed; what it leads to is not.
            (format!("inside.test:{port}"), 403, "connect-not-allowed"),
            (format!("both.test:{port}"), 403, "connect-not-allowed"),
            (format!("rebinding.test:{port}"), 403, "connect-not-allowed"),
            (format!("nowhere.test:{port}"), 502, "upstream-unresolved"),
            (format!("unknown.test:{port}"), 502, "upstream-unresolved"),
            ("8.8.8.8:0".to_owned(), 400, "invalid-target"),
            ("a..b:80".to_owned(), 400, "invalid-target"),
        ] {
            let mut client = rig.client().await;
            client.send(format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", connect(&target))).await;
            let response = client.response().await;
            assert_eq!((response.status(), response.cause()), (status, Some(cause)), "{target}");
            assert!(response.says_close(), "what is behind it was meant for a tunnel");
            assert_eq!(client.end().await, End::Fin);
        }
        let (_, recorder) = rig.finish().await;
        let log = recorder.log();
        assert_eq!((log.opened_on(Side::Upstream), log.connect_failed.len()), (0, 0));
        assert_eq!(there.accepted(), 0);
    });
}

#[test]
fn a_connect_with_content_could_be_read_in_two_ways() {
    run(async {
        let there = somebody().await;
        let rig = Rig::start(&[there.address], allowing(&["*:*".to_owned(), "127.0.0.1:*".to_owned()]));
        for framing in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
            let mut client = rig.client().await;
            client
                .send(connect(&there.address.to_string()).replace("\r\n\r\n", &format!("\r\n{framing}\r\n\r\nabc")))
                .await;
            let response = client.response().await;
            assert_eq!((response.status(), response.cause()), (400, Some("connect-with-content")), "{framing}");
        }
        let mut client = rig.client().await;
        let looped = connect(&there.address.to_string()).replace("\r\n\r\n", "\r\nVia: 1.1 p\r\n\r\n");
        client.send(looped).await;
        assert_eq!(client.response().await.status(), 508);
        drop(client);
        rig.finish().await;
        assert_eq!(there.accepted(), 0);
    });
}

#[test]
fn where_nobody_listens_is_told_so() {
    run(async {
        let port = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let origin = Origin::friendly().await;
        let rig = Rig::start(&[origin.address], allowing(&["127.0.0.1:*".to_owned()]));
        let mut client = rig.client().await;
        client.send(connect(&format!("127.0.0.1:{port}"))).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.cause()), (502, Some("upstream-connect-refused")));
        let error = response.field("Sheave-Error").unwrap();
        assert!(error.contains("request-sent=no"), "{error}");
        drop(client);
        let (_, recorder) = rig.finish().await;
        assert_eq!(recorder.log().connect_failed.len(), 1);
        assert_eq!(recorder.log().ended[0].outcome, Outcome::Answered(MadeBy::Us));
    });
}

#[test]
fn unless_it_is_asked_for_it_is_off() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        client.send(connect(&origin.address.to_string())).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.cause()), (501, Some("connect-not-supported")));
        drop(client);
        rig.finish().await;
        assert_eq!(origin.accepted(), 0);
    });
}
