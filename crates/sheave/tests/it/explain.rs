//! `sheave explain` beside a process whose bottleneck is known.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Client, Origin, Sheave};

fn explain(address: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
    command.args(["explain", address, "--for=500ms"]).output().expect("starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn names_the_limit_that_keeps_clients_waiting() {
    let mut sheave =
        Sheave::start(["origin", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=1", "--max-connections=1"]);
    let (address, is_over) = (sheave.address(), AtomicBool::new(false));
    let output = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    Client::get(address, "/bytes/10");
                }
            });
        }
        let output = explain(&sheave.admin().to_string());
        is_over.store(true, Ordering::Relaxed);
        output
    });
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let bottleneck = text.split("the bottleneck:").nth(1).unwrap_or_default();
    assert!(bottleneck.contains("clients wait to be accepted: max-connections"), "{text}");
    assert!(bottleneck.contains("raise --max-connections"), "{text}");
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn says_when_there_is_nothing_to_find_and_when_there_is_nobody() {
    let mut sheave = Sheave::start(["origin", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=1"]);
    let text = said(&explain(&sheave.admin().to_string()));
    assert!(text.contains("no request came"), "{text}");
    let of_somebody_else = explain(&sheave.address().to_string());
    assert_eq!(of_somebody_else.status.code(), Some(1));
    assert!(said(&of_somebody_else).contains("is no page of sheave's"), "{of_somebody_else:?}");
    assert_eq!(sheave.end(), Some(0));
    let of_nobody = explain(&Origin::nobody().to_string());
    assert_eq!(of_nobody.status.code(), Some(1));
    assert!(said(&of_nobody).contains("with --admin at this address"), "{of_nobody:?}");
}

#[test]
fn every_number_that_the_rules_ask_for_exists() {
    let mut sheave = Sheave::start(["proxy", "--from=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=1"]);
    // What is known of an origin is told from its first request on.
    assert_eq!(Client::get(sheave.address(), "/bytes/1").status, 200);
    let page = String::from_utf8(Client::get(sheave.admin(), "/metrics").body).expect("is text");
    let rules = [include_str!("../../src/explain/findings.rs"), include_str!("../../src/explain/command.rs")];
    let mut count = 0;
    for word in rules.iter().flat_map(|rule| rule.split('"')) {
        if !word.starts_with("sheave_") && !word.starts_with("process_") {
            continue;
        }
        let series: String = word.chars().take_while(|char| char.is_ascii_lowercase() || *char == '_').collect();
        let family = series.trim_end_matches("_total").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(page.contains(&format!("# TYPE {family} ")), "/metrics has no {series}");
        count += 1;
    }
    assert!(count > 20, "{count} names were found");
    assert_eq!(sheave.end(), Some(0));
}
