//! Origins that have as many connections as they may: requests wait their turn, and the answer says so when it never comes.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::sync::Arc;
use std::time::Duration;

use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use sheave_lifecycle::keep_alive::{Careful, KeepAlivePolicy};
use sheave_lifecycle::retry::Evidence;
use tokio::sync::Semaphore;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// An origin that answers when it may, each request once.
async fn patient() -> (Origin, Arc<Semaphore>) {
    let may = Arc::new(Semaphore::new(0));
    let answers = may.clone();
    let origin = Origin::start(move |mut connection| {
        let answers = answers.clone();
        async move {
            while connection.request().await.is_some() {
                answers.acquire().await.unwrap().forget();
                if !connection.wire.try_send(ok("ok")).await {
                    return;
                }
            }
        }
    })
    .await;
    (origin, may)
}

fn one_connection() -> Setup {
    let mut setup = Setup::default();
    setup.client.max_connections = 1;
    setup
}

async fn until_waiting(rig: &Rig, count: usize) {
    while rig.server().handler().pool().stats().waiting != count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn requests_wait_their_turn_on_one_connection() {
    run(async {
        let (origin, may) = patient().await;
        let rig = Rig::start(&[origin.address], one_connection());
        let mut clients = Vec::new();
        for number in 0..5 {
            let client = rig.client().await;
            client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            if number == 0 {
                origin.until(|origin| (origin.accepted() == 1).then_some(())).await;
            }
            until_waiting(&rig, number).await;
            clients.push(client);
        }
        may.add_permits(5);
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "ok");
        }
        let targets: Vec<_> =
            origin.requests().iter().map(|(on, request)| (*on, request.head.request_line().1.to_owned())).collect();
        assert_eq!(targets, (0..5).map(|number| (0, format!("/{number}"))).collect::<Vec<_>>(), "in their order");
        drop(clients);
        rig.finish().await;
    });
}

#[test]
fn who_waits_for_too_long_is_told_so() {
    run(async {
        let (origin, may) = patient().await;
        let mut setup = one_connection();
        setup.client.queue_timeout = Duration::from_millis(30);
        let rig = Rig::start(&[origin.address], setup);
        let (mut first, mut second) = (rig.client().await, rig.client().await);
        first.send(POST).await;
        origin.until(|origin| (origin.accepted() == 1).then_some(())).await;
        let answer = second.ask(POST).await;
        let cause = "upstream-queue-timeout; request-sent=no; attempts=1; gave-up=deadline";
        assert_eq!((answer.status(), answer.field("Sheave-Error")), (503, Some(cause)));
        assert_eq!(answer.field("Retry-After"), Some("1"));
        may.add_permits(2);
        assert_eq!(first.response().await.text(), "ok");
        assert_eq!(second.ask(GET).await.text(), "ok", "there is room again");
        drop((first, second));
        rig.finish().await;
    });
}

#[test]
fn a_client_that_leaves_the_queue_leaves_no_trace() {
    run(async {
        let (origin, may) = patient().await;
        let rig = Rig::start(&[origin.address], one_connection());
        let (mut first, second, mut third) = (rig.client().await, rig.client().await, rig.client().await);
        first.send(GET).await;
        origin.until(|origin| (origin.accepted() == 1).then_some(())).await;
        second.send(GET).await;
        until_waiting(&rig, 1).await;
        third.send(POST).await;
        until_waiting(&rig, 2).await;
        second.reset();
        until_waiting(&rig, 1).await;
        may.add_permits(2);
        assert_eq!((first.response().await.text(), third.response().await.text()), ("ok", "ok"));
        assert_eq!(origin.requests().len(), 2, "nobody asked for the one who left");
        drop((first, third));
        rig.finish().await;
    });
}

#[test]
fn where_one_origin_s_queue_is_full_another_one_serves() {
    run(async {
        let (full, may) = patient().await;
        let free = Origin::friendly().await;
        let mut setup = one_connection();
        setup.client.max_queue = 0;
        let rig = Rig::start(&[full.address, free.address], setup);
        let (mut first, mut second) = (rig.client().await, rig.client().await);
        first.send(GET).await;
        full.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
        for _ in 0..4 {
            assert_eq!(second.ask(POST).await.text(), "ok");
        }
        assert_eq!(free.requests().len(), 4);
        assert!(rig.recorder.log().retried.iter().all(|evidence| *evidence == Evidence::NotWritten));
        assert!(!rig.recorder.log().retried.is_empty());
        may.add_permits(1);
        assert_eq!(first.response().await.text(), "ok");
        drop((first, second));
        rig.finish().await;
    });
}

/// What cannot be sent again is not risked, as far as the policy says.
#[test]
fn a_post_takes_no_connection_that_was_parked_for_long() {
    run(async {
        for (careful, connections) in [(Careful::AlwaysFresh, 2), (Careful::LikeOthers, 1)] {
            let origin = Origin::friendly().await;
            let mut setup = Setup::default();
            setup.client.keep_alive = KeepAlivePolicy { careful, ..KeepAlivePolicy::default() };
            let rig = Rig::start(&[origin.address], setup);
            let mut client = rig.client().await;
            for request in [GET, GET, POST] {
                assert_eq!(client.ask(request).await.text(), "ok");
            }
            assert_eq!(origin.accepted(), connections, "{careful:?}");
            drop(client);
            rig.finish().await;
        }
    });
}
