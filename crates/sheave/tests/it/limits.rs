//! Limits on clients: who is let in, who waits, who is told, and who gives way.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Client, Origin, Response, Sheave, metric, metric_until, read_head};

/// Whether an answer is the one to who is beyond this limit.
fn is_refusal(answer: &Response, limit: &str) -> bool {
    answer.status == 503
        && answer.has("Retry-After: 1")
        && answer.has(&format!("Sheave-Error: {limit}; request-sent=no"))
        && answer.text().contains(limit)
}

#[test]
fn one_client_can_have_only_so_many_connections() {
    let sheave = Sheave::proxy(&[], &["--max-connections-per-client=2", "--workers=2"]);
    let mut held: Vec<_> = (0..2).map(|_| Client::connect(sheave.address())).collect();
    for client in &mut held {
        client.ask("/bytes/1");
        assert_eq!(client.response().status, 200);
    }
    let mut third = Client::connect(sheave.address());
    third.ask("/bytes/1");
    let refused = third.response();
    assert!(is_refusal(&refused, "max-connections-per-client") && refused.has("Connection: close"), "{refused:?}");
    assert!(third.is_ended());
    drop(third);
    assert_eq!(metric(&sheave, "sheave_refused_total{limit=\"max-connections-per-client\"}"), 1.0);
    held.pop();
    metric_until(&sheave, "sheave_connections_live{side=\"downstream\"}", |live| live == 1.0);
    let mut again = Client::connect(sheave.address());
    again.ask("/bytes/1");
    assert_eq!(again.response().status, 200);
    // The answer that was refused ended a connection like any other: none is unaccounted for.
    let sample = "sheave_connections_closed_total{side=\"downstream\",reason=\"refused\",severity=\"local\"}";
    metric_until(&sheave, sample, |count| count == 1.0);
    assert_eq!(metric(&sheave, "sheave_connections_unaccounted{side=\"downstream\"}"), 0.0);
}

#[test]
fn only_so_many_requests_are_under_way() {
    let (asked, was_asked) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let origin = Origin::new(move |mut stream| {
        while !read_head(&stream).is_empty() {
            asked.send(()).expect("is heard");
            let _ = may_go_on.lock().expect("lock").recv();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("takes it");
        }
    });
    for (policy, is_answered) in [("wait", true), ("503", true), ("close", false)] {
        let over = format!("--over-limit={policy}");
        let sheave = Sheave::proxy(&[origin.address], &["--max-requests-in-flight=1", "--workers=2", &over]);
        let mut first = Client::connect(sheave.address());
        first.ask("/");
        was_asked.recv().expect("is asked");
        let mut second = Client::connect(sheave.address());
        second.ask("/");
        if is_answered {
            let refused = second.response();
            assert!(is_refusal(&refused, "max-requests-in-flight"), "{refused:?}");
            assert!(!refused.has("Connection: close"), "nothing is wrong with the connection: {}", refused.head);
        } else {
            assert!(second.is_ended());
        }
        go_on.send(()).expect("waits");
        assert_eq!(first.response().status, 204);
        assert_eq!(metric(&sheave, "sheave_refused_total{limit=\"max-requests-in-flight\"}"), 1.0);
        let mut next = if is_answered { second } else { Client::connect(sheave.address()) };
        // The place is free once the first answer is on its way and accounted for.
        metric_until(&sheave, "sheave_responses_total{code=\"204\",made_by=\"origin\"}", |count| count == 1.0);
        go_on.send(()).expect("will wait");
        next.ask("/");
        was_asked.recv().expect("is asked");
        assert_eq!(next.response().status, 204);
    }
}

#[test]
fn new_connections_come_at_a_pace() {
    // Those beyond it are told; or they wait and are served.
    for (policy, statuses) in [("503", vec![200, 503]), ("wait", vec![200])] {
        let sheave = Sheave::proxy(&[], &["--accept-rate=2", "--workers=2", &format!("--over-limit={policy}")]);
        let mut clients: Vec<_> = (0..6).map(|_| Client::connect(sheave.address())).collect();
        clients.iter_mut().for_each(|client| client.ask("/bytes/1"));
        let mut seen: Vec<_> = clients.iter_mut().map(|client| client.response().status).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, statuses, "{policy}");
        let told = if policy == "wait" { "held_back" } else { "refused" };
        assert!(metric(&sheave, &format!("sheave_{told}_total{{limit=\"accept-rate\"}}")) > 0.0, "{policy}");
    }
}

#[test]
fn the_idle_longest_gives_way_to_who_waits() {
    let sheave = Sheave::proxy(&[], &["--max-connections=2", "--workers=1"]);
    let mut idle: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Client::connect(sheave.address());
            client.ask("/bytes/1");
            assert_eq!(client.response().status, 200);
            // Clearly one after the other.
            thread::sleep(Duration::from_millis(300));
            client
        })
        .collect();
    let mut third = Client::connect(sheave.address());
    third.ask("/bytes/1");
    assert_eq!(third.response().status, 200);
    assert!(idle[0].is_ended(), "idle for longest");
    idle[1].ask("/bytes/1");
    assert_eq!(idle[1].response().status, 200, "was left alone");
    let sample = "sheave_connections_closed_total{side=\"downstream\",reason=\"shed\",severity=\"benign\"}";
    metric_until(&sheave, sample, |count| count == 1.0);
    assert_eq!(metric(&sheave, "sheave_held_back_total{limit=\"max-connections\"}"), 1.0);
    assert_eq!(metric(&sheave, "sheave_refused_total{limit=\"max-connections\"}"), 0.0);
}

#[test]
fn at_the_limit_of_connections_the_policy_decides() {
    for (policy, is_answered) in [("503", true), ("close", false)] {
        let over = format!("--over-limit={policy}");
        let sheave = Sheave::proxy(&[], &["--max-connections=1", "--workers=1", &over]);
        let mut first = Client::connect(sheave.address());
        first.ask("/bytes/1");
        assert_eq!(first.response().status, 200);
        let mut second = Client::connect(sheave.address());
        // Closed before it has spoken, perhaps.
        let _ = second.stream().write_all(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        if is_answered {
            let head = second.head();
            assert!(head.starts_with("HTTP/1.1 503") && head.contains("Connection: close"), "{head}");
        }
        assert!(second.is_ended());
        metric_until(&sheave, "sheave_refused_total{limit=\"max-connections\"}", |count| count == 1.0);
        first.ask("/bytes/1");
        assert_eq!(first.response().status, 200, "who is in stays in");
    }
}

#[test]
fn many_more_clients_than_places_are_all_served() {
    const CLIENTS: usize = 40;
    const REQUESTS: usize = 25;
    let sheave = Sheave::proxy(&[], &["--max-connections=4", "--workers=2"]);
    let address = sheave.address();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                let mut statuses = BTreeMap::new();
                let mut client = Client::connect(address);
                for _ in 0..REQUESTS {
                    client.ask("/bytes/100");
                    let answer = client.response();
                    *statuses.entry(answer.status).or_insert(0) += 1;
                    if answer.has("Connection: close") {
                        client = Client::connect(address);
                    }
                }
                statuses
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("no error"), BTreeMap::from([(200, REQUESTS)]));
    }
    assert!(metric(&sheave, "sheave_held_back_total{limit=\"max-connections\"}") > 0.0);
}
