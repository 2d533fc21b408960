//! A hello service under load that is killed at will: not one spurious error, and every reason counted.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kit::recorder::Recorder;
use kit::run::run_in_parallel;
use kit::wire::Wire;
use sheave_lifecycle::close::Severity;
use sheave_lifecycle::drain::DrainPlan;
use sheave_lifecycle::phase::Side;
use sheave_net::into_listener::IntoListener;
use sheave_net::listen::Listener;
use sheave_server::body::RequestBody;
use sheave_server::server::Server;
use sheave_server::service::service_fn;

/// A response that does not fit into a socket's buffers, so that some are killed amid one.
const LARGE_BYTES: usize = 4_000_000;

async fn hello(request: Request<RequestBody>) -> Vec<u8> {
    match request.uri().path() {
        "/large" => vec![b'x'; LARGE_BYTES],
        _ => b"hello, world\n".to_vec(),
    }
}

/// What happens to a client, by its number.
async fn rude(address: SocketAddr, number: usize) {
    let mut wire = Wire::connect(address).await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    match number % 10 {
        // Before it said anything.
        0 => wire.reset(),
        1 => drop(wire),
        // Amid a head, and amid a body.
        2 => {
            wire.send(&get[..10]).await;
            wire.reset();
        }
        3 => {
            wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").await;
            drop(wire);
        }
        // Before the answer, with some in the pipe.
        4 => {
            wire.send(get.repeat(5)).await;
            wire.reset();
        }
        5 => {
            wire.send(get.repeat(5)).await;
            drop(wire);
        }
        // Amid a response.
        6 => {
            wire.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let _ = wire.take().await;
            wire.reset();
        }
        7 => {
            wire.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let _ = wire.take().await;
            drop(wire);
        }
        // Between two.
        8 => {
            assert_eq!(wire.ask(get).await.text(), "hello, world\n");
            wire.reset();
        }
        _ => {
            wire.send(get).await;
            // Its last words: it still gets its answer.
            wire.fin();
            assert_eq!(wire.response().await.text(), "hello, world\n");
        }
    }
}

/// Runs wrk against the service, where it is installed, and kills it in the middle.
fn kill_wrk(address: SocketAddr) -> bool {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "1", "-c", "50", "-d", "60s", &format!("http://{address}/")]);
    let Ok(mut wrk) = wrk.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return false };
    std::thread::sleep(Duration::from_millis(300));
    wrk.kill().unwrap();
    wrk.wait().unwrap();
    true
}

#[test]
fn nobody_who_vanishes_is_an_error() {
    run_in_parallel(async {
        let recorder = Arc::new(Recorder::default());
        let plan = DrainPlan { quiet: Duration::from_millis(20), ..DrainPlan::default() };
        let server = Server::builder().observer(recorder.clone()).drain(plan).build(service_fn(hello)).unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into_listener().unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        // Somebody polite is served all the while.
        let mut polite = Wire::connect(address).await;
        for round in 0..10 {
            let clients: Vec<_> = (0..20).map(|number| tokio::spawn(rude(address, round + number))).collect();
            assert_eq!(polite.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "hello, world\n");
            for client in clients {
                client.await.unwrap();
            }
        }
        let has_wrk = tokio::task::spawn_blocking(move || kill_wrk(address)).await.unwrap();
        assert_eq!(polite.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "hello, world\n");
        drop(polite);
        let report = server.drain().await;
        assert_eq!(serving.await.unwrap(), report);
        assert_eq!((report.forced, report.lost), (0, 0));
        recorder.check_laws();

        let log = recorder.log();
        let mut reasons = BTreeMap::new();
        for closed in log.closed_on(Side::Downstream) {
            let severity = closed.reason.severity(Side::Downstream, closed.phase);
            assert_eq!(severity, Severity::Benign, "{} in {:?}", closed.reason, closed.phase);
            *reasons.entry(closed.reason.label()).or_insert(0) += 1;
        }
        let counted: usize = reasons.values().sum();
        assert_eq!(counted, log.opened_on(Side::Downstream), "every connection ended for a reason: {reasons:?}");
        assert!(counted > 200 || !has_wrk && counted == 201, "{reasons:?}");
        for reason in ["peer-closed", "peer-reset", "truncated"] {
            assert!(reasons.contains_key(reason), "{reasons:?}");
        }
    });
}
