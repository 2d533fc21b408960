//! Drains: everybody is told once, what is under way finishes, what does not is reset and counted.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::sync::Arc;
use std::time::Duration;

use kit::origin::{Accepted, Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::{End, Wire};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::{DrainPhase, DrainPlan, DrainReport};
use sheave_lifecycle::observe::Outcome;
use sheave_lifecycle::phase::Side;
use tokio::sync::Notify;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Longer than anything takes that is not meant to be waited for.
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

fn planned(plan: DrainPlan) -> Setup {
    let mut setup = Setup::default();
    setup.server.drain = plan;
    setup
}

/// An origin that answers `/wait` when told to, and all else at once.
async fn waiting_origin(go: &Arc<Notify>) -> Origin {
    let go = go.clone();
    Origin::start(move |mut connection: Accepted| {
        let go = go.clone();
        async move {
            while let Some(request) = connection.request().await {
                if request.target().starts_with("/wait") {
                    go.notified().await;
                }
                if !connection.wire.try_send(ok(request.target())).await {
                    return;
                }
            }
        }
    })
    .await
}

async fn until_asked(origin: &Origin) {
    origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
}

/// Asks for `/wait`, and returns once the origin has the request.
async fn wait_with(client: &Wire, origin: &Origin) {
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until_asked(origin).await;
}

#[test]
fn everybody_is_told_with_their_next_response() {
    run(async {
        let go = Arc::new(Notify::new());
        let origin = waiting_origin(&go).await;
        let plan = DrainPlan { announce: LONG, quiet: LONG, grace: LONG, ..DrainPlan::default() };
        let rig = Rig::start(&[origin.address], planned(plan));
        let mut busy = rig.client().await;
        wait_with(&busy, &origin).await;
        let (mut idle, mut silent) = (rig.client().await, rig.client().await);
        assert!(!idle.ask(GET).await.says_close());
        rig.recorder.until(|log| (log.opened_on(Side::Downstream) == 3).then_some(())).await;
        rig.drain();
        // One that was idle, one that never spoke, one that comes now.
        let mut late = rig.client().await;
        for client in [&mut idle, &mut silent, &mut late] {
            let response = client.ask(GET).await;
            assert!(response.status() == 200 && response.says_close());
            assert_eq!(client.end().await, End::Fin);
        }
        go.notify_one();
        assert!(busy.response().await.says_close());
        assert_eq!(busy.end().await, End::Fin);
        drop((busy, idle, silent, late));
        rig.recorder.until_closed(Side::Downstream, 4).await;
        rig.force();
        let (report, _) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 4, finished: 4, ..DrainReport::default() });
    });
}

/// Whatever the version, the origin's own words, or whose answer it is: one line, and no other.
#[test]
fn close_is_said_exactly_once() {
    let table = [
        // What is asked, what the origin says, the status.
        (GET, "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: Close, x\r\nContent-Length: 0\r\n\r\n", 200),
        (GET, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n", 200),
        (GET, "HTTP/1.0 200 OK\r\nProxy-Connection: keep-alive\r\n\r\n", 200),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n", 204),
        (GET, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (GET, "nonsense", 502),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 p\r\n\r\n", "", 508),
        ("GET / HTTP/1.1\r\n\r\n", "", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "", 417),
    ];
    run(async {
        for (request, response, status) in table {
            let origin = Origin::start(move |mut connection| async move {
                connection.must_request().await;
                connection.send(response).await;
                connection.wire.fin();
                connection.drain().await;
            })
            .await;
            let plan = DrainPlan { announce: LONG, quiet: LONG, grace: LONG, ..DrainPlan::default() };
            let rig = Rig::start(&[origin.address], planned(plan));
            let mut client = rig.client().await;
            rig.recorder.until(|log| (log.opened_on(Side::Downstream) == 1).then_some(())).await;
            rig.drain();
            client.send(request).await;
            let method = request.split(' ').next().unwrap();
            let mut answer = client.response_to(method).await;
            if answer.status() == 103 {
                assert_eq!(answer.field("Connection"), None);
                answer = client.response_to(method).await;
            }
            assert_eq!(
                (answer.status(), answer.all("Connection")),
                (status, vec!["close"]),
                "{request:?} {response:?}"
            );
            assert_eq!(answer.all("Keep-Alive"), Vec::<&str>::new());
            assert_eq!(client.end().await, End::Fin);
            drop(client);
            rig.recorder.until_closed(Side::Downstream, 1).await;
            rig.force();
            rig.finish().await;
        }
    });
}

#[test]
fn idle_connections_end_with_the_quiet_window() {
    run(async {
        let origin = Origin::friendly().await;
        let rig =
            Rig::start(&[origin.address], planned(DrainPlan { quiet: SHORT, grace: LONG, ..DrainPlan::default() }));
        let (mut idle, mut silent) = (rig.client().await, rig.client().await);
        idle.ask(GET).await;
        rig.recorder.until(|log| (log.opened_on(Side::Downstream) == 2).then_some(())).await;
        rig.drain();
        assert_eq!((idle.end().await, silent.end().await), (End::Fin, End::Fin));
        drop((idle, silent));
        let (report, recorder) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 2, waited: 2, ..DrainReport::default() });
        let log = recorder.log();
        assert_eq!(log.reasons(Side::Downstream), [CloseReason::Drained; 2]);
        assert_eq!(log.drain, [DrainPhase::Waiting]);
    });
}

/// The head had been written when the drain began: the response ends as it began, and the connection after it.
#[test]
fn a_response_under_way_finishes() {
    run(async {
        let go = Arc::new(Notify::new());
        let go_too = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = go_too.clone();
            async move {
                connection.must_request().await;
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
                go.notified().await;
                connection.send("world").await;
                connection.drain().await;
            }
        })
        .await;
        let rig =
            Rig::start(&[origin.address], planned(DrainPlan { quiet: SHORT, grace: LONG, ..DrainPlan::default() }));
        let mut client = rig.client().await;
        client.send(GET).await;
        let head = client.head().await.unwrap();
        assert_eq!(head.field("Connection"), None);
        rig.drain();
        rig.recorder.until(|log| (!log.drain.is_empty()).then_some(())).await;
        go.notify_one();
        let mut body = Vec::new();
        client.content(head.response_framing("GET"), |piece| body.extend_from_slice(piece)).await.unwrap();
        assert_eq!(body, b"helloworld");
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        let (report, _) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 1, waited: 1, ..DrainReport::default() });
    });
}

/// Grace is over: whoever waits or is being answered is reset, and counted as lost.
#[test]
fn what_does_not_finish_is_reset_and_counted() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            // The upload never becomes whole.
            let Some(request) = connection.request().await else { return };
            if request.target() == "/begins" {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            }
            assert_eq!(connection.wire.take().await, Err(End::Reset));
        })
        .await;
        let plan = DrainPlan { quiet: Duration::from_millis(10), grace: SHORT, ..DrainPlan::default() };
        let rig = Rig::start(&[origin.address], planned(plan));
        let (mut waiting, mut half, mut uploading, mut begun) =
            (rig.client().await, rig.client().await, rig.client().await, rig.client().await);
        waiting.send(GET).await;
        half.send("GET / HTT").await;
        uploading.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
        begun.send("GET /begins HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = begun.head().await.unwrap();
        assert_eq!(head.status(), 200);
        assert_eq!(begun.take().await.unwrap(), b"hello");
        origin.until(|origin| (origin.accepted() == 3).then_some(())).await;
        rig.drain();
        for client in [&mut waiting, &mut half, &mut uploading, &mut begun] {
            assert_eq!(client.end().await, End::Reset);
        }
        let (report, recorder) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 4, forced: 4, lost: 3, ..DrainReport::default() });
        let log = recorder.log();
        assert_eq!(log.reasons(Side::Downstream), [CloseReason::DrainForced; 4]);
        assert!(log.ended.iter().all(|ended| (ended.outcome, ended.error) == (Outcome::Reset, Some("drain-forced"))));
    });
}

/// Half a head may become whole until the grace is over; then it is a request like another.
#[test]
fn half_a_head_becomes_a_request() {
    run(async {
        let origin = Origin::friendly().await;
        let rig =
            Rig::start(&[origin.address], planned(DrainPlan { quiet: SHORT, grace: LONG, ..DrainPlan::default() }));
        let (mut half, mut idle) = (rig.client().await, rig.client().await);
        half.send("GET / HTTP/1.1\r\nHo").await;
        idle.ask(GET).await;
        rig.drain();
        // The quiet window is over when this ends.
        assert_eq!(idle.end().await, End::Fin);
        half.send("st: a\r\n\r\n").await;
        let response = half.response().await;
        assert!(response.status() == 200 && response.says_close());
        assert_eq!(half.end().await, End::Fin);
        drop((half, idle));
        let (report, _) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 2, finished: 1, waited: 1, ..DrainReport::default() });
    });
}

/// A head that began before the drain and is late is told so, by its own deadline.
#[test]
fn half_a_head_keeps_its_deadline() {
    run(async {
        let origin = Origin::friendly().await;
        let mut setup = planned(DrainPlan { quiet: Duration::from_millis(10), grace: LONG, ..DrainPlan::default() });
        setup.server.connection.timeouts.head = SHORT;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        client.send("GET / HTTP/1.1\r\nHo").await;
        rig.recorder.until(|log| (log.opened_on(Side::Downstream) == 1).then_some(())).await;
        rig.drain();
        let response = client.response().await;
        assert!(response.status() == 408 && response.says_close());
        drop(client);
        let (report, _) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 1, finished: 1, ..DrainReport::default() });
    });
}

/// What had arrived before the client could know is answered; the last answer says that it is.
#[test]
fn what_was_pipelined_is_answered() {
    run(async {
        let go = Arc::new(Notify::new());
        let origin = waiting_origin(&go).await;
        let rig =
            Rig::start(&[origin.address], planned(DrainPlan { quiet: SHORT, grace: LONG, ..DrainPlan::default() }));
        let mut client = rig.client().await;
        client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until_asked(&origin).await;
        rig.drain();
        go.notify_one();
        for (target, is_last) in [("/wait", false), ("/2", false), ("/3", true)] {
            let response = client.response().await;
            assert_eq!((response.text(), response.says_close()), (target, is_last));
        }
        assert_eq!(client.end().await, End::Fin);
        drop(client);
        rig.finish().await;
    });
}

/// A peer that neither reads on nor closes does not hold a drain longer than its grace.
#[test]
fn lingering_ends_with_the_grace() {
    run(async {
        let origin = Origin::friendly().await;
        let mut setup = planned(DrainPlan { quiet: Duration::from_millis(10), grace: SHORT, ..DrainPlan::default() });
        setup.server.linger.timeout = LONG;
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        assert_eq!(client.ask("nonsense\r\n\r\n").await.status(), 400);
        let (report, recorder) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 1, finished: 1, ..DrainReport::default() });
        assert_eq!(recorder.log().reasons(Side::Downstream)[0].label(), "protocol-error");
        drop(client);
    });
}

/// A client that takes nothing does not hold a drain longer than its grace.
#[test]
fn a_client_that_does_not_read_is_reset_with_the_grace() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
            connection
                .wire
                .try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n{}", "x".repeat(10_000_000)))
                .await;
        })
        .await;
        let rig = Rig::start(
            &[origin.address],
            planned(DrainPlan { quiet: Duration::from_millis(10), grace: SHORT, ..DrainPlan::default() }),
        );
        let client = Wire::connect_small(rig.address, 16 * 1024).await;
        client.send(GET).await;
        origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
        let (report, _) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 1, forced: 1, lost: 1, ..DrainReport::default() });
        drop(client);
    });
}

/// Whoever the kernel had told "connected" is served.
#[test]
fn nobody_in_the_backlog_is_lost() {
    run(async {
        let origin = Origin::friendly().await;
        let rig =
            Rig::start(&[origin.address], planned(DrainPlan { quiet: SHORT, grace: LONG, ..DrainPlan::default() }));
        // Connected before the accept loop had a chance to run.
        let mut clients: Vec<_> = (0..100)
            .map(|_| {
                let stream = std::net::TcpStream::connect(rig.address).unwrap();
                stream.set_nonblocking(true).unwrap();
                tokio::net::TcpStream::from_std(stream).unwrap()
            })
            .map(Wire::new)
            .collect();
        rig.drain();
        for client in &clients {
            client.send(GET).await;
        }
        for client in &mut clients {
            let response = client.response().await;
            assert!(response.status() == 200 && response.says_close());
        }
        drop(clients);
        let (report, _) = rig.finish().await;
        assert_eq!((report.told, report.lost), (100, 0));
    });
}

/// Those beyond the bound wait, and are served when there is room; while they wait, responses say close.
#[test]
fn connections_beyond_the_bound_wait() {
    run(async {
        let go = Arc::new(Notify::new());
        let origin = waiting_origin(&go).await;
        let mut setup = Setup::default();
        setup.server.max_connections = 2;
        let rig = Rig::start(&[origin.address], setup);
        let (mut first, mut second) = (rig.client().await, rig.client().await);
        first.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until_asked(&origin).await;
        second.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until_asked(&origin).await;
        let (mut third, mut fourth) = (rig.client().await, rig.client().await);
        third.send(GET).await;
        fourth.send(GET).await;
        rig.recorder.until(|log| (!log.held_back.is_empty()).then_some(())).await;
        go.notify_one();
        go.notify_one();
        let response = first.response().await;
        assert!(response.says_close(), "somebody waits for its place");
        drop(first);
        assert_eq!(third.response().await.text(), "/");
        second.response().await;
        drop((second, third));
        assert_eq!(fourth.response().await.text(), "/");
        drop(fourth);
        let (_, recorder) = rig.finish().await;
        let log = recorder.log();
        assert_eq!((log.refused.len(), log.opened_on(Side::Downstream)), (0, 4));
    });
}

/// A drain lets in whom the bound kept waiting.
#[test]
fn who_waits_at_the_bound_is_served_in_a_drain() {
    run(async {
        let go = Arc::new(Notify::new());
        let origin = waiting_origin(&go).await;
        let mut setup = planned(DrainPlan { quiet: SHORT, grace: LONG, ..DrainPlan::default() });
        setup.server.max_connections = 1;
        let rig = Rig::start(&[origin.address], setup);
        let mut first = rig.client().await;
        wait_with(&first, &origin).await;
        let (mut second, mut third) = (rig.client().await, rig.client().await);
        second.send(GET).await;
        third.send(GET).await;
        rig.recorder.until(|log| (!log.held_back.is_empty()).then_some(())).await;
        rig.drain();
        for client in [&mut second, &mut third] {
            let response = client.response().await;
            assert!(response.status() == 200 && response.says_close());
        }
        go.notify_one();
        assert_eq!(first.response().await.status(), 200);
        drop((first, second, third));
        let (report, _) = rig.finish().await;
        assert_eq!(report, DrainReport { told: 3, finished: 3, ..DrainReport::default() });
    });
}

/// Under a drain, retries and errors of ours are as ever.
#[test]
fn an_origin_that_leaves_in_a_drain() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
        })
        .await;
        let rig =
            Rig::start(&[origin.address], planned(DrainPlan { quiet: LONG, grace: LONG, ..DrainPlan::default() }));
        let mut client = rig.client().await;
        rig.recorder.until(|log| (log.opened_on(Side::Downstream) == 1).then_some(())).await;
        rig.drain();
        let response = client.ask(GET).await;
        assert_eq!((response.status(), response.cause(), response.says_close()), (502, Some("upstream-closed"), true));
        drop(client);
        rig.recorder.until_closed(Side::Downstream, 1).await;
        rig.force();
        rig.finish().await;
    });
}

/// Asks on and on, as a well-behaved client does: on one connection until the response says close, or until it is closed
/// before anything was sent. Every request that was sent is answered.
async fn ask_well_behaved(rig: &Rig, number: usize, count: usize, reconnects: bool) -> usize {
    let mut client = rig.client().await;
    let mut asked = 0;
    while asked < count {
        let body = "x".repeat([0, 1, 70_000][(number + asked) % 3]);
        let request = match asked % 3 {
            0 => get(&format!("/{number}/{asked}")),
            _ => format!("POST /{number}/{asked} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        };
        let response = client.ask(&request).await;
        assert_eq!(response.text(), format!("/{number}/{asked}"), "the answer to another request");
        asked += 1;
        if response.says_close() {
            assert_eq!(client.end().await, End::Fin);
            if !reconnects {
                break;
            }
            client = rig.client().await;
        }
    }
    asked
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn nobody_loses_a_request_to_a_drain() {
    for after in [1, 50, 200] {
        run(async {
            let origin = waiting_origin(&Arc::default()).await;
            let plan = DrainPlan { quiet: Duration::from_millis(200), grace: LONG, ..DrainPlan::default() };
            let rig = Arc::new(Rig::start(&[origin.address], planned(plan)));
            let clients: Vec<_> = (0..16)
                .map(|number| {
                    let rig = rig.clone();
                    tokio::spawn(async move { ask_well_behaved(&rig, number, 1000, false).await })
                })
                .collect();
            rig.recorder.until_ended(after).await;
            rig.drain();
            let mut asked = 0;
            for client in clients {
                asked += client.await.unwrap();
            }
            assert!(asked < 16_000, "the drain ended them");
            let (report, recorder) = Arc::into_inner(rig).unwrap().finish().await;
            assert_eq!((report.forced, report.lost), (0, 0));
            let log = recorder.log();
            assert_eq!(log.ended.len(), asked);
            assert!(log.ended.iter().all(|ended| ended.status == 200 && ended.error.is_none()));
        });
    }
}

/// More clients than places: whoever waits is served, and nobody who had a place loses a request to that.
#[test]
fn nobody_loses_a_request_to_a_bound() {
    run(async {
        let origin = waiting_origin(&Arc::default()).await;
        let mut setup = Setup::default();
        setup.server.max_connections = 4;
        let rig = Arc::new(Rig::start(&[origin.address], setup));
        let clients: Vec<_> = (0..20)
            .map(|number| {
                let rig = rig.clone();
                tokio::spawn(async move { ask_well_behaved(&rig, number, 30, true).await })
            })
            .collect();
        for client in clients {
            assert_eq!(client.await.unwrap(), 30);
        }
        let (_, recorder) = Arc::into_inner(rig).unwrap().finish().await;
        let log = recorder.log();
        assert_eq!((log.ended.len(), log.refused.len()), (600, 0));
        assert!(log.ended.iter().all(|ended| ended.status == 200));
    });
}
