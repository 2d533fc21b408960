//! Requests that share connections: how many there are, who waits, and when they end.

use std::time::Duration;

use http::Method;
use sheave_client::config::ClientConfig;
use sheave_client::error::PoolError;
use sheave_lifecycle::retry::Progress;

use crate::origin::Origin;
use crate::rig::{Answer, ORIGIN, exchange, h2c, test};

fn hello() -> Answer {
    let trailers = Some(vec![("grpc-status".to_owned(), "0".to_owned())]);
    Answer { status: 200, interim: Vec::new(), body: b"hello".to_vec(), trailers }
}

#[test]
fn requests_share_a_connection_one_after_the_other() {
    test(ClientConfig::default(), |rig| async move {
        let origin = Origin::start(&rig.net, ORIGIN, 100);
        for turn in 0..3 {
            let call = rig.call().await.unwrap();
            assert_eq!((call.is_reused(), call.progress(), call.address()), (turn > 0, Progress::Connected, ORIGIN));
            origin.state.gate.notify_one();
            assert_eq!(exchange(call, rig.clock, Method::GET, b"").await, Ok(hello()));
            rig.settle().await;
            let stats = rig.pool.stats();
            assert_eq!((stats.idle, stats.busy, stats.streams), (1, 0, 0));
        }
        assert_eq!((origin.connections(), origin.requests()), (1, 3));
        rig.pool.clear();
        rig.settle().await;
        assert_eq!(rig.ends(), [("drained", 1)].into());
    });
}

/// Interim responses, a body each way that is larger than all windows, at once.
#[test]
fn a_large_body_goes_both_ways() {
    test(ClientConfig::default(), |rig| async move {
        let _origin = Origin::start(&rig.net, ORIGIN, 100);
        let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let call = rig.call().await.unwrap();
        let answer = exchange(call, rig.clock, Method::POST, &body).await.unwrap();
        assert_eq!((answer.status, answer.interim, answer.body.len()), (200, vec![103], body.len()));
        assert!(answer.body == body);
    });
}

/// The first requests of all wait for one connection, and a further one is opened before any waits for another.
#[test]
fn concurrent_requests_open_no_more_connections_than_they_need() {
    for (requests, streams, connections) in [(1, 100, 1), (100, 100, 1), (101, 100, 2), (30, 10, 3)] {
        test(ClientConfig::default(), |rig| async move {
            let origin = Origin::start(&rig.net, ORIGIN, streams);
            // How many streams a connection carries is learned from the first.
            origin.state.gate.notify_one();
            assert_eq!(rig.get().await, Ok(hello()));
            let begun = rig.begin(requests);
            rig.settle().await;
            assert_eq!((origin.requests(), rig.pool.stats().streams), (requests + 1, requests));
            assert_eq!(origin.connections(), connections, "{requests} requests, {streams} streams");
            for begun in begun {
                origin.state.gate.notify_one();
                assert_eq!(begun.await.unwrap(), Ok(hello()));
            }
            assert_eq!(rig.pool.stats().idle, connections);
        });
    }
}

#[test]
fn the_first_requests_of_all_share_one_connection() {
    test(ClientConfig::default(), |rig| async move {
        let origin = Origin::start(&rig.net, ORIGIN, 100);
        let begun = rig.begin(50);
        rig.settle().await;
        assert_eq!((origin.requests(), origin.connections(), rig.opened()), (50, 1, 1));
        for begun in begun {
            origin.state.gate.notify_one();
            assert_eq!(begun.await.unwrap(), Ok(hello()));
        }
    });
}

/// With no room for a further connection, requests wait their turn, and not for ever.
#[test]
fn requests_wait_for_a_stream_where_there_may_be_no_further_connection() {
    let config = ClientConfig { max_connections: 2, max_queue: 3, ..ClientConfig::default() };
    test(config, |rig| async move {
        let origin = Origin::start(&rig.net, ORIGIN, 2);
        let begun = rig.begin(7);
        rig.settle().await;
        let stats = rig.pool.stats();
        assert_eq!((origin.requests(), stats.streams, stats.waiting), (4, 4, 3));
        assert_eq!(rig.call().await.err(), Some(PoolError::QueueFull));
        let mut ends = Vec::new();
        for _ in 0..2 {
            origin.state.gate.notify_one();
        }
        rig.settle().await;
        assert_eq!((origin.requests(), rig.pool.stats().waiting), (6, 1));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.pool.stats().waiting, 0, "its time is over");
        for _ in 0..4 {
            origin.state.gate.notify_one();
        }
        for begun in begun {
            ends.push(begun.await.is_ok_and(|answer| answer == Ok(hello())));
        }
        assert_eq!(ends.iter().filter(|is_well| **is_well).count(), 6);
        assert_eq!(origin.connections(), 2);
    });
}

/// A cancelled exchange frees the origin at once, and does its neighbours no harm.
#[test]
fn a_cancelled_exchange_is_reset_alone() {
    test(ClientConfig::default(), |rig| async move {
        let origin = Origin::start(&rig.net, ORIGIN, 100);
        let begun = rig.begin(3);
        rig.settle().await;
        begun[1].abort();
        rig.settle().await;
        assert_eq!(*origin.state.resets.lock().unwrap(), [h2::Reason::CANCEL]);
        assert_eq!(rig.pool.stats().streams, 2);
        for (index, begun) in begun.into_iter().enumerate() {
            if index != 1 {
                origin.state.gate.notify_one();
                assert_eq!(begun.await.unwrap(), Ok(hello()));
            }
        }
        assert_eq!((origin.connections(), rig.pool.stats().idle), (1, 1));
    });
}

#[test]
fn connections_end_at_their_age_their_number_of_requests_and_when_they_were_idle_for_long() {
    let config = |change: fn(&mut ClientConfig)| {
        let mut config = ClientConfig::default();
        change(&mut config);
        config
    };
    for (config, pause, reason) in [
        (config(|config| config.connection.max_requests = 3), 0, "max-requests"),
        (config(|config| config.connection.max_age = Some(Duration::from_secs(10))), 11, "max-age"),
        (config(|_| {}), 31, "timeout-idle"),
        (config(|config| config.max_idle = 0), 0, "evicted"),
    ] {
        test(config, |rig| async move {
            let origin = Origin::start(&rig.net, ORIGIN, 100);
            for _ in 0..3 {
                origin.state.gate.notify_one();
                assert_eq!(rig.get().await, Ok(hello()));
            }
            tokio::time::sleep(Duration::from_secs(pause)).await;
            rig.settle().await;
            assert_eq!(rig.ends().keys().copied().collect::<Vec<_>>(), [reason]);
        });
    }
}

/// An address that is the origin's no longer, and a pool at its end: what is under way goes on.
#[test]
fn a_connection_that_is_retired_serves_what_it_carries() {
    test(ClientConfig::default(), |rig| async move {
        let origin = Origin::start(&rig.net, ORIGIN, 100);
        let begun = rig.begin(2);
        rig.settle().await;
        rig.pool.clear();
        rig.settle().await;
        assert!(rig.ends().is_empty());
        // Another request does not go there any more.
        let another = rig.begin(1);
        rig.settle().await;
        assert_eq!(origin.connections(), 2);
        for begun in begun.into_iter().chain(another) {
            origin.state.gate.notify_one();
            assert_eq!(begun.await.unwrap(), Ok(hello()));
        }
        rig.settle().await;
        assert_eq!(rig.ends(), [("drained", 1)].into());
    });
}

#[test]
fn connections_are_kept_ready() {
    test(ClientConfig { prewarm: 1, ..ClientConfig::default() }, |rig| async move {
        let origin = Origin::start(&rig.net, ORIGIN, 100);
        let manner = h2c().manner().clone();
        rig.pool.follow(&sheave_client::origin::Origin::at(ORIGIN).spoken_to(manner));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((origin.connections(), rig.pool.stats().idle), (1, 1));
        origin.state.gate.notify_one();
        assert_eq!(rig.get().await, Ok(hello()));
        assert_eq!(origin.connections(), 1);
    });
}
