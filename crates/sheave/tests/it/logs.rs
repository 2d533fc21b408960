//! The access log and the log of ends that are worth a look.

use std::fs;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Client, Origin, PATIENCE, Sheave, read_head};

/// A file of this test's own.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("is made");
    folder.join("access.log")
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn every_exchange_is_a_line_of_json() {
    let mut sheave = Sheave::proxy(&[], &["--access-log=-", "--workers=1"]);
    let mut client = Client::connect(sheave.address());
    client.send("GET /bytes/10 HTTP/1.1\r\nHost: test\r\nUser-Agent: a \"b\" \\ c\r\n\r\n");
    client.response();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc");
    client.response();
    client.send("nonsense\r\n\r\n");
    client.response();
    assert!(client.is_ended());
    let mut output = sheave.output();
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    let (first, second, third) = (line(), line(), line());
    for (key, value) in [
        ("method", Value::from("GET")),
        ("target", "/bytes/10".into()),
        ("version", "HTTP/1.1".into()),
        ("host", "test".into()),
        ("user_agent", "a \"b\" \\ c".into()),
        ("status", 200.into()),
        ("outcome", "answered".into()),
        ("made_by", "origin".into()),
        ("sent", "yes".into()),
        ("request_bytes", 0.into()),
        ("response_bytes", 10.into()),
        ("exchange", 1.into()),
        ("attempts", 1.into()),
        ("upstream_reused", false.into()),
    ] {
        assert_eq!(first[key], value, "{key}: {first}");
    }
    assert!(first["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{first}");
    assert!(first["upstream"].as_str().is_some_and(|origin| origin.starts_with("127.0.0.1:")), "{first}");
    assert!(first["took_us"].is_u64() && first["upstream_response_us"].is_u64(), "{first}");
    assert_eq!((&second["exchange"], &second["upstream_reused"]), (&2.into(), &true.into()), "{second}");
    assert_eq!((&second["request_bytes"], &second["response_bytes"]), (&3.into(), &3.into()), "{second}");
    assert_eq!(second["connection"], first["connection"]);
    assert_eq!((&third["status"], &third["made_by"]), (&400.into(), &"sheave".into()), "{third}");
    assert!(third["error"].is_string(), "{third}");
    drop(client);
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn a_file_is_opened_anew_after_rotation() {
    let path = file("rotation");
    let rotated = path.with_extension("1");
    let format = ["--access-log-format=combined", "--workers=1", "--access-log"];
    let arguments: Vec<&str> = format.into_iter().chain(path.to_str()).collect();
    let mut sheave = Sheave::proxy(&[], &arguments);
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    Client::get(sheave.address(), "/bytes/1");
    wait_until("the first line is written", || read(&path).lines().count() == 1);
    fs::rename(&path, &rotated).expect("is moved");
    sheave.signal(Signal::HUP);
    wait_until("the file is there again", || path.exists());
    Client::get(sheave.address(), "/bytes/2");
    assert_eq!(sheave.end(), Some(0));
    let (old, new) = (read(&rotated), read(&path));
    assert!(old.contains("\"GET /bytes/1 HTTP/1.1\" 200 1 \"-\" \"-\"") && old.lines().count() == 1, "{old}");
    assert!(new.contains("\"GET /bytes/2 HTTP/1.1\" 200 2 \"-\" \"-\"") && new.lines().count() == 1, "{new}");
    assert!(new.starts_with("127.0.0.1 - - ["), "{new}");
}

#[test]
fn an_origin_lost_in_flight_is_a_line_and_a_client_that_leaves_is_none() {
    let origin = Origin::new(|mut stream| {
        if !read_head(&stream).is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").expect("takes it");
        }
    });
    let mut sheave = Sheave::proxy(&[origin.address], &[]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    client.head();
    let line = sheave.wait_for("connection ended");
    for part in ["WARN", "side=\"upstream\"", "reason=\"truncated\"", "phase=\"response\"", "bytes_in="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    drop(client);
    drop(Client::connect(sheave.address()));
    assert_eq!(sheave.end(), Some(0));
    let ends = sheave.said.iter().filter(|line| line.contains("connection ended")).count();
    assert_eq!(ends, 1, "{:#?}", sheave.said);
}
