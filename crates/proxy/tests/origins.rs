//! Origins that fail: another connection, another origin, another attempt, or an error that says what is known.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kit::origin::{Origin, ok};
use kit::rig::{Rig, Setup};
use kit::run::run;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::{Evidence, RetryPolicy};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Notify;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// An address of the loopback network at which nobody listens, until somebody does.
struct Nobody {
    socket: Socket,
    address: SocketAddr,
}

impl Nobody {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { socket, address }
    }

    /// An origin comes up there.
    fn into_friendly(self) -> Origin {
        self.socket.listen(64).unwrap();
        self.socket.set_nonblocking(true).unwrap();
        Origin::from_listener(TcpListener::from_std(self.socket.into()).unwrap(), async |mut connection| {
            while connection.request().await.is_some() {
                connection.send(ok("back")).await;
            }
        })
    }
}

/// How an origin ends its first connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    Fin,
    Reset,
}

/// An order, and word that it was carried out.
#[derive(Default)]
struct Order {
    go: Notify,
    done: Notify,
}

impl Order {
    async fn carry_out(&self) {
        self.go.notify_one();
        self.done.notified().await;
    }
}

/// An origin that answers so many requests of its first connection, and ends it after reading one more, or before
/// reading it when ordered to. All others are answered.
async fn origin_ending(answers: usize, ends: Ends, order: Option<Arc<Order>>) -> Origin {
    Origin::start(move |mut connection| {
        let order = order.clone();
        async move {
            let mut count = 0;
            loop {
                if connection.number == 0
                    && count == answers
                    && let Some(order) = &order
                {
                    order.go.notified().await;
                    break;
                }
                if connection.request().await.is_none() {
                    return;
                }
                if connection.number == 0 && count == answers {
                    break;
                }
                count += 1;
                connection.send(ok("ok")).await;
            }
            match ends {
                Ends::Fin => drop(connection),
                Ends::Reset => connection.wire.reset(),
            }
            if let Some(order) = order {
                order.done.notify_one();
            }
        }
    })
    .await
}

/// The origin's close is in the kernel: nothing is risked on that connection, whatever the method.
#[test]
fn a_parked_connection_that_was_closed_is_not_used() {
    run(async {
        for (ends, label) in [(Ends::Fin, "peer-closed"), (Ends::Reset, "peer-reset")] {
            let order = Arc::new(Order::default());
            let origin = origin_ending(1, ends, Some(order.clone())).await;
            let rig = Rig::usual(origin.address);
            let mut client = rig.client().await;
            assert_eq!(client.ask(POST).await.text(), "ok");
            order.carry_out().await;
            assert_eq!(client.ask(POST).await.text(), "ok");
            assert_eq!(client.ask(POST).await.text(), "ok");
            drop(client);
            let (_, recorder) = rig.finish().await;
            let log = recorder.log();
            assert_eq!(log.found_dead.iter().map(|reason| reason.label()).collect::<Vec<_>>(), [label]);
            assert_eq!((log.retried.len(), log.ended.iter().all(|ended| ended.attempts == 1)), (0, true));
            // What closed so young teaches to take fresh connections, but for those that are as good as in use.
            let on: Vec<_> = origin.requests().iter().map(|(on, _)| *on).collect();
            assert!(on == [0, 1, 1] || on == [0, 1, 2], "{on:?}");
        }
    });
}

/// Nobody asks, and the connection is closed all the same: no descriptor waits in CLOSE_WAIT.
#[test]
fn a_parked_connection_that_was_closed_is_swept() {
    run(async {
        let order = Arc::new(Order::default());
        let origin = origin_ending(1, Ends::Fin, Some(order.clone())).await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        assert_eq!(client.ask(GET).await.text(), "ok");
        order.carry_out().await;
        assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason, CloseReason::PeerClosed);
        drop(client);
        rig.finish().await;
    });
}

/// The origin read the request and left without a word: only what may be done twice is sent twice.
#[test]
fn a_request_is_sent_again_only_on_evidence() {
    let idempotent = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];
    let others = ["POST", "PATCH", "BREW"];
    run(async {
        for ends in [Ends::Fin, Ends::Reset] {
            for method in idempotent.into_iter().chain(others) {
                let origin = origin_ending(1, ends, None).await;
                let rig = Rig::usual(origin.address);
                let mut client = rig.client().await;
                assert_eq!(client.ask(GET).await.text(), "ok");
                origin.requests();
                let answer =
                    client.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")).await;
                let requests = origin.requests();
                assert!(requests.iter().all(|(_, request)| request.text() == "hello"), "{requests:?}");
                let on: Vec<_> = requests.iter().map(|(on, _)| *on).collect();
                let retried = rig.recorder.log().retried.clone();
                if others.contains(&method) {
                    let cause = if ends == Ends::Fin { "upstream-closed" } else { "upstream-reset" };
                    let cause = format!("{cause}; request-sent=maybe; attempts=1; gave-up=no-evidence");
                    assert_eq!((answer.status(), answer.field("Sheave-Error")), (502, Some(&*cause)), "{method}");
                    assert_eq!((&on[..], &retried[..]), (&[0][..], &[][..]), "{method} reaches the origin once");
                } else {
                    assert_eq!(answer.status(), 200, "{method}");
                    assert_eq!((&on[..], &retried[..]), (&[0, 1][..], &[Evidence::Idempotent][..]), "{method}");
                }
                drop(client);
                rig.finish().await;
            }
        }
    });
}

#[test]
fn an_idempotency_key_vouches_if_the_operator_says_so() {
    run(async {
        for (is_trusted, status, attempts) in [(false, 502, 1), (true, 200, 2)] {
            let origin = origin_ending(1, Ends::Fin, None).await;
            let mut setup = Setup::default();
            setup.proxy.trust_idempotency_key = is_trusted;
            let rig = Rig::start(&[origin.address], setup);
            let mut client = rig.client().await;
            assert_eq!(client.ask(GET).await.text(), "ok");
            let keyed = POST.replace("Host: a\r\n", "Host: a\r\nIdempotency-Key: \"k\"\r\n");
            assert_eq!(client.ask(&keyed).await.status(), status);
            let ended = rig.recorder.until_ended(2).await;
            assert_eq!((ended.attempts, ended.retried.is_some()), (attempts, is_trusted));
            // Without a key nothing vouches.
            drop(client);
            rig.finish().await;
        }
    });
}

/// What was passed on and not kept cannot be sent again.
#[test]
fn content_is_sent_again_as_far_as_it_was_kept() {
    run(async {
        let kept = 1000;
        for (len, framing, status) in
            [(kept, "length", 200), (kept + 1, "length", 502), (kept, "chunked", 200), (kept + 1, "chunked", 502)]
        {
            let origin = origin_ending(1, Ends::Fin, None).await;
            let mut setup = Setup::default();
            setup.proxy.max_replay_bytes = kept;
            let rig = Rig::start(&[origin.address], setup);
            let mut client = rig.client().await;
            assert_eq!(client.ask(GET).await.text(), "ok");
            origin.requests();
            let content = "x".repeat(len);
            let answer = client
                .ask(match framing {
                    "length" => format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{content}"),
                    _ => format!(
                        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                        len - 1,
                        &content[1..]
                    ),
                })
                .await;
            assert_eq!(answer.status(), status, "{len} {framing}");
            for (_, request) in origin.requests() {
                assert_eq!(request.text(), content);
            }
            drop(client);
            rig.finish().await;
        }
        // Trailers are not kept.
        let origin = origin_ending(1, Ends::Fin, None).await;
        let rig = Rig::usual(origin.address);
        let mut client = rig.client().await;
        assert_eq!(client.ask(GET).await.text(), "ok");
        let trailed = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(client.ask(trailed).await.status(), 502);
        drop(client);
        rig.finish().await;
    });
}

/// Retries are a share of requests: when an origin fails them all, it does not get them three times each.
#[test]
fn retries_have_a_budget() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.request().await;
        })
        .await;
        let mut setup = Setup::default();
        setup.proxy.retry = RetryPolicy { budget_share: 0.1, budget_per_second: 0, ..RetryPolicy::default() };
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        for _ in 0..100 {
            assert_eq!(client.ask(GET).await.status(), 502);
        }
        let asked = origin.requests().len();
        assert!((105..=110).contains(&asked), "{asked} attempts at 100 requests");
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn a_refusing_origin_is_told_at_once_and_asked_again() {
    run(async {
        let nobody = Nobody::new();
        let rig = Rig::usual(nobody.address);
        let mut client = rig.client().await;
        for request in [GET, POST] {
            let answer = client.ask(request).await;
            let cause = "upstream-connect-refused; request-sent=no; attempts=1; gave-up=no-other-origin";
            assert_eq!((answer.status(), answer.field("Sheave-Error")), (502, Some(cause)));
        }
        let origin = nobody.into_friendly();
        // For some milliseconds the last failure is the answer still.
        let mut answer = client.ask(POST).await;
        while answer.status() == 502 {
            answer = client.ask(POST).await;
        }
        assert_eq!(answer.text(), "back");
        assert_eq!(origin.requests().len(), 1);
        drop(client);
        let (_, recorder) = rig.finish().await;
        let log = recorder.log();
        assert!(matches!(log.connect_failed.len(), 1 | 2), "{:?}", log.connect_failed);
        assert!(log.connect_failed.iter().all(|reason| reason.label() == "peer-reset"));
        assert_eq!(log.opened_on(Side::Upstream), 1);
    });
}

#[test]
fn of_two_origins_the_one_that_is_there_serves() {
    run(async {
        let nobody = Nobody::new();
        let origin = Origin::friendly().await;
        for addresses in [[nobody.address, origin.address], [origin.address, nobody.address]] {
            let rig = Rig::start(&addresses, Setup::default());
            let mut client = rig.client().await;
            for request in [POST, GET, POST, GET] {
                assert_eq!(client.ask(request).await.text(), "ok");
            }
            let requests = origin.requests();
            assert_eq!(
                requests.iter().map(|(_, request)| request.text()).collect::<Vec<_>>(),
                ["hello", "", "hello", ""]
            );
            drop(client);
            let (_, recorder) = rig.finish().await;
            let log = recorder.log();
            assert_eq!(log.retried, [Evidence::ConnectFailed], "it is passed over after its first refusal");
        }
        let both = [nobody.address, Nobody::new().address];
        let rig = Rig::start(&both, Setup::default());
        let mut client = rig.client().await;
        let answer = client.ask(POST).await;
        let cause =
            "upstream-connect-refused; request-sent=no; attempts=2; evidence=connect-failed; gave-up=no-other-origin";
        assert_eq!((answer.status(), answer.field("Sheave-Error")), (502, Some(cause)));
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn requests_go_round() {
    run(async {
        let origins = [Origin::friendly().await, Origin::friendly().await, Origin::friendly().await];
        let rig = Rig::start(&[origins[0].address, origins[1].address, origins[2].address], Setup::default());
        let mut client = rig.client().await;
        for _ in 0..9 {
            assert_eq!(client.ask(GET).await.text(), "ok");
        }
        for origin in &origins {
            assert_eq!((origin.requests().len(), origin.accepted()), (3, 1));
        }
        drop(client);
        rig.finish().await;
    });
}

#[test]
fn more_requests_than_may_wait_for_a_connection_are_refused() {
    run(async {
        let go = Arc::new(Notify::new());
        let go_too = go.clone();
        let origin = Origin::start(move |mut connection| {
            let go = go_too.clone();
            async move {
                while connection.request().await.is_some() {
                    go.notified().await;
                    connection.send(ok("ok")).await;
                }
            }
        })
        .await;
        let mut setup = Setup::default();
        setup.client.max_connections = 1;
        setup.client.max_queue = 0;
        let rig = Rig::start(&[origin.address], setup);
        let (mut first, mut second) = (rig.client().await, rig.client().await);
        first.send(GET).await;
        origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
        let answer = second.ask(POST).await;
        assert_eq!((answer.status(), answer.cause()), (503, Some("upstream-queue-full")));
        assert_eq!(answer.field("Retry-After"), Some("1"));
        go.notify_one();
        assert_eq!(first.response().await.text(), "ok");
        go.notify_one();
        assert_eq!(second.ask(POST).await.text(), "ok", "there is room again");
        drop((first, second));
        rig.finish().await;
    });
}

/// Parked connections are closed when they have not been used for long.
#[test]
fn parked_connections_grow_old() {
    run(async {
        let origin = Origin::friendly().await;
        let mut setup = Setup::default();
        setup.client.connection.timeouts.idle = Duration::from_millis(50);
        let rig = Rig::start(&[origin.address], setup);
        let mut client = rig.client().await;
        assert_eq!(client.ask(GET).await.text(), "ok");
        assert_eq!(rig.recorder.until_closed(Side::Upstream, 1).await.reason.label(), "timeout-idle");
        assert_eq!(client.ask(GET).await.text(), "ok");
        drop(client);
        rig.finish().await;
    });
}
