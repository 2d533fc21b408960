//! The examples run, and say what they should.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use kit::origin::Origin;
use kit::run::run_in_parallel;

/// Where an example is. `cargo test` has built it; where only a part was asked for, it is built now.
fn built(example: &str) -> PathBuf {
    // Tests lie beside the folder of the examples.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(example);
    if !path.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--package", "sheave-client", "--example", example]);
        assert!(cargo.stderr(Stdio::null()).status().unwrap().success(), "the example does not build");
    }
    path
}

#[test]
fn concurrent() {
    let program = built("concurrent");
    run_in_parallel(async {
        let origin = Origin::friendly().await;
        let url = format!("http://{}/", origin.address);
        let asked = tokio::task::spawn_blocking(move || {
            Command::new(program).args([url.as_str(), "40", "4"]).stdout(Stdio::piped()).output().unwrap()
        });
        let output = asked.await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        assert!(text.starts_with("40 requests in ") && text.contains("      40 200\n"), "{text}");
        assert!((1..=4).contains(&origin.accepted()), "no more than there may be");
        assert_eq!(origin.requests().len(), 40);
    });
}

#[test]
fn fetch() {
    let program = built("fetch");
    run_in_parallel(async {
        let origin = Origin::friendly().await;
        let url = format!("http://{}/", origin.address);
        let asked = tokio::task::spawn_blocking(move || {
            Command::new(program).args([url.as_str(), &url, &url]).output().unwrap()
        });
        let output = asked.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said, "200 HTTP/1.1 new\n200 HTTP/1.1 reused\n200 HTTP/1.1 reused\n");
        assert_eq!(output.stdout, b"ok".repeat(3));
        assert_eq!(origin.accepted(), 1);
    });
}
