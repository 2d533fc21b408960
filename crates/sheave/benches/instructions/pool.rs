//! A parked connection, taken and given back, with a hundred others beside it.

use std::hint::black_box;

use sheave_client::config::ClientConfig;
use sheave_client::pool::Pool;
use sheave_lifecycle::keep_alive::Reuse;
use sheave_metrics::metrics::Metrics;
use sheave_net::clock::Clock;
use sheave_net::endpoint::Endpoint;

use crate::canned::{ORIGIN, ToOrigin, Words, run};

pub(crate) fn checkout_and_park(rounds: u64) {
    run(async {
        let clock = Clock::start();
        let endpoint = Endpoint::from(ORIGIN);
        let pool = Pool::new(
            ToOrigin(Words { says: b"", hears: b"\r\n\r\n" }),
            ClientConfig::default(),
            clock,
            Metrics::new(1).shard(0),
        );
        let mut calls = Vec::new();
        for _ in 0..100 {
            calls.push(pool.connect(std::slice::from_ref(&endpoint), Reuse::Never).await.unwrap());
        }
        drop(calls);
        let now = clock.now();
        for _ in 0..rounds {
            drop(black_box(pool.checkout(black_box(&endpoint), now, Reuse::Usual)).unwrap());
        }
    });
}
