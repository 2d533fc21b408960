//! A request's body that is held by somebody else beyond the response: in virtual time.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use sheave_lifecycle::drain::DrainPlan;
use sheave_net::dial::Connect;
use sheave_server::body::{BodyError, RequestBody};
use sheave_server::server::Server;
use sheave_server::service::service_fn;
use sheave_sim::plan::Plan;
use sheave_sim::run::{Ended, run};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// What a body's holder saw, and when it was: in seconds.
type Seen = Vec<(u64, Option<Result<Bytes, BodyError>>)>;

/// A service answers at once, while its request's body is asked for something so many seconds after the last answer.
/// `script` is the client, after the response.
fn held_by<F: Future<Output = ()>>(pauses: &'static [u64], script: impl FnOnce(SimSocket) -> F + 'static) -> Seen {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let all = seen.clone();
    let record = run(&Plan::calm("held"), |net| async move {
        let holder = Arc::new(Mutex::new(None));
        let holding = holder.clone();
        let service = service_fn(move |request: Request<RequestBody>| {
            let seen = seen.clone();
            let began = Instant::now();
            let task = tokio::spawn(async move {
                let mut body = request.into_body();
                for pause in pauses {
                    sleep(Duration::from_secs(*pause)).await;
                    let next = body.next().await;
                    seen.lock().unwrap().push((began.elapsed().as_secs(), next));
                }
            });
            *holding.lock().unwrap() = Some(task);
            async { "taken" }
        });
        let plan = DrainPlan { quiet: Duration::ZERO, ..DrainPlan::default() };
        let server = Server::builder().drain(plan).build(service).unwrap();
        let listener = net.listen(FRONT);
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(listener).await }
        });
        let mut client = net.client().connect(&FRONT.into()).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"taken") {
            assert!(client.read_buf(&mut response).await.unwrap() > 0);
        }
        script(client).await;
        let task = holder.lock().unwrap().take().unwrap();
        task.await.unwrap();
        server.drain();
        serving.await.unwrap();
    });
    assert_eq!((record.ended, record.broken, record.tasks_left), (Ended::Completed, Vec::new(), 0));
    Arc::try_unwrap(all).unwrap().into_inner().unwrap()
}

#[test]
fn who_asks_in_time_gets_all_of_it() {
    let seen = held_by(&[4, 4, 4, 0], |mut client| async move {
        client.write_all(b"3\r\none\r\n").await.unwrap();
        sleep(Duration::from_secs(6)).await;
        client.write_all(b"3\r\ntwo\r\n").await.unwrap();
        sleep(Duration::from_secs(8)).await;
        client.write_all(b"0\r\n\r\n").await.unwrap();
    });
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    assert_eq!(seen, [(4, Some(Ok(one))), (8, Some(Ok(two))), (14, None), (14, None)]);
}

#[test]
fn who_never_asks_holds_up_nobody() {
    let seen = held_by(&[6, 0], |mut client| async move {
        client.write_all(b"3\r\none\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        // What nobody asked for is thrown away after five seconds, and the connection goes on.
        let began = Instant::now();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert!(response.ends_with("taken") && began.elapsed().as_secs() == 5, "{response}");
    });
    assert_eq!(seen[..1], [(6, Some(Err(BodyError::ExchangeOver)))]);
}

#[test]
fn a_client_that_is_too_slow_is_told_to_whoever_waits() {
    let seen = held_by(&[1, 0], |client| async move {
        sleep(Duration::from_secs(40)).await;
        drop(client);
    });
    assert_eq!(seen, [(31, Some(Err(BodyError::TimedOut("timeout-body")))), (31, None)]);
}
