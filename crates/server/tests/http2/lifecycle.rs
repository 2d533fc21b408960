//! The life of a client's connection in every manner in which it can be carried: one table, HTTP/1 and HTTP/2, with TLS and
//! without.

use std::pin::Pin;
use std::time::Duration;

use sheave_lifecycle::close::Severity;
use sheave_lifecycle::drain::DrainReport;
use sheave_lifecycle::limit::OverLimit;
use sheave_server::config::ServerConfig;
use tokio::time::Instant;

use crate::http1::Answer;
use crate::peer::{MANNERS, Manner, Peer, Version, greedy, half_a_head};
use crate::rig::{Known, OK, Rig, config, play_in};

type Played = Pin<Box<dyn Future<Output = ()>>>;

/// What is done to a connection, and what is known of it when it is over.
struct Scenario {
    name: &'static str,
    /// What of the configuration is another than usual.
    set: fn(&mut ServerConfig),
    /// What clients do.
    script: fn(Rig, Manner) -> Played,
    /// How connections end, over HTTP/1 and over HTTP/2.
    ends: [&'static [&'static str]; 2],
    /// The worst of these ends, over HTTP/1 and over HTTP/2: what the operator should do about it.
    severity: [Severity; 2],
    /// What became of the exchanges, over HTTP/1 and over HTTP/2.
    exchanges: [&'static [&'static str]; 2],
    /// What the drain did with which the run ends, or before.
    report: DrainReport,
}

const HELLO: &str = "/hello 200 origin";

const SCENARIO: Scenario = Scenario {
    name: "",
    set: |_| {},
    script: |_, _| Box::pin(async {}),
    ends: [&[]; 2],
    severity: [Severity::Benign; 2],
    exchanges: [&[HELLO]; 2],
    report: DrainReport { told: 0, finished: 0, waited: 0, forced: 0, lost: 0 },
};

const TABLE: &[Scenario] = &[
    Scenario {
        name: "drain: an idle connection is told, and ends after the quiet window",
        script: |rig, manner| {
            Box::pin(async move {
                let peer = Peer::connect(&rig, manner).await;
                rig.server.drain();
                let (took, in_order) = millis(peer.ended()).await;
                assert!(in_order && (100..150).contains(&took), "{took} ms");
            })
        },
        ends: [&["drained in idle"]; 2],
        report: DrainReport { told: 1, waited: 1, ..SCENARIO.report },
        ..SCENARIO
    },
    Scenario {
        name: "drain: a request within the quiet window is answered",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                rig.server.drain();
                rig.sleep(50).await;
                assert_eq!(peer.last("/hello").await, Some(OK));
                assert!(peer.ended().await);
            })
        },
        ends: [&["agreed in idle"]; 2],
        exchanges: [&[HELLO, HELLO]; 2],
        report: DrainReport { told: 1, finished: 1, ..SCENARIO.report },
        ..SCENARIO
    },
    Scenario {
        name: "drain: what is under way finishes, and is the last",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                let (status, ()) = tokio::join!(peer.last("/after/300"), async {
                    rig.sleep(100).await;
                    rig.server.drain();
                });
                assert_eq!(status, Some(OK));
                assert!(peer.ended().await);
            })
        },
        ends: [&["agreed in idle"]; 2],
        exchanges: [&[HELLO, "/after/300 200 origin"]; 2],
        report: DrainReport { told: 1, finished: 1, ..SCENARIO.report },
        ..SCENARIO
    },
    Scenario {
        name: "drain: what is not finished when the grace is over is cut off",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                let asked = async { tokio::join!(peer.get("/never"), async { drop(rig.server.drain()) }).0 };
                let (took, answer) = millis(asked).await;
                assert!(answer.is_none() && (500..550).contains(&took), "{answer:?} after {took} ms");
                peer.ended().await;
            })
        },
        ends: [&["drain-forced in waiting"], &["drain-forced in response"]],
        severity: [Severity::Local; 2],
        exchanges: [&[HELLO, "/never 0 reset drain-forced"]; 2],
        report: DrainReport { told: 1, forced: 1, lost: 1, ..SCENARIO.report },
        ..SCENARIO
    },
    Scenario {
        name: "idle for too long",
        script: |rig, manner| {
            Box::pin(async move {
                let peer = Peer::connect(&rig, manner).await;
                let (took, in_order) = millis(peer.ended()).await;
                assert!(in_order && (4000..4100).contains(&took), "{took} ms");
            })
        },
        ends: [&["timeout-idle in idle"]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "a head that does not become whole",
        script: |rig, manner| {
            Box::pin(async move {
                let (took, (status, in_order)) = millis(half_a_head(&rig, manner)).await;
                let expected = (manner.version == Version::Http1).then_some(408);
                assert!(status == expected && in_order && (2000..2100).contains(&took), "{status:?} after {took} ms");
            })
        },
        ends: [&["timeout-head in head"]; 2],
        severity: [Severity::Peer; 2],
        exchanges: [&[" 408 sheave timeout-head"], &[]],
        ..SCENARIO
    },
    Scenario {
        name: "content that does not become whole",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                let (took, answer) = millis(peer.upload_half("/echo")).await;
                let is_last = manner.version == Version::Http1;
                assert_eq!(answer, Some(Answer { status: 408, is_last }));
                assert!((3000..3100).contains(&took), "{took} ms");
                if is_last {
                    return assert!(peer.ended().await);
                }
                assert_eq!(peer.get("/hello").await.map(|answer| answer.status), Some(OK), "its neighbours go on");
                peer.leave().await;
            })
        },
        ends: [&["timeout-body in request"], &["peer-closed in idle"]],
        severity: [Severity::Peer, Severity::Benign],
        exchanges: [&[HELLO, "/echo 408 sheave timeout-body"], &[HELLO, "/echo 408 sheave timeout-body", HELLO]],
        ..SCENARIO
    },
    Scenario {
        name: "a client that takes nothing",
        script: |rig, manner| {
            Box::pin(async move {
                let raw = greedy(&rig, manner, "/bytes/10000000", false).await;
                let (took, ()) = millis(until_ended(&rig)).await;
                assert!((7000..7100).contains(&took), "{took} ms");
                drop(raw);
            })
        },
        ends: [&["timeout-write in response"]; 2],
        severity: [Severity::Peer; 2],
        exchanges: [&["/bytes/10000000 200 reset timeout-write"]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "an old connection is told with its next response",
        set: |config| config.connection.max_age = Some(Duration::from_secs(1)),
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                rig.sleep(2000).await;
                assert_eq!(peer.last("/hello").await, Some(OK));
                assert!(peer.ended().await);
            })
        },
        ends: [&["max-age in idle"]; 2],
        exchanges: [&[HELLO, HELLO]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "as many requests as one connection may have",
        set: |config| config.connection.max_requests = 2,
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                assert_eq!(peer.last("/hello").await, Some(OK));
                assert!(peer.ended().await);
            })
        },
        ends: [&["max-requests in idle"]; 2],
        exchanges: [&[HELLO, HELLO]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "more connections than there may be",
        set: |config| {
            config.max_connections = 1;
            config.over_limit = OverLimit::Answer;
        },
        script: |rig, manner| {
            Box::pin(async move {
                let mut first = Peer::connect(&rig, manner).await;
                let mut second = Peer::fresh(&rig, manner).await;
                assert_eq!(second.last("/hello").await, Some(503));
                assert!(second.ended().await);
                assert_eq!(first.get("/hello").await.map(|answer| answer.status), Some(OK));
                first.leave().await;
            })
        },
        ends: [
            &["refused (max-connections) in waiting", "peer-closed in idle"],
            &["refused (max-connections) in idle", "peer-closed in idle"],
        ],
        severity: [Severity::Local; 2],
        exchanges: [&[HELLO, "refused by max-connections", "/hello 503 sheave max-connections", HELLO]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "a handler that panics before it answers",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                assert_eq!(peer.get("/panics").await.map(|answer| answer.status), Some(500));
                peer.leave().await;
            })
        },
        ends: [&["handler-panicked in waiting"], &["peer-closed in idle"]],
        severity: [Severity::Local, Severity::Benign],
        exchanges: [&[HELLO, "/panics 500 sheave handler-panicked"]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "a handler that panics amid its response",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                assert_eq!(peer.get("/half-panics").await, None, "what is cut off never looks whole");
                peer.leave().await;
            })
        },
        ends: [&["handler-panicked in response"], &["peer-closed in idle"]],
        severity: [Severity::Local, Severity::Benign],
        exchanges: [&[HELLO, "/half-panics 200 reset handler-panicked"]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "a response that its maker does not finish",
        script: |rig, manner| {
            Box::pin(async move {
                let mut peer = Peer::connect(&rig, manner).await;
                assert_eq!(peer.get("/half").await, None, "what is cut off never looks whole");
                peer.leave().await;
            })
        },
        ends: [&["handler-failed in response"], &["peer-closed in idle"]],
        severity: [Severity::Local, Severity::Benign],
        exchanges: [&[HELLO, "/half 200 reset no-response"]; 2],
        ..SCENARIO
    },
    Scenario {
        name: "a client that is killed",
        script: |rig, manner| {
            Box::pin(async move {
                let raw = greedy(&rig, manner, "/bytes/10000000", true).await;
                rig.sleep(10).await;
                drop(raw);
                until_ended(&rig).await;
            })
        },
        ends: [&["peer-reset in idle"], &["peer-reset in response"]],
        exchanges: [&["/bytes/10000000 200 reset peer-reset"]; 2],
        ..SCENARIO
    },
];

/// How long something took, in milliseconds of virtual time.
async fn millis<T>(work: impl Future<Output = T>) -> (u128, T) {
    let before = Instant::now();
    let value = work.await;
    (before.elapsed().as_millis(), value)
}

async fn until_ended(rig: &Rig) {
    while rig.told.ends().is_empty() {
        rig.sleep(1).await;
    }
}

/// How connections ended; not in which operation an RST was told, which differs from manner to manner.
fn ends(known: &Known) -> Vec<String> {
    let brief = |line: &String| line.replace(" (ECONNRESET in read)", "").replace(" (ECONNRESET in write)", "");
    known.ends.iter().map(brief).collect()
}

/// What became of the exchanges, without what differs from version to version.
fn exchanges(known: &Known) -> Vec<String> {
    let brief = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [_, _, target, _, status, how, _, ref error @ ..] => [&[target, status, how][..], error].concat().join(" "),
            _ => line.clone(),
        }
    };
    known.exchanges.iter().map(brief).collect()
}

#[test]
fn every_life_in_every_manner() {
    let mut wrong = Vec::new();
    for scenario in TABLE {
        for manner in MANNERS {
            let mut config = config();
            (scenario.set)(&mut config);
            let script = scenario.script;
            let known = play_in(manner, &config, move |rig| async move {
                script(rig.clone(), manner).await;
                // Whoever has left is known to have.
                rig.sleep(10).await;
            });
            let which = usize::from(manner.version == Version::Http2);
            let found = (ends(&known), exchanges(&known), known.severity, known.report);
            let text = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            let expected = (
                text(scenario.ends[which]),
                text(scenario.exchanges[which]),
                scenario.severity[which],
                scenario.report,
            );
            if found != expected {
                wrong.push(format!("{} ({manner:?}):\n  found    {found:?}\n  expected {expected:?}", scenario.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
