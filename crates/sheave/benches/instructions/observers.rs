//! What being told of an exchange costs: counted, and as a line of the access log.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use sheave_lifecycle::observe::{
    ConnectionId, ExchangeEnd, MadeBy, Moved, Observer, Opened, Outcome, RequestWords, UpstreamPart,
};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::retry::Sent;
use sheave_lifecycle::time::Time;
use sheave_metrics::metrics::Metrics;

use crate::calendar::Moment;
use crate::canned::ORIGIN;
use crate::{combined, json_line};

#[derive(Debug)]
struct Browser;

impl RequestWords for Browser {
    fn host(&self) -> Option<&str> {
        Some("www.example.test")
    }

    fn user_agent(&self) -> Option<&str> {
        Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    }

    fn referer(&self) -> Option<&str> {
        Some("https://www.example.test/articles/2026/11/")
    }
}

fn end() -> ExchangeEnd<'static> {
    ExchangeEnd {
        connection: ConnectionId(1),
        number: 4,
        peer: Some(SocketAddr::from(([192, 0, 2, 1], 50_000))),
        method: "GET",
        target: "/articles/2026/11/how-a-sheave-turns?page=2",
        version: "HTTP/1.1",
        words: &Browser,
        status: 200,
        outcome: Outcome::Answered(MadeBy::Origin),
        error: None,
        sent: Sent::Yes,
        request_bytes: 0,
        response_bytes: 10_240,
        began: Time::ZERO,
        took: Duration::from_micros(1_500),
        upstream: Some(UpstreamPart {
            address: ORIGIN,
            connection: ConnectionId(2),
            is_reused: true,
            response_after: Some(Duration::from_micros(900)),
        }),
        attempts: 1,
        encryption: None,
        retried: None,
        tunnel: None,
    }
}

/// What a metrics shard is told in the course of one exchange through the proxy.
pub(crate) fn exchange(rounds: u64) {
    let shard = Metrics::new(1).shard(0);
    let shard: &dyn Observer = black_box(&*shard);
    for (side, id) in [(Side::Downstream, 1), (Side::Upstream, 2)] {
        let id = ConnectionId(id);
        shard.opened(&Opened { side, id, peer: Some(ORIGIN), local: Some(ORIGIN), at: Time::ZERO });
    }
    let moved = |side, id, phase, exchanges| {
        let id = ConnectionId(id);
        Moved { side, id, phase, exchanges, bytes_in: exchanges * 100, bytes_out: exchanges * 200 }
    };
    for round in 1..=rounds {
        shard.moved(&moved(Side::Downstream, 1, Phase::Request, round));
        shard.reused(ConnectionId(2), Duration::from_micros(100));
        shard.parked(&moved(Side::Upstream, 2, Phase::Parked, round));
        shard.exchange_ended(black_box(&end()));
        shard.moved(&moved(Side::Downstream, 1, Phase::Idle, round));
    }
}

fn began() -> Moment {
    Moment::of(UNIX_EPOCH + Duration::from_micros(black_box(1_795_156_740_123_456)))
}

pub(crate) fn json(rounds: u64) {
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        json_line::write(&mut out, began(), black_box(&end()));
        black_box(&out);
        out.clear();
    }
}

pub(crate) fn combined(rounds: u64) {
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        combined::write(&mut out, began(), black_box(&end()));
        black_box(&out);
        out.clear();
    }
}
