//! What it costs to be told: nanoseconds for each method of a shard, and microseconds for each way to read it.
//!
//! `cargo bench -p sheave-metrics`. Each number is the least of several rounds: what the code costs when nothing disturbs it.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::observe::{
    Closed, ConnectionId, ExchangeEnd, MadeBy, Moved, Observer, Opened, Outcome, UpstreamPart,
};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::retry::Sent;
use sheave_lifecycle::time::Time;
use sheave_metrics::metrics::Metrics;

const LIVE: u64 = 10_000;
const ROUNDS: u32 = 9;

fn main() {
    // Without this, cargo runs it as a test: once and briefly.
    let calls = if std::env::args().any(|argument| argument == "--bench") { 1_000_000 } else { 1_000 };
    let metrics = Metrics::new(2);
    let shard = metrics.shard(0);
    let shard = black_box(&*shard as &dyn Observer);

    // Every fourth number, as with four workers.
    (0..LIVE).for_each(|n| shard.opened(&opened(4 * n)));
    let mut next = LIVE;
    report("opened and closed", calls, || {
        next += 1;
        shard.opened(&opened(4 * next));
        shard.closed(&closed(4 * next));
    });
    report("opened, the clock alone", calls, || {
        black_box(Instant::now());
    });
    report("moved, another one each time", calls, || {
        next = next.wrapping_add(0x9e37_79b9_7f4a_7c15);
        shard.moved(&moved(4 * (next % LIVE), next));
    });
    report("moved, the same one", calls, || {
        next = next.wrapping_add(1);
        shard.moved(&moved(4, next));
    });
    report("parked and reused", calls, || {
        next = next.wrapping_add(1);
        shard.parked(&Moved { phase: Phase::Parked, ..moved(4, next) });
        shard.reused(ConnectionId(4), Duration::from_micros(next & 0xffff));
    });
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
    report("exchange_ended", calls, || {
        next = next.wrapping_add(1);
        shard.exchange_ended(&exchange(client, next, None));
    });
    report("exchange_ended with an error", calls, || {
        next = next.wrapping_add(1);
        shard.exchange_ended(&exchange(client, next, Some("timeout-response")));
    });
    report("the whole of an exchange through a proxy", calls, || {
        next = next.wrapping_add(1);
        shard.moved(&moved(4, next));
        shard.reused(ConnectionId(8), Duration::from_micros(next & 0xffff));
        shard.parked(&Moved { phase: Phase::Parked, ..moved(8, next) });
        shard.exchange_ended(&exchange(client, next, None));
        shard.moved(&moved(4, next));
    });
    report("check", calls.div_ceil(100), || metrics.check().expect("every connection is accounted for"));
    report("connections, each of 10,000", calls.div_ceil(1_000) * LIVE, {
        let (mut call, metrics) = (0, &metrics);
        move || {
            // One call reads them all: its cost is shared out.
            call += 1;
            if call % LIVE == 0 {
                black_box(metrics.connections());
            }
        }
    });
    report("encode, two shards", calls.div_ceil(1_000), || {
        black_box(metrics.encode());
    });
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    report("encode, without /proc", calls.div_ceil(1_000), || {
        let mut page = String::with_capacity(32 << 10);
        text::encode(&mut page, &registry).expect("a String takes whatever is written to it");
        black_box(page);
    });
}

fn report(what: &str, calls: u64, mut call: impl FnMut()) {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        (0..calls).for_each(|_| call());
        #[expect(clippy::cast_precision_loss)]
        let nanos = began.elapsed().as_secs_f64() * 1e9 / calls as f64;
        least = least.min(nanos);
    }
    println!("{what:<44}{least:>12.1} ns");
}

fn opened(id: u64) -> Opened {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
    Opened { side: Side::Upstream, id: ConnectionId(id), peer: Some(peer), local: Some(peer), at: Time::ZERO }
}

fn closed(id: u64) -> Closed {
    Closed {
        side: Side::Upstream,
        id: ConnectionId(id),
        peer: None,
        reason: if id & 64 == 0 { CloseReason::Agreed } else { CloseReason::PeerClosed },
        phase: Phase::Idle,
        age: Duration::from_micros(id & 0xff_ffff),
        exchanges: id & 0xff,
        bytes_in: 1_000,
        bytes_out: 2_000,
        last: sheave_lifecycle::ring::Ring::new(),
    }
}

fn moved(id: u64, step: u64) -> Moved {
    Moved {
        side: Side::Upstream,
        id: ConnectionId(id),
        phase: if step & 1 == 0 { Phase::Request } else { Phase::Idle },
        exchanges: step >> 1,
        bytes_in: step * 100,
        bytes_out: step * 200,
    }
}

fn exchange(client: SocketAddr, number: u64, error: Option<&'static str>) -> ExchangeEnd<'static> {
    ExchangeEnd {
        connection: ConnectionId(1),
        number,
        peer: Some(client),
        method: "GET",
        target: "/",
        version: "HTTP/1.1",
        encryption: None,
        words: &(),
        status: 200,
        outcome: Outcome::Answered(MadeBy::Origin),
        error,
        sent: Sent::Yes,
        request_bytes: 0,
        response_bytes: 1_024,
        began: Time::ZERO,
        took: Duration::from_micros(number & 0xf_ffff),
        upstream: Some(UpstreamPart {
            address: client,
            connection: ConnectionId(4),
            is_reused: true,
            response_after: Some(Duration::from_micros(number & 0xffff)),
        }),
        attempts: 1,
        retried: None,
        tunnel: None,
    }
}
