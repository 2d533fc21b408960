//! One call on real sockets: how far it came, and what becomes of its connection however it ends.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use http::Method;
use kit::origin::{Origin, ok};
use kit::recorder::Recorder;
use kit::run::run;
use kit::wire::End;
use sheave_client::call::Call;
use sheave_client::config::ClientConfig;
use sheave_client::error::{CallError, PoolError};
use sheave_client::pool::Pool;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::retry::Progress;
use sheave_net::clock::Clock;
use sheave_net::endpoint::Endpoint;
use sheave_net::stream::KernelStream;
use sheave_net::tcp_connect::TcpConnector;
use sheave_proto::error::{Misuse, ProtocolError};
use sheave_proto::framing::BodyLength;
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;
use tokio::sync::Notify;

/// A pool, and a witness of its connections.
struct Rig {
    pool: Pool<TcpConnector>,
    recorder: Arc<Recorder>,
    clock: Clock,
}

impl Rig {
    fn new(config: ClientConfig) -> Self {
        let (recorder, clock) = (Arc::new(Recorder::default()), Clock::start());
        Self { pool: Pool::new(TcpConnector::default(), config, clock, recorder.clone()), recorder, clock }
    }

    async fn call(&self, address: SocketAddr) -> Call<KernelStream> {
        self.pool.acquire(&[address.into()], Reuse::Usual).await.unwrap()
    }

    /// Why the last connection ended; it must have.
    fn ended(&self) -> CloseReason {
        assert_eq!(self.pool.stats().busy, 0);
        *self.recorder.log().reasons(Side::Upstream).last().expect("a connection has ended")
    }

    /// Closes what is parked, and holds the laws against what happened.
    fn finish(self) {
        self.pool.clear();
        let stats = self.pool.stats();
        assert_eq!((stats.idle, stats.busy, stats.waiting), (0, 0, 0));
        drop(self.pool);
        self.recorder.check_laws();
    }
}

fn request(method: Method) -> RequestHead {
    let mut head = RequestHead::new(method, "/").unwrap();
    head.fields_mut().push(Known::Host, b"a").unwrap();
    head
}

fn send_head(call: &mut Call<KernelStream>, rig: &Rig, body: BodyLength) {
    call.send_head(&request(Method::POST), "/", body, rig.clock.now()).unwrap();
}

/// Gives the whole request to the kernel.
async fn send(call: &mut Call<KernelStream>, rig: &Rig) {
    send_head(call, rig, BodyLength::Known(5));
    send_body(call, rig, b"hello", true).await;
}

async fn send_body(call: &mut Call<KernelStream>, rig: &Rig, data: &[u8], is_end: bool) {
    let mut data = Some(data);
    poll_fn(|cx| {
        let now = rig.clock.now();
        if let Some(data) = data.take() {
            call.send_body(cx, now, &[data], is_end, None).unwrap();
        }
        call.poll_flush(cx, now)
    })
    .await;
}

/// Reads one piece of the response: its status if that came with it, and whether it was the last.
async fn receive(call: &mut Call<KernelStream>, rig: &Rig) -> Result<(Option<u16>, bool), CallError> {
    poll_fn(|cx| {
        call.poll_response_with(cx, rig.clock.now(), |batch| {
            (batch.head.map(|head| head.status().as_u16()), batch.is_end)
        })
    })
    .await
}

/// Reads all of the response.
async fn receive_all(call: &mut Call<KernelStream>, rig: &Rig) -> Result<u16, CallError> {
    let mut status = 0;
    loop {
        let (head, is_end) = receive(call, rig).await?;
        status = head.unwrap_or(status);
        if is_end {
            return Ok(status);
        }
    }
}

#[test]
fn a_call_that_ends_well_parks_its_connection() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::new(ClientConfig::default());
        for turn in 0..3 {
            let mut call = rig.call(origin.address).await;
            assert_eq!(
                (call.is_reused(), call.progress(), call.address()),
                (turn > 0, Progress::Connected, origin.address)
            );
            assert_eq!((rig.pool.busy(&origin.address.into()), rig.pool.stats().idle), (1, 0));
            send_head(&mut call, &rig, BodyLength::Known(5));
            assert_eq!((call.progress(), call.has_unsent(), call.has_sent_head()), (Progress::Connected, true, false));
            assert!(call.is_sending());
            send_body(&mut call, &rig, b"hello", true).await;
            assert_eq!((call.progress(), call.has_unsent(), call.is_sending()), (Progress::Written, false, false));
            assert_eq!(receive_all(&mut call, &rig).await, Ok(200));
            assert_eq!((call.progress(), call.has_whole_response()), (Progress::Answered, true));
            drop(call);
            assert_eq!((rig.pool.busy(&origin.address.into()), rig.pool.stats().idle), (0, 1));
        }
        assert_eq!((origin.accepted(), origin.requests().len()), (1, 3));
        rig.finish();
    });
}

/// However far it came: what is given up in the middle is closed, and its place given back.
#[test]
fn a_call_that_is_dropped_in_the_middle_is_closed() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            if connection.request().await.is_some() {
                connection.wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
            }
            connection.drain().await;
        })
        .await;
        let rig = Rig::new(ClientConfig { max_connections: 1, ..ClientConfig::default() });
        for stage in 0..5 {
            let mut call = rig.call(origin.address).await;
            assert!(!call.is_reused(), "nothing of stage {stage} was kept");
            if stage >= 1 {
                send_head(&mut call, &rig, BodyLength::Known(10));
            }
            if stage >= 2 {
                send_body(&mut call, &rig, b"hello", false).await;
            }
            if stage >= 3 {
                send_body(&mut call, &rig, b"world", true).await;
            }
            if stage >= 4 {
                assert_eq!(receive(&mut call, &rig).await, Ok((Some(200), false)));
            }
            drop(call);
            if stage == 0 {
                // Nothing has begun on it: it is as good as new.
                assert_eq!(rig.pool.stats().idle, 1);
                rig.pool.clear();
            } else {
                assert_eq!(rig.ended(), CloseReason::Cancelled, "stage {stage}");
            }
        }
        rig.finish();
    });
}

/// A reset tells a busy origin that nobody waits any more.
#[test]
fn a_call_that_is_abandoned_is_reset_for_its_reason() {
    run(async {
        let origin = Origin::start(async |mut connection| {
            connection.must_request().await;
            assert_eq!(connection.wire.take().await, Err(End::Reset));
        })
        .await;
        let rig = Rig::new(ClientConfig::default());
        let mut call = rig.call(origin.address).await;
        send(&mut call, &rig).await;
        origin.until(|origin| (!origin.requests().is_empty()).then_some(())).await;
        call.abandon(CloseReason::OtherSide);
        assert_eq!(rig.ended(), CloseReason::OtherSide);
        rig.finish();
    });
}

/// The answer is whole and the request is not: what was not sent cannot be taken back.
#[test]
fn a_call_that_is_answered_early_is_closed() {
    run(async {
        for sent in [&b""[..], b"hello"] {
            let origin = Origin::start(async |mut connection| {
                connection.wire.head().await.unwrap();
                connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await;
                connection.drain().await;
            })
            .await;
            let rig = Rig::new(ClientConfig::default());
            let mut call = rig.call(origin.address).await;
            send_head(&mut call, &rig, BodyLength::Known(10));
            if sent.is_empty() {
                poll_fn(|cx| call.poll_flush(cx, rig.clock.now())).await;
            } else {
                send_body(&mut call, &rig, sent, false).await;
            }
            assert_eq!(receive_all(&mut call, &rig).await, Ok(413));
            assert!(call.is_sending());
            call.finish();
            assert_eq!(rig.ended(), CloseReason::EarlyResponse);
            rig.finish();
        }
    });
}

/// What an origin says after its response, or leaves unsaid, and why its connection is not kept.
#[test]
fn connections_that_are_not_kept() {
    let table = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", Some("unasked-bytes")),
        ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Some("unasked-bytes")),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", Some("agreed")),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Some("agreed")),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", None),
        // The origin takes one more request, as it says; some count the one that they are answering.
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=1\r\nContent-Length: 2\r\n\r\nok", Some("retired")),
    ];
    run(async {
        for (response, reason) in table {
            let origin = Origin::saying(response).await;
            let rig = Rig::new(ClientConfig::default());
            let mut call = rig.call(origin.address).await;
            send(&mut call, &rig).await;
            assert!(receive_all(&mut call, &rig).await.is_ok());
            drop(call);
            match reason {
                None => assert_eq!(rig.pool.stats().idle, 1, "{response:?}"),
                Some(reason) => assert_eq!(rig.ended().label(), reason, "{response:?}"),
            }
            rig.finish();
        }
    });
}

#[test]
fn what_goes_wrong_has_its_name_and_says_how_far_it_came() {
    use Progress::{Answered, Written};
    let truncated = CallError::Protocol(ProtocolError::TruncatedBody);
    let no_head = CallError::Protocol(ProtocolError::TruncatedHead);
    let table = [
        ("", CallError::Closed, Written, "peer-closed"),
        ("HTTP/1.1 2", no_head, Answered, "truncated"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", no_head, Answered, "truncated"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", truncated, Answered, "truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", truncated, Answered, "truncated"),
        ("nonsense", CallError::Protocol(ProtocolError::NotHttp), Answered, "protocol-error"),
    ];
    run(async {
        for (response, error, progress, reason) in table {
            let origin = Origin::start(move |mut connection| async move {
                connection.must_request().await;
                connection.send(response).await;
            })
            .await;
            let rig = Rig::new(ClientConfig::default());
            let mut call = rig.call(origin.address).await;
            send(&mut call, &rig).await;
            assert_eq!(receive_all(&mut call, &rig).await, Err(error), "{response:?}");
            assert_eq!(call.progress(), progress, "{response:?}");
            drop(call);
            assert_eq!(rig.ended().label(), reason, "{response:?}");
            rig.finish();
        }
    });
}

/// Without the check before reuse: what the kernel says when it is too late.
#[test]
fn a_connection_that_was_dead_before_the_first_byte() {
    run(async {
        for resets in [true, false] {
            let order = Arc::new((Notify::new(), Notify::new()));
            let script = order.clone();
            let origin = Origin::start(move |mut connection| {
                let order = script.clone();
                async move {
                    connection.must_request().await;
                    connection.send(ok("ok")).await;
                    order.0.notified().await;
                    if resets {
                        connection.wire.reset();
                    } else {
                        drop(connection);
                    }
                    order.1.notify_one();
                }
            })
            .await;
            let rig = Rig::new(ClientConfig { check_before_reuse: false, ..ClientConfig::default() });
            let mut call = rig.call(origin.address).await;
            send(&mut call, &rig).await;
            assert_eq!(receive_all(&mut call, &rig).await, Ok(200));
            drop(call);
            order.0.notify_one();
            order.1.notified().await;
            let mut call = rig.call(origin.address).await;
            assert!(call.is_reused());
            send(&mut call, &rig).await;
            let error = receive_all(&mut call, &rig).await.unwrap_err();
            if resets {
                // The kernel took nothing: that is evidence.
                assert!(matches!(error, CallError::Io(_) | CallError::Closed), "{error:?}");
                assert_eq!(call.progress(), Progress::FoundClosed);
                assert!(call.has_written_nothing());
            } else {
                // Behind a FIN it takes bytes, and nobody knows what became of them.
                assert_eq!(call.progress(), Progress::Written);
            }
            drop(call);
            assert_eq!(rig.ended().label(), if resets { "peer-reset" } else { "peer-closed" });
            rig.finish();
        }
    });
}

/// What contradicts itself is refused before a byte of it is written, and costs no connection.
#[test]
fn requests_that_contradict_themselves() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::new(ClientConfig::default());
        let mut call = rig.call(origin.address).await;
        let now = rig.clock.now();
        let without_host = RequestHead::new(Method::GET, "/").unwrap();
        assert_eq!(
            call.send_head(&without_host, "/", BodyLength::None, now),
            Err(CallError::Misuse(Misuse::MissingHost))
        );
        assert_eq!(
            call.send_head(&request(Method::GET), "/ a", BodyLength::None, now),
            Err(CallError::Misuse(Misuse::InvalidTarget))
        );
        assert_eq!(
            call.send_head(&request(Method::GET), "/", BodyLength::UntilClose, now),
            Err(CallError::Misuse(Misuse::RequestUntilClose))
        );
        send(&mut call, &rig).await;
        // One exchange at a time.
        assert_eq!(
            call.send_head(&request(Method::GET), "/", BodyLength::None, now),
            Err(CallError::Misuse(Misuse::WrongState))
        );
        assert_eq!(receive_all(&mut call, &rig).await, Ok(200));
        drop(call);
        // More than was declared: the request cannot be completed, and its connection is closed.
        let mut call = rig.call(origin.address).await;
        assert!(call.is_reused());
        send_head(&mut call, &rig, BodyLength::Known(5));
        let misuse = poll_fn(|cx| Poll::Ready(call.send_body(cx, now, &[b"hello!"], true, None))).await;
        assert_eq!(misuse, Err(CallError::Misuse(Misuse::BodyTooLong { excess: 1 })));
        drop(call);
        assert_eq!(rig.ended(), CloseReason::Cancelled);
        assert_eq!(origin.requests().len(), 1);
        rig.finish();
    });
}

#[test]
fn no_more_are_kept_than_may_be() {
    run(async {
        let origin = Origin::friendly().await;
        for (max_idle, kept) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)] {
            let rig = Rig::new(ClientConfig { max_idle, ..ClientConfig::default() });
            let mut calls = Vec::new();
            for _ in 0..3 {
                let mut call = rig.call(origin.address).await;
                send(&mut call, &rig).await;
                assert_eq!(receive_all(&mut call, &rig).await, Ok(200));
                calls.push(call);
            }
            drop(calls);
            assert_eq!(rig.pool.stats().idle, kept);
            let evicted = vec![CloseReason::Evicted; 3 - kept];
            assert_eq!(rig.recorder.log().reasons(Side::Upstream), evicted, "{max_idle}");
            rig.finish();
        }
    });
}

/// An address that is named twice takes one place.
#[test]
fn places_are_given_back_however_often_an_address_is_named() {
    run(async {
        let origin = Origin::friendly().await;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let rig = Rig::new(ClientConfig { max_connections: 3, ..ClientConfig::default() });
        for _ in 0..5 {
            let named = [origin.address, origin.address, nobody, origin.address].map(Endpoint::from);
            let call = rig.pool.connect(&named, Reuse::Never).await.unwrap();
            assert_eq!(rig.pool.busy(&origin.address.into()), 1);
            call.abandon(CloseReason::Cancelled);
            assert_eq!((rig.pool.busy(&origin.address.into()), rig.pool.busy(&nobody.into())), (0, 0));
        }
        // Dropped while it connects.
        let address = [origin.address.into()];
        let mut connecting = Box::pin(rig.pool.connect(&address, Reuse::Never));
        assert!(poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).is_pending())).await);
        assert_eq!(rig.pool.busy(&origin.address.into()), 1);
        drop(connecting);
        assert_eq!(rig.pool.busy(&origin.address.into()), 0);
        let error = rig.pool.connect(&[nobody.into()], Reuse::Usual).await.err();
        assert!(matches!(error, Some(PoolError::Dial(_))));
        assert_eq!(rig.pool.stats().busy, 0);
        rig.finish();
    });
}

/// The last one of a pool closes what is parked.
#[test]
fn a_pool_that_is_dropped_closes_what_is_parked() {
    run(async {
        let origin = Origin::friendly().await;
        let rig = Rig::new(ClientConfig::default());
        let mut busy = rig.call(origin.address).await;
        let mut call = rig.call(origin.address).await;
        send(&mut call, &rig).await;
        assert_eq!(receive_all(&mut call, &rig).await, Ok(200));
        drop(call);
        send(&mut busy, &rig).await;
        let Rig { pool, recorder, clock } = rig;
        drop(pool);
        // One that is out goes on, and is closed when it would come back.
        let rest = Rig {
            pool: Pool::new(TcpConnector::default(), ClientConfig::default(), clock, recorder.clone()),
            recorder,
            clock,
        };
        assert_eq!(receive_all(&mut busy, &rest).await, Ok(200));
        drop(busy);
        rest.finish();
    });
}
