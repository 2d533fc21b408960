//! Which ends are worth a word: clients that vanish are not, an origin that dies amid a response is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::support::{Client, Origin, Sheave, metric, metric_until, read_head};

/// How a client vanishes.
#[derive(Clone, Copy)]
enum Vanishing {
    Fin,
    Reset,
    HalfClosedThenReset,
}

/// A client that pipelines, takes a little of what comes, and is gone.
fn vanish(address: SocketAddr, how: Vanishing, taken: usize) {
    let mut client = TcpStream::connect(address).expect("connects");
    let requests = "GET /bytes/300k HTTP/1.1\r\nHost: test\r\n\r\nPOST /echo HTTP/1.1\r\nHost: test\r\nContent-Le";
    client.write_all(requests.as_bytes()).expect("is sent");
    let mut some = vec![0; taken];
    client.read_exact(&mut some).expect("something comes");
    if matches!(how, Vanishing::HalfClosedThenReset) {
        client.shutdown(Shutdown::Write).expect("shuts");
    }
    if !matches!(how, Vanishing::Fin) {
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an RST it shall be");
    }
}

#[test]
fn a_hundred_times_clients_vanish_in_full_flight_and_it_is_no_word_worth() {
    let mut sheave = Sheave::proxy(&[], &["--strict"]);
    let address = sheave.address();
    for round in 0..100 {
        let hows = [Vanishing::Fin, Vanishing::Reset, Vanishing::HalfClosedThenReset];
        std::thread::scope(|scope| {
            for (place, how) in hows.into_iter().cycle().take(12).enumerate() {
                scope.spawn(move || vanish(address, how, if place < 3 { 0 } else { round * 97 + place }));
            }
        });
    }
    // Each is counted, with one reason, before the process ends.
    metric_until(&sheave, "sheave_connections_live{side=\"downstream\"}", |live| live == 0.0);
    assert_eq!(metric(&sheave, "sheave_connections_opened_total{side=\"downstream\"}"), 1200.0);
    for side in ["downstream", "upstream"] {
        assert_eq!(metric(&sheave, &format!("sheave_connections_unaccounted{{side=\"{side}\"}}")), 0.0, "{side}");
    }
    sheave.signal(rustix::process::Signal::TERM);
    let code = sheave.wait().0;
    let said = sheave.said.join("\n");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_origin_that_dies_amid_a_response_is_one_line_and_fails_a_strict_run() {
    let origin = Origin::new(|stream| {
        read_head(&stream);
        (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").expect("is sent");
    });
    let mut sheave = Sheave::proxy(&[origin.address], &["--strict"]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.skip(u64::MAX), 4, "what came is passed on, and its end is no end");
    drop(client);
    sheave.signal(rustix::process::Signal::TERM);
    let code = sheave.wait().0;
    let said = sheave.said.join("\n");
    let lines: Vec<_> = said.lines().filter(|line| line.contains("connection ended")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("reason=\"truncated\"") && lines[0].contains("last=+0.0ms opened"), "{said}");
    assert_eq!(code, Some(5), "{said}");
}
