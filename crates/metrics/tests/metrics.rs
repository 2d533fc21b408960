//! The numbers as a binary uses them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::drain::DrainPhase;
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_lifecycle::observe::{Closed, ConnectionId, ExchangeEnd, MadeBy, Moved, Observer, Opened, Outcome};
use sheave_lifecycle::phase::{Phase, Side};
use sheave_lifecycle::retry::{Evidence, Sent};
use sheave_lifecycle::time::Time;
use sheave_metrics::metrics::{CONTENT_TYPE, Imbalance, Metrics};

fn open(observer: &dyn Observer, side: Side, id: u64) {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    observer.opened(&Opened { side, id: ConnectionId(id), peer: Some(peer), local: Some(local), at: Time::ZERO });
}

fn go(observer: &dyn Observer, side: Side, id: u64, phase: Phase, bytes: u64) {
    observer.moved(&moved(side, id, phase, bytes));
}

fn moved(side: Side, id: u64, phase: Phase, bytes: u64) -> Moved {
    Moved { side, id: ConnectionId(id), phase, exchanges: 1, bytes_in: bytes, bytes_out: 2 * bytes }
}

fn close(observer: &dyn Observer, side: Side, id: u64) {
    observer.closed(&Closed {
        side,
        id: ConnectionId(id),
        peer: None,
        reason: CloseReason::Agreed,
        phase: Phase::Response,
        age: Duration::from_secs(2),
        exchanges: 1,
        bytes_in: 100,
        bytes_out: 200,
        last: sheave_lifecycle::ring::Ring::new(),
    });
}

fn end(observer: &dyn Observer, id: u64) {
    end_as(observer, id, None);
}

/// Ends an exchange that was a tunnel for so long, or none.
fn end_as(observer: &dyn Observer, id: u64, tunnel: Option<Duration>) {
    observer.exchange_ended(&ExchangeEnd {
        connection: ConnectionId(id),
        number: 1,
        peer: None,
        method: "GET",
        target: "/",
        version: "HTTP/1.1",
        encryption: None,
        words: &(),
        status: 200,
        outcome: Outcome::Answered(MadeBy::Origin),
        error: None,
        sent: Sent::Yes,
        request_bytes: 1,
        response_bytes: 2,
        began: Time::ZERO,
        took: Duration::from_millis(1),
        upstream: None,
        attempts: 1,
        retried: None,
        tunnel,
    });
}

/// The value of each sample of a page. Panics where the page is not what OpenMetrics wants, as far as that concerns us.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let body = page.strip_suffix("# EOF\n").expect("the page ends with its end");
    let mut families = BTreeSet::new();
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    let mut kind = String::new();
    let mut bucket: Option<(String, f64, f64)> = None;
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "twice: {name}");
            assert!(text.ends_with('.') && !text.contains('\\') && !text.contains("  "), "{line}");
            family = name.to_owned();
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, of) = told.split_once(' ').unwrap();
            assert_eq!(name, family);
            kind = of.to_owned();
        } else if let Some(unit) = line.strip_prefix("# UNIT ") {
            let (name, unit) = unit.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let name = sample.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} in {family}"));
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                kind => panic!("{kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            if suffix == "_bucket" {
                let (labels, bound) = sample.split_once("le=\"").unwrap();
                let (bound, rest) = bound.split_once('"').unwrap();
                let series = format!("{labels}{rest}");
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                if let Some((former, below, count)) = bucket.take_if(|(former, ..)| *former == series) {
                    assert!(below < bound && count <= value, "{former}{line}");
                }
                bucket = Some((series, bound, value));
            }
            assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {sample}");
        }
    }
    samples
}

#[test]
fn the_page_is_well_formed_and_has_what_dashboards_look_for() {
    let metrics = Metrics::new(2);
    open(&*metrics.shard(0), Side::Downstream, 1);
    end(&*metrics.shard(1), 1);
    let samples = parse(&metrics.encode());
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "sheave_start_time_seconds",
    ] {
        assert!(samples.contains_key(name), "{name}");
    }
    let version = format!("sheave_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert!(samples.contains_key(&version));
    assert_eq!(samples["sheave_connections_live{side=\"downstream\"}"], 1.0);
    assert_eq!(samples["sheave_responses_total{code=\"200\",made_by=\"origin\"}"], 1.0);
    assert!(CONTENT_TYPE.starts_with("application/openmetrics-text;"));
}

#[test]
fn a_registry_of_somebody_else_gets_ours_without_those_of_the_process() {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics::new(1)));
    let mut page = String::new();
    text::encode(&mut page, &registry).unwrap();
    let samples = parse(&page);
    assert!(samples.contains_key("sheave_connections_parked"));
    assert!(!samples.keys().any(|name| name.starts_with("process_")));
}

#[test]
fn the_first_law_holds_while_connections_come_and_go() {
    let metrics = Metrics::new(2);
    let (one, other) = (metrics.shard(0), metrics.shard(1));
    assert_eq!(metrics.check(), Ok(()));
    open(&*one, Side::Downstream, 1);
    open(&*other, Side::Downstream, 2);
    open(&*other, Side::Upstream, 1);
    assert_eq!(metrics.check(), Ok(()));
    close(&*other, Side::Upstream, 1);
    close(&*one, Side::Downstream, 1);
    assert_eq!(metrics.check(), Ok(()));
}

/// What the check says after these things happened to shards that are otherwise empty.
fn imbalance(happened: impl FnOnce(&Metrics)) -> (Side, u64, u64, u64) {
    let metrics = Metrics::new(2);
    happened(&metrics);
    let Imbalance { side, opened, live, closed, .. } = metrics.check().unwrap_err();
    let samples = parse(&metrics.encode());
    assert_ne!(samples[&format!("sheave_connections_unaccounted{{side=\"{}\"}}", side.label())], 0.0);
    (side, opened, live, closed)
}

#[test]
fn the_first_law_is_seen_broken() {
    let twice_closed = imbalance(|metrics| {
        open(&*metrics.shard(0), Side::Upstream, 1);
        close(&*metrics.shard(0), Side::Upstream, 1);
        close(&*metrics.shard(0), Side::Upstream, 1);
    });
    assert_eq!(twice_closed, (Side::Upstream, 1, 0, 2));
    let never_opened = imbalance(|metrics| close(&*metrics.shard(0), Side::Downstream, 1));
    assert_eq!(never_opened, (Side::Downstream, 0, 0, 1));
    let twice_opened = imbalance(|metrics| {
        open(&*metrics.shard(0), Side::Downstream, 1);
        open(&*metrics.shard(0), Side::Downstream, 1);
    });
    assert_eq!(twice_opened, (Side::Downstream, 2, 1, 0));
    let told_to_another_shard = imbalance(|metrics| {
        open(&*metrics.shard(0), Side::Downstream, 1);
        close(&*metrics.shard(1), Side::Downstream, 1);
    });
    assert_eq!(told_to_another_shard, (Side::Downstream, 1, 1, 1));
}

#[test]
fn an_imbalance_says_what_does_not_agree() {
    let metrics = Metrics::new(1);
    close(&*metrics.shard(0), Side::Upstream, 1);
    let said = metrics.check().unwrap_err().to_string();
    assert_eq!(said, "upstream connections: 0 opened, but 0 live and 1 closed");
}

#[test]
fn live_connections_are_listed_as_they_stand() {
    let metrics = Metrics::new(3);
    for id in 0..1_000 {
        open(&*metrics.shard(id as usize), Side::Downstream, id);
    }
    for id in (0..1_000).filter(|id| id % 10 != 0) {
        close(&*metrics.shard(id as usize), Side::Downstream, id);
    }
    go(&*metrics.shard(30), Side::Downstream, 30, Phase::Response, 7);
    let mut live = metrics.connections();
    live.sort_by_key(|connection| connection.id);
    assert_eq!(
        live.iter().map(|connection| connection.id.0).collect::<Vec<_>>(),
        Vec::from_iter((0..1_000).step_by(10))
    );
    let moved = live[3];
    assert_eq!((moved.id, moved.side, moved.phase), (ConnectionId(30), Side::Downstream, Phase::Response));
    assert_eq!((moved.exchanges, moved.bytes_in, moved.bytes_out), (1, 7, 14));
    assert_eq!(moved.peer.map(|peer| peer.port()), Some(50_000));
    assert_eq!(moved.local.map(|local| local.port()), Some(80));
    assert_eq!(live[4].phase, Phase::FirstByte);
    assert!(moved.age < Duration::from_secs(3_600));
}

#[test]
fn bytes_are_counted_as_they_go_and_once() {
    let metrics = Metrics::new(1);
    let shard = metrics.shard(0);
    let received = || parse(&metrics.encode())["sheave_connections_received_bytes_total{side=\"downstream\"}"];
    open(&*shard, Side::Downstream, 1);
    go(&*shard, Side::Downstream, 1, Phase::Request, 40);
    assert_eq!(received(), 40.0);
    go(&*shard, Side::Downstream, 1, Phase::Idle, 60);
    assert_eq!(received(), 60.0);
    close(&*shard, Side::Downstream, 1);
    assert_eq!(received(), 100.0);
}

#[test]
fn counts_are_exact_whoever_writes_while_others_read() {
    const WRITERS: u64 = 3;
    const CONNECTIONS: u64 = 2_000;
    // All writers share the one shard, which is what a shard is least made for; the others spread over three.
    for metrics in [Metrics::new(1), Metrics::new(3)] {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut former: BTreeMap<String, f64> = BTreeMap::new();
                let mut pages = 0;
                while !is_over.load(Ordering::Relaxed) || pages == 0 {
                    metrics.check().unwrap();
                    assert!(metrics.connections().len() as u64 <= WRITERS * 2);
                    let page = parse(&metrics.encode());
                    for (sample, value) in former {
                        let name = sample.split('{').next().unwrap();
                        let is_cumulative = ["_total", "_count", "_bucket"].iter().any(|end| name.ends_with(end));
                        assert!(!is_cumulative || page[&sample] >= value, "{sample} went back");
                    }
                    assert_eq!(page["sheave_connections_unaccounted{side=\"downstream\"}"], 0.0);
                    former = page;
                    pages += 1;
                }
            });
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let metrics = &metrics;
                    scope.spawn(move || {
                        for n in 0..CONNECTIONS {
                            let id = n * WRITERS + writer;
                            open(metrics, Side::Downstream, id);
                            open(metrics, Side::Upstream, id);
                            go(metrics, Side::Downstream, id, Phase::Request, 40);
                            metrics.parked(&moved(Side::Upstream, id, Phase::Parked, 0));
                            metrics.reused(ConnectionId(id), Duration::ZERO);
                            metrics.retried(Evidence::NotWritten);
                            end(metrics, id);
                            close(metrics, Side::Downstream, id);
                            close(metrics, Side::Upstream, id);
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            is_over.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
        let samples = parse(&metrics.encode());
        let all = (WRITERS * CONNECTIONS) as f64;
        for (sample, expected) in [
            ("sheave_connections_opened_total{side=\"upstream\"}", all),
            ("sheave_connections_closed_total{side=\"upstream\",reason=\"agreed\",severity=\"benign\"}", all),
            ("sheave_connections_live{side=\"downstream\"}", 0.0),
            ("sheave_connections_received_bytes_total{side=\"downstream\"}", 100.0 * all),
            ("sheave_connections_parked", 0.0),
            ("sheave_connections_reused_total", all),
            ("sheave_retries_total{evidence=\"not-written\"}", all),
            ("sheave_responses_total{code=\"200\",made_by=\"origin\"}", all),
            ("sheave_exchanges_total{class=\"2xx\",made_by=\"origin\"}", all),
            ("sheave_request_duration_seconds_count", all),
            ("sheave_connection_age_seconds_sum{side=\"upstream\"}", 2.0 * all),
        ] {
            assert_eq!(samples[sample], expected, "{sample}");
        }
    }
}

#[test]
fn as_an_observer_all_shards_are_one() {
    let metrics = Metrics::new(4);
    metrics.drain_moved(DrainPhase::Announcing);
    metrics.refused("accept-rate");
    metrics.held_back("max-connections");
    metrics.accept_failed(IoFault { op: Op::Accept, errno: Errno::EMFILE });
    metrics.connect_failed(None, CloseReason::Cancelled);
    metrics.found_dead(ConnectionId(3), CloseReason::PeerClosed);
    let samples = parse(&metrics.encode());
    for (sample, expected) in [
        ("sheave_drain_phase{phase=\"running\"}", 0.0),
        ("sheave_drain_phase{phase=\"announcing\"}", 4.0),
        ("sheave_refused_total{limit=\"accept-rate\"}", 1.0),
        ("sheave_held_back_total{limit=\"max-connections\"}", 1.0),
        ("sheave_accept_failures_total{errno=\"EMFILE\"}", 1.0),
        ("sheave_connects_failed_total{reason=\"cancelled\"}", 1.0),
        ("sheave_connections_found_dead_total{reason=\"peer-closed\"}", 1.0),
    ] {
        assert_eq!(samples[sample], expected, "{sample}");
    }
}

#[test]
fn there_is_a_shard_for_every_worker() {
    let metrics = Metrics::new(0);
    open(&*metrics.shard(0), Side::Downstream, 1);
    close(&*metrics.shard(5), Side::Downstream, 1);
    assert_eq!(metrics.check(), Ok(()));
}

#[test]
fn tunnels_are_counted_apart_from_what_is_quick() {
    let metrics = Metrics::new(2);
    for id in [0, 1, 2] {
        metrics.switched(ConnectionId(id));
    }
    end(&metrics, 7);
    for id in [0, 1] {
        end_as(&metrics, id, Some(Duration::from_secs(60)));
    }
    let page = parse(&metrics.encode());
    for (sample, value) in [
        ("sheave_tunnels_opened_total", 3.0),
        ("sheave_tunnels_live", 1.0),
        ("sheave_tunnels_received_bytes_total", 2.0),
        ("sheave_tunnels_sent_bytes_total", 4.0),
        ("sheave_tunnel_age_seconds_count", 2.0),
        ("sheave_request_duration_seconds_count", 1.0),
        ("sheave_request_content_bytes_total", 1.0),
        ("sheave_response_content_bytes_total", 2.0),
    ] {
        assert_eq!(page[sample], value, "{sample}");
    }
}
