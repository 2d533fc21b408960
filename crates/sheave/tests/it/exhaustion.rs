//! Without descriptors: nobody who was accepted is lost, nothing spins, and all is well again as soon as it can be.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::{Client, Sheave, metric, metric_until};

const CLIENTS: usize = 1000;

/// A process that may open 256 files.
fn poor(arguments: &str) -> Sheave {
    let mut command = Command::new("sh");
    let start = format!("ulimit -n 256; exec \"$0\" {arguments} --from=127.0.0.1:0 --admin=127.0.0.1:0 --workers=2");
    command.args(["-c", &start, env!("CARGO_BIN_EXE_sheave")]);
    let mut sheave = Sheave::spawn(command);
    sheave.wait_for("stop: ctrl-c");
    sheave
}

/// So many clients at once, each with one request, holding its connection for as long as it is let: their statuses.
fn crowd(address: SocketAddr, path: &'static str) -> Vec<thread::JoinHandle<u16>> {
    let client = move || {
        let mut client = Client::connect(address);
        client.ask(path);
        let status = client.response().status;
        // Idle, until it has to give way.
        thread::sleep(Duration::from_millis(300));
        status
    };
    (0..CLIENTS).map(|_| thread::Builder::new().stack_size(128 << 10).spawn(client).expect("a thread")).collect()
}

fn statuses(crowd: Vec<thread::JoinHandle<u16>>) -> Vec<u16> {
    let mut seen: Vec<_> = crowd.into_iter().map(|client| client.join().expect("was answered")).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn a_crowd_that_does_not_fit_waits_and_is_served() {
    let mut sheave = poor("proxy");
    assert_eq!(statuses(crowd(sheave.address(), "/bytes/100")), [200]);
    assert_eq!(metric(&sheave, "sheave_accept_failures_total{errno=\"EMFILE\"}"), 0.0, "the limit was respected");
    assert!(metric(&sheave, "sheave_held_back_total{limit=\"max-connections\"}") > 0.0);
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn without_descriptors_who_was_accepted_is_answered_and_nothing_spins() {
    // More connections are allowed than fit: the operator's mistake.
    let mut sheave = poor("origin --max-connections=5000");
    let busy = crowd(sheave.address(), "/slow/600");
    let failures = "sheave_accept_failures_total{errno=\"EMFILE\"}";
    // The admin address has no descriptor either now; it was connected to before anybody knew.
    sheave.wait_for("cannot accept connections");
    let (ticks, lines) = (sheave.ticks(), sheave.said.len());
    thread::sleep(Duration::from_secs(1));
    let used = sheave.ticks() - ticks;
    assert!(used < 50, "{used} ticks of 10 ms in a second of waiting");
    assert_eq!(statuses(busy), [200]);
    let count = metric_until(&sheave, failures, |count| count > 0.0);
    assert!(count < 1000.0, "{count} failures to accept");
    assert!(metric(&sheave, "sheave_held_back_total{limit=\"open-files\"}") > 0.0);
    // Well again, and at once.
    assert_eq!(Client::get(sheave.address(), "/bytes/1").status, 200);
    assert_eq!(sheave.end(), Some(0));
    let complaints = sheave.said[lines..].iter().filter(|line| line.contains("cannot accept")).count();
    assert!(complaints < 60, "{complaints} lines");
}

#[test]
fn without_descriptors_those_beyond_are_told_so_if_that_is_wanted() {
    let mut sheave = poor("origin --max-connections=5000 --over-limit=503");
    assert_eq!(statuses(crowd(sheave.address(), "/slow/600")), [200, 503]);
    assert!(metric(&sheave, "sheave_refused_total{limit=\"open-files\"}") > 0.0);
    assert_eq!(metric(&sheave, "sheave_connections_unaccounted{side=\"downstream\"}"), 0.0);
    assert_eq!(Client::get(sheave.address(), "/bytes/1").status, 200);
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn a_proxy_without_descriptors_answers_whom_it_accepted() {
    // An origin of its own: the built-in one would compete for the same descriptors, and wait for those who wait for it.
    let mut origin = Sheave::start(["origin", "--from=127.0.0.1:0"]);
    let mut sheave = poor(&format!("proxy --to={} --max-connections=5000", origin.address()));
    let seen = statuses(crowd(sheave.address(), "/slow/300"));
    // Those for whom there was no descriptor towards the origin are told that nothing was sent.
    assert!(seen.iter().all(|status| [200, 502, 503].contains(status)), "{seen:?}");
    assert_eq!(Client::get(sheave.address(), "/bytes/1").status, 200);
    assert_eq!(sheave.end(), Some(0));
    assert_eq!(origin.end(), Some(0));
}
