//! The origin that misbehaves, and the race against it, from outside.

use std::process::Command;

use crate::support::{Client, Sheave};

fn origin(faults: &[&str]) -> Sheave {
    let mut arguments = vec!["origin".to_owned(), "--from=127.0.0.1:0".to_owned(), "--admin=127.0.0.1:0".to_owned()];
    arguments.extend(faults.iter().map(|fault| format!("--fault={fault}")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
    command.args(arguments);
    let mut sheave = Sheave::spawn(command);
    sheave.wait_for("stop: ctrl-c");
    sheave
}

#[test]
fn an_origin_misbehaves_as_it_is_told() {
    let mut faulty = origin(&["close-after-request=1/2", "keep-alive-lie=60s"]);
    let mut client = Client::connect(faulty.address());
    client.send("GET /a HTTP/1.1\r\nX-Race-Id: 1\r\n\r\n");
    let response = client.response();
    assert!(response.text() == "GET /a 1\n" && response.has("Keep-Alive: timeout=60"), "{response:?}");
    client.send("GET /a HTTP/1.1\r\nX-Race-Id: 1\r\n\r\n");
    assert!(client.is_ended(), "the second one is closed on");
    let page = Client::get(faulty.admin(), "/tally.json");
    let tally: serde_json::Value = serde_json::from_slice(&page.body).expect("JSON");
    assert_eq!((&tally["requests"]["GET"], &tally["seen_again"]["GET"]), (&2.into(), &1.into()), "{}", page.text());
    assert_eq!(tally["ends"]["after_request"], 1, "{}", page.text());
    faulty.signal(rustix::process::Signal::TERM);
    let (code, output) = faulty.wait();
    assert_eq!(code, Some(0));
    assert!(output.contains("requests     GET 2\n"), "{output}");
}

#[test]
fn a_fault_that_cannot_be_is_refused() {
    for (faults, part) in [
        (["--fault=idle-close", "--fault=refuse"], "must say how long"),
        (["--fault=idle-close=5s", "--fault=refuse"], "never happens beside refuse"),
        (["--fault=refuse", "--idle-timeout=5s"], "--idle-timeout"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sheave")).arg("origin").args(faults).output().expect("runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.code() == Some(2) && said.contains(part), "{faults:?}: {said}");
    }
}

#[test]
fn a_race_ends_without_an_error_that_could_have_been_repaired() {
    for more in [&["--idle-close=20ms"][..], &["--idle-close=20ms", "--reset", "--jitter=10%"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sheave"));
        let output =
            command.args(["demo", "race", "--seconds=1", "--connections=8"]).args(more).output().expect("runs");
        let table = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(0), "{table}{}", String::from_utf8_lossy(&output.stderr));
        let row = |name: &str| -> Vec<u64> {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {table}"));
            line[name.len()..].split_whitespace().map(|count| count.replace(',', "").parse().expect(line)).collect()
        };
        assert!(row("requests ").iter().all(|count| *count > 50), "{table}");
        assert_eq!(row("responses to somebody else's request"), [0, 0], "{table}");
        assert_eq!(row("POSTs that the origin saw twice"), [0, 0], "{table}");
        assert_eq!(row("requests retried by evidence")[1], 0, "off is off: {table}");
    }
}
