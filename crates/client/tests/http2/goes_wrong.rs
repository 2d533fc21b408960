//! What an origin can do wrong, or just do, and what is known of the requests then.

use std::time::Duration;

use http::Method;
use sheave_client::config::ClientConfig;
use sheave_client::error::{CallError, ClientError};
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::retry::{Evidence, Progress};

use crate::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, HTTP_1_1_REQUIRED, INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, NO_ERROR, OK, PING, Peer, REFUSED_STREAM, RST_STREAM, Script,
};
use crate::rig::{ORIGIN, Rig, exchange, test};

/// How an origin ends the second of three requests, by which the first has been answered and the third is under way.
type Act = fn(&mut Peer) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;

/// What becomes of an exchange, and why it may be sent again whatever its method.
fn told(error: &ClientError) -> (&'static str, Progress, Option<Evidence>) {
    (error.label(), error.progress(), error.evidence(&Method::POST))
}

#[test]
fn one_stream_ends_and_its_neighbours_go_on() {
    let before = Progress::Answered;
    let table: [(&str, Act, &str, Progress, Option<Evidence>); 6] = [
        (
            "refused",
            |peer| Box::pin(peer.reset(3, REFUSED_STREAM)),
            "upstream-refused-stream",
            Progress::RefusedStream,
            Some(Evidence::RefusedStream),
        ),
        ("reset", |peer| Box::pin(peer.reset(3, INTERNAL_ERROR)), "upstream-stream-reset", Progress::Written, None),
        // There is no other version to be spoken without ALPN.
        (
            "asked for HTTP/1",
            |peer| Box::pin(peer.reset(3, HTTP_1_1_REQUIRED)),
            "upstream-http-1-1-required",
            Progress::Written,
            None,
        ),
        (
            "reset amid its body",
            |peer| {
                Box::pin(async {
                    peer.send(HEADERS, END_HEADERS, 3, OK).await;
                    peer.send(DATA, 0, 3, b"hel").await;
                    peer.reset(3, INTERNAL_ERROR).await;
                })
            },
            "upstream-stream-reset",
            before,
            None,
        ),
        (
            "told to be whole when it is not",
            |peer| {
                Box::pin(async {
                    peer.send(HEADERS, END_HEADERS, 3, OK).await;
                    peer.send(DATA, 0, 3, b"hel").await;
                    peer.reset(3, NO_ERROR).await;
                })
            },
            "upstream-stream-reset",
            before,
            None,
        ),
        (
            "without a status",
            |peer| Box::pin(peer.send(HEADERS, END_HEADERS | END_STREAM, 3, &[0x5c, 0x01, b'0'])),
            "upstream-protocol-error",
            Progress::Written,
            None,
        ),
    ];
    for (name, act, label, progress, evidence) in table {
        test(ClientConfig::default(), |rig| async move {
            let mut script = Script::at(&rig.net, ORIGIN);
            let begun = rig.begin(3);
            let mut peer = script.accept(&[]).await;
            assert_eq!(peer.requests(3).await, [1, 3, 5]);
            act(&mut peer).await;
            rig.settle().await;
            peer.answer(1).await;
            peer.answer(5).await;
            let mut answers = Vec::new();
            for begun in begun {
                answers.push(begun.await.unwrap());
            }
            let error = answers.remove(1).expect_err(name);
            assert_eq!(told(&error), (label, progress, evidence), "{name}");
            assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.body == b"hello")), "{name}");
            rig.settle().await;
            assert_eq!(rig.pool.stats().idle, 1, "{name}");
        });
    }
}

/// RFC 9113 §8.1: a response that is whole may be followed by a reset without error.
#[test]
fn a_whole_response_stays_whole() {
    test(ClientConfig::default(), |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let call = tokio::spawn({
            let rig = rig.clone();
            async move {
                let call = rig.call().await.unwrap();
                exchange(call, rig.clock, Method::POST, &[7; 200_000]).await
            }
        });
        let mut peer = script.accept(&[(INITIAL_WINDOW_SIZE, 10)]).await;
        assert_eq!(peer.requests(1).await, [1]);
        peer.until(DATA).await;
        peer.answer(1).await;
        peer.reset(1, NO_ERROR).await;
        assert_eq!(call.await.unwrap().map(|answer| answer.body), Ok(b"hello".to_vec()));
        rig.settle().await;
        assert_eq!((rig.pool.stats().idle, rig.pool.stats().streams), (1, 0));
    });
}

/// GOAWAY crosses requests: those that it names are served, the others move on unseen.
#[test]
fn goaway_says_who_moves_on() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        test(ClientConfig::default(), |rig| async move {
            let mut script = Script::at(&rig.net, ORIGIN);
            let begun = rig.begin(4);
            let mut peer = script.accept(&[]).await;
            assert_eq!(peer.requests(4).await, [1, 3, 5, 7]);
            peer.goaway(3, code).await;
            rig.settle().await;
            // Nothing is begun on it any more.
            let another = rig.begin(1);
            let mut second = script.accept(&[]).await;
            assert_eq!(second.requests(1).await, [1]);
            second.answer(1).await;
            peer.answer(1).await;
            peer.answer(3).await;
            for (number, begun) in begun.into_iter().enumerate() {
                let answer = begun.await.unwrap();
                match number {
                    0 | 1 => assert_eq!(answer.map(|it| it.body), Ok(b"hello".to_vec()), "{code}"),
                    _ => {
                        let expected = ("upstream-goaway", Progress::GoAwayAbove, Some(Evidence::GoAwayAbove));
                        assert_eq!(told(&answer.unwrap_err()), expected);
                    }
                }
            }
            assert!(another.into_iter().next().unwrap().await.unwrap().is_ok());
            rig.settle().await;
            let reason = if code == NO_ERROR { "agreed" } else { "peer-closed" };
            assert_eq!(rig.ends(), [(reason, 1)].into());
            assert!(peer.drain().await.iter().any(|frame| frame.kind == GOAWAY), "we say goodbye, too");
        });
    }
}

/// The first of two GOAWAYs names no stream: what is under way goes on, and nothing new is begun.
#[test]
fn an_announced_end_ends_nothing_that_is_under_way() {
    test(ClientConfig::default(), |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let begun = rig.begin(2);
        let mut peer = script.accept(&[]).await;
        assert_eq!(peer.requests(2).await, [1, 3]);
        peer.goaway((1 << 31) - 1, NO_ERROR).await;
        rig.settle().await;
        peer.goaway(3, NO_ERROR).await;
        peer.answer(3).await;
        peer.answer(1).await;
        for begun in begun {
            assert!(begun.await.unwrap().is_ok());
        }
        rig.settle().await;
        assert_eq!(rig.ends(), [("agreed", 1)].into());
    });
}

/// A connection that is lost amid many streams: each is told what is known of it.
#[test]
fn a_lost_connection_ends_all_its_streams() {
    let reset = |label| label == "upstream-reset";
    for resets in [false, true] {
        test(ClientConfig::default(), |rig| async move {
            let mut script = Script::at(&rig.net, ORIGIN);
            let begun = rig.begin(10);
            let mut peer = script.accept(&[]).await;
            assert_eq!(peer.requests(10).await.len(), 10);
            // One is answered in part.
            peer.send(HEADERS, END_HEADERS, 9, OK).await;
            peer.send(DATA, 0, 9, b"hel").await;
            rig.settle().await;
            if resets {
                sheave_net::socket::Socket::set_abortive_close(&peer.0);
            }
            drop(peer);
            for (number, begun) in begun.into_iter().enumerate() {
                let error = begun.await.unwrap().unwrap_err();
                let (label, progress, evidence) = told(&error);
                assert_eq!(evidence, None);
                if number == 4 {
                    assert_eq!(progress, Progress::Answered);
                    assert!(resets && reset(label) || label == "upstream-truncated", "{label}");
                } else {
                    assert_eq!(progress, Progress::Written);
                    assert!(resets && reset(label) || label == "upstream-closed", "{label}");
                }
            }
            rig.settle().await;
            assert_eq!(rig.ends(), [(if resets { "peer-reset" } else { "peer-closed" }, 1)].into());
        });
    }
}

/// What waited for its turn when the connection went was not sent, and is evidence.
#[test]
fn a_request_that_never_left_can_be_sent_again() {
    test(ClientConfig::default(), |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let begun = rig.begin(2);
        let mut peer = script.accept(&[(MAX_CONCURRENT_STREAMS, 2)]).await;
        assert_eq!(peer.requests(2).await, [1, 3]);
        // From now on only one at a time: whoever holds a place already waits in the framing layer.
        let call = rig.pool.checkout(&crate::rig::h2c(), rig.clock.now(), sheave_lifecycle::keep_alive::Reuse::Usual);
        assert!(call.is_none(), "both are taken");
        peer.answer(1).await;
        rig.settle().await;
        let call = rig.call().await.unwrap();
        peer.settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
        rig.settle().await;
        let waiting = tokio::spawn(exchange(call, rig.clock, Method::POST, b""));
        rig.settle().await;
        drop(peer);
        let error = waiting.await.unwrap().unwrap_err();
        let (_, progress, evidence) = told(&error);
        assert_eq!((progress, evidence), (Progress::Connected, Some(Evidence::NotWritten)));
        let mut begun = begun.into_iter();
        assert!(begun.next().unwrap().await.unwrap().is_ok());
        assert!(begun.next().unwrap().await.unwrap().is_err());
    });
}

/// SETTINGS that allow fewer streams, and then more.
#[test]
fn as_many_streams_as_the_origin_allows_just_now() {
    let config = ClientConfig { max_connections: 1, ..ClientConfig::default() };
    test(config, |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let begun = rig.begin(5);
        let mut peer = script.accept(&[(MAX_CONCURRENT_STREAMS, 3)]).await;
        assert_eq!(peer.requests(3).await, [1, 3, 5]);
        rig.settle().await;
        assert_eq!((rig.pool.stats().streams, rig.pool.stats().waiting), (3, 2));
        peer.settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
        rig.settle().await;
        peer.answer(1).await;
        peer.answer(3).await;
        rig.settle().await;
        assert_eq!((rig.pool.stats().streams, rig.pool.stats().waiting), (1, 2));
        peer.settings(&[(MAX_CONCURRENT_STREAMS, 10)]).await;
        assert_eq!(peer.requests(2).await, [7, 9]);
        for stream in [5, 7, 9] {
            peer.answer(stream).await;
        }
        for begun in begun {
            assert!(begun.await.unwrap().is_ok());
        }
    });
}

/// A window that stays closed is a write that stands still, and hurts nobody else.
#[test]
fn a_closed_window_has_a_deadline() {
    test(ClientConfig::default(), |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let stuck = tokio::spawn({
            let rig = rig.clone();
            async move {
                let call = rig.call().await.unwrap();
                exchange(call, rig.clock, Method::POST, &[7; 100_000]).await
            }
        });
        let mut peer = script.accept(&[(INITIAL_WINDOW_SIZE, 0)]).await;
        assert_eq!(peer.requests(1).await, [1]);
        let error = stuck.await.unwrap().unwrap_err();
        assert_eq!(error.label(), "upstream-write-timeout");
        assert_eq!(peer.until(RST_STREAM).await.stream, 1);
        rig.settle().await;
        assert_eq!(rig.pool.stats().streams, 0);
    });
}

/// Nobody answers any more: the response's deadline, a PING, and then the connection's end.
#[test]
fn an_origin_that_fell_silent_is_found_out() {
    let mut config = ClientConfig::default();
    config.connection.timeouts.response = Duration::from_secs(10);
    test(config, |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let first = rig.begin(1);
        let mut peer = script.accept(&[]).await;
        assert_eq!(peer.requests(1).await, [1]);
        tokio::time::sleep(Duration::from_secs(9)).await;
        let second = rig.begin(1);
        assert_eq!(peer.requests(1).await, [3]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        // The second waits on while the first has given up, and with it the connection is in doubt.
        peer.until(PING).await;
        let third = rig.begin(1);
        let mut other = script.accept(&[]).await;
        assert_eq!(other.requests(1).await, [1]);
        other.answer(1).await;
        assert!(third.into_iter().next().unwrap().await.unwrap().is_ok(), "a further one is not sent into the dark");
        for begun in first.into_iter().chain(second) {
            let error = begun.await.unwrap().unwrap_err();
            assert_eq!((error.label(), error.progress()), ("upstream-response-timeout", Progress::Written));
        }
        rig.settle().await;
        assert_eq!(rig.ends(), [("timeout-response", 1)].into());
    });
}

#[test]
fn a_ping_that_is_not_answered_ends_the_connection() {
    let mut config = ClientConfig::default();
    config.connection.timeouts.response = Duration::from_secs(100);
    config.connection.http2.ping_interval = Duration::from_secs(20);
    config.connection.http2.ping_timeout = Duration::from_secs(5);
    test(config, |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let begun = rig.begin(1);
        let mut peer = script.accept(&[]).await;
        assert_eq!(peer.requests(1).await, [1]);
        // The first is answered.
        let ping = peer.until(PING).await;
        peer.send(PING, ACK, 0, &ping.payload).await;
        peer.until(PING).await;
        let error = begun.into_iter().next().unwrap().await.unwrap().unwrap_err();
        assert_eq!(error, ClientError::Call(CallError::TimedOut(Timer::Ping), Progress::Written));
        rig.settle().await;
        assert_eq!(rig.ends(), [("timeout-ping", 1)].into());
    });
}

/// A connection on which nothing was asked for, and what its origin does with it.
#[test]
fn an_idle_connection_is_never_used_when_its_end_can_be_seen() {
    let acts: [(&str, Act); 3] = [
        ("agreed", |peer| Box::pin(peer.goaway(1, NO_ERROR))),
        ("peer-closed", |peer| {
            Box::pin(async {
                sheave_net::socket::Socket::shutdown_write(&mut peer.0).unwrap();
            })
        }),
        ("flooded", |peer| {
            Box::pin(async {
                for _ in 0..400 {
                    peer.send(PING, 0, 0, &[0; 8]).await;
                }
            })
        }),
    ];
    for (reason, act) in acts {
        test(ClientConfig::default(), |rig| async move {
            let mut script = Script::at(&rig.net, ORIGIN);
            let first = rig.begin(1);
            let mut peer = script.accept(&[]).await;
            assert_eq!(peer.requests(1).await, [1]);
            peer.answer(1).await;
            assert!(first.into_iter().next().unwrap().await.unwrap().is_ok());
            act(&mut peer).await;
            // At once: the pool's task for it has not had a turn since.
            let second = rig.begin(1);
            let mut other = script.accept(&[]).await;
            assert_eq!(other.requests(1).await, [1]);
            other.answer(1).await;
            assert!(second.into_iter().next().unwrap().await.unwrap().is_ok(), "{reason}");
            rig.settle().await;
            assert_eq!(rig.ends(), [(reason, 1)].into());
        });
    }
}

/// What was learned of the origin's keep-alive time is respected, and what it does teaches.
#[test]
fn idle_connections_are_reused_only_as_long_as_was_learned() {
    test(ClientConfig::default(), |rig: Rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        for round in 0..3 {
            let begun = rig.begin(1);
            let mut peer = script.accept(&[]).await;
            assert_eq!(peer.requests(1).await, [1]);
            peer.answer(1).await;
            assert!(begun.into_iter().next().unwrap().await.unwrap().is_ok());
            tokio::time::sleep(Duration::from_secs(5)).await;
            peer.goaway(1, NO_ERROR).await;
            rig.settle().await;
            assert_eq!(rig.ends(), [("agreed", round + 1)].into());
        }
        let state = rig.pool.addresses().remove(0);
        assert!(state.reused_below < Duration::from_millis(4600), "{state:?}");
        let begun = rig.begin(1);
        let mut peer = script.accept(&[]).await;
        assert_eq!(peer.requests(1).await, [1]);
        peer.answer(1).await;
        assert!(begun.into_iter().next().unwrap().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_millis(4700)).await;
        let begun = rig.begin(1);
        let mut other = script.accept(&[]).await;
        assert_eq!(other.requests(1).await, [1], "the old one is not used any more");
        other.answer(1).await;
        assert!(begun.into_iter().next().unwrap().await.unwrap().is_ok());
    });
}

/// An origin that does not speak HTTP/2 after all.
#[test]
fn an_origin_that_speaks_something_else() {
    test(ClientConfig::default(), |rig| async move {
        let mut listener = rig.net.listen(ORIGIN);
        let begun = rig.begin(2);
        let mut socket = listener.accept().await;
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut socket, answer).await.unwrap();
        drop(listener);
        for begun in begun {
            let error = begun.await.unwrap().unwrap_err();
            let label = error.label();
            assert!(label == "upstream-protocol-error" || label == "upstream-connect-refused", "{label}");
        }
        rig.settle().await;
        assert_eq!(rig.ends().keys().copied().collect::<Vec<_>>(), ["protocol-error"]);
    });
}

/// RFC 9113 §10.5: an origin that floods us is told so, and what waits for it is not lost in silence.
#[test]
fn an_origin_that_sends_too_much_of_something_is_told_so() {
    test(ClientConfig::default(), |rig| async move {
        let mut script = Script::at(&rig.net, ORIGIN);
        let begun = rig.begin(1);
        let mut peer = script.accept(&[]).await;
        assert_eq!(peer.requests(1).await, [1]);
        let flood = [&[0, 0, 8, PING, 0, 0, 0, 0, 0][..], b"12345678"].concat().repeat(3000);
        tokio::io::AsyncWriteExt::write_all(&mut peer.0, &flood).await.unwrap();
        let goaway = peer.until(GOAWAY).await;
        let expected = [0_u32.to_be_bytes(), ENHANCE_YOUR_CALM.to_be_bytes()].concat();
        assert_eq!(goaway.payload, expected);
        let error = begun.into_iter().next().unwrap().await.unwrap().unwrap_err();
        assert_eq!(told(&error), ("upstream-protocol-error", Progress::Written, None));
        rig.settle().await;
        assert_eq!(rig.ends(), [("flooded", 1)].into());
    });
}
