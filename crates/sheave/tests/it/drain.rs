//! How the process ends: what is under way is finished, what is idle is told, and the exit code says how it went.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use crate::support::{Client, Origin, Sheave, read_head, steady_origin};

/// An origin that tells when it has a request, and answers when it is told to.
fn patient_origin() -> (Origin, Receiver<()>, Sender<()>) {
    let (asked, was_asked) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let origin = Origin::new(move |mut stream| {
        while !read_head(&stream).is_empty() {
            asked.send(()).expect("is heard");
            if may_go_on.lock().expect("lock").recv().is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").expect("takes it");
        }
    });
    (origin, was_asked, go_on)
}

#[test]
fn what_is_under_way_is_finished_and_what_is_idle_is_told() {
    let (origin, was_asked, go_on) = patient_origin();
    let mut sheave = Sheave::proxy(&[origin.address], &["--drain-quiet=50ms"]);
    let mut idle = Client::connect(sheave.address());
    idle.ask("/");
    was_asked.recv().expect("is asked");
    go_on.send(()).expect("waits");
    assert_eq!(idle.response().status, 200);
    let mut busy = Client::connect(sheave.address());
    busy.ask("/");
    was_asked.recv().expect("is asked");

    sheave.signal(Signal::TERM);
    sheave.wait_for("draining");
    assert_eq!(Client::get(sheave.admin(), "/readyz").status, 503);
    assert!(idle.is_ended(), "with FIN, after the quiet time");
    go_on.send(()).expect("waits");
    let answer = busy.response();
    assert_eq!(answer.text(), "hello");
    assert!(answer.has("Connection: close"), "{}", answer.head);
    assert!(busy.is_ended());
    // Until the client closes too, or the linger timeout is over, the connection is there.
    drop((busy, idle));
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
    let report = sheave.said.last().expect("a report");
    assert!(report.contains("drained told=2") && report.contains("forced=0 lost=0"), "{report}");
    assert!(TcpStream::connect(sheave.address()).is_err(), "nobody listens any more");
}

#[test]
fn a_second_signal_ends_at_once_and_says_what_was_lost() {
    let (origin, was_asked, _go_on) = patient_origin();
    let mut sheave = Sheave::proxy(&[origin.address], &[]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    was_asked.recv().expect("is asked");
    sheave.signal(Signal::INT);
    sheave.wait_for("draining");
    sheave.signal_until(Signal::TERM, "ending at once");
    assert!(client.is_ended());
    assert_eq!(sheave.wait().0, Some(3), "{:#?}", sheave.said);
    let report = sheave.said.last().expect("a report");
    assert!(report.contains("WARN") && report.contains("forced=1 lost=1"), "{report}");
}

#[test]
fn when_the_grace_is_over_what_is_left_is_reset() {
    let (origin, was_asked, _go_on) = patient_origin();
    let mut sheave = Sheave::proxy(&[origin.address], &["--drain-grace=100ms", "--drain-quiet=0"]);
    let mut client = Client::connect(sheave.address());
    client.ask("/");
    was_asked.recv().expect("is asked");
    assert_eq!(sheave.end(), Some(3), "{:#?}", sheave.said);
    assert!(client.is_ended());
}

#[test]
fn with_nothing_to_do_the_end_is_clean() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut sheave = Sheave::proxy(&[], &["--drain-quiet=0"]);
        sheave.signal(signal);
        assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
    }
}

#[test]
fn nobody_who_was_let_in_is_lost() {
    let mut sheave = Sheave::start(["origin", "--from=127.0.0.1:0", "--workers=3"]);
    // Connected, and told so, before the signal; whether a worker has seen them yet is anybody's guess.
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(sheave.address())).collect();
    clients.iter_mut().for_each(|client| client.ask("/bytes/1"));
    sheave.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.response().text(), " ");
    }
    drop(clients);
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
}

/// An answer that says once, and only once, that the connection closes after it.
fn is_last_word(client: &mut Client, body: &str) {
    let answer = client.response();
    assert_eq!((answer.status, answer.text()), (200, body), "{}", answer.head);
    let lines = answer.head.to_ascii_lowercase();
    assert!(lines.matches("\nconnection:").count() == 1 && answer.has("Connection: close"), "{}", answer.head);
    assert!(client.is_ended(), "after its last word");
}

#[test]
fn whoever_had_begun_to_ask_is_answered_with_close_once() {
    let origin = steady_origin();
    // Long enough for everybody here; nothing is asserted about shorter times.
    let mut sheave = Sheave::proxy(&[origin.address], &["--drain-quiet=3s"]);
    let address = sheave.address();
    let mut idle = Client::connect(address);
    idle.ask("/");
    let answer = idle.response();
    assert!(
        !answer.head.to_ascii_lowercase().contains("connection:"),
        "the origin's is not passed on: {}",
        answer.head
    );
    // Connected, and silent so far.
    let mut silent = Client::connect(address);
    let mut half_a_head = Client::connect(address);
    half_a_head.send("GET / HTTP/1.1\r\nHo");
    let mut uploading = Client::connect(address);
    uploading.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n0123456789");
    sheave.signal(Signal::TERM);
    sheave.wait_for("draining");
    // Readiness is turned before anything else.
    assert_eq!(Client::get(sheave.admin(), "/readyz").status, 503);
    for client in [&mut idle, &mut silent] {
        client.ask("/");
    }
    half_a_head.send("st: test\r\n\r\n");
    uploading.send("0123456789");
    for client in [&mut idle, &mut silent, &mut half_a_head] {
        is_last_word(client, "00000000");
    }
    is_last_word(&mut uploading, "00000020");
    drop((idle, silent, half_a_head, uploading));
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
    let report = sheave.said.last().expect("a report");
    assert!(report.contains("drained told=4 finished=4 waited=0 forced=0 lost=0"), "{report}");
}

#[test]
fn what_was_pipelined_is_answered_and_the_last_answer_says_close() {
    let (origin, was_asked, go_on) = patient_origin();
    let mut sheave = Sheave::proxy(&[origin.address], &["--drain-quiet=50ms"]);
    let mut client = Client::connect(sheave.address());
    client.send(&"GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(3));
    was_asked.recv().expect("is asked");
    sheave.signal(Signal::TERM);
    sheave.wait_for("draining");
    for number in 1..=3 {
        if number > 1 {
            was_asked.recv().expect("is asked");
        }
        go_on.send(()).expect("waits");
        // RFC 9112 §9.6: behind an answer that says close nothing may be processed.
        if number < 3 {
            let answer = client.response();
            assert!(answer.text() == "hello" && !answer.has("Connection: close"), "{number}: {}", answer.head);
        } else {
            is_last_word(&mut client, "hello");
        }
    }
    drop(client);
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
}

#[test]
fn a_slow_reader_has_all_of_its_answer() {
    let mut sheave = Sheave::start(["origin", "--from=127.0.0.1:0", "--drain-quiet=20ms"]);
    let mut client = Client::connect(sheave.address());
    // More than the kernel's buffers hold, so that most of it is written while the process drains.
    client.ask("/bytes/20m");
    client.head();
    sheave.signal(Signal::TERM);
    sheave.wait_for("draining");
    assert_eq!(client.skip(20 << 20), 20 << 20);
    // Its head was written before anybody knew; the end is told by FIN, after the quiet time.
    assert!(client.is_ended());
    drop(client);
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
}

#[test]
fn while_it_is_announced_newcomers_are_served() {
    let mut sheave = Sheave::start([
        "origin",
        "--from=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        "--drain-announce=2s",
        "--drain-quiet=20ms",
    ]);
    sheave.signal(Signal::TERM);
    sheave.wait_for("draining");
    let page = Client::get(sheave.admin(), "/drain");
    assert!(page.text().contains("\"state\":\"announcing\",\"stage\":\"leaving\""), "{}", page.text());
    let mut newcomer = Client::connect(sheave.address());
    newcomer.ask("/bytes/1");
    is_last_word(&mut newcomer, " ");
    drop(newcomer);
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
}

#[test]
fn the_drain_can_be_watched_and_begun_over_http() {
    let (origin, was_asked, go_on) = patient_origin();
    let mut sheave = Sheave::proxy(&[origin.address], &["--drain-quiet=20ms"]);
    let mut busy = Client::connect(sheave.address());
    busy.ask("/");
    was_asked.recv().expect("is asked");
    let admin = sheave.admin();
    let page = Client::get(admin, "/drain");
    for part in ["\"state\":\"running\",\"stage\":\"serving\",\"live\":1,", "\"quiet_ms\":20,", "\"grace_ms\":30000"] {
        assert!(page.has("Content-Type: application/json") && page.text().contains(part), "{part}: {}", page.text());
    }
    let post = |more: &str| {
        let mut client = Client::connect(admin);
        client.send(&format!(
            "POST /drain HTTP/1.1\r\nHost: test\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        client.response()
    };
    // A page in somebody's browser may not.
    assert_eq!(post("Origin: http://example.test\r\n").status, 403);
    assert!(Client::get(admin, "/drain").text().contains("\"state\":\"running\""));
    let answer = post("");
    assert!(answer.status == 202 && answer.text().contains("\"state\":\"waiting\""), "{}", answer.text());
    assert_eq!(Client::get(admin, "/readyz").status, 503);
    // As in a preStop hook: the signal that follows joins the drain, and forces nothing.
    sheave.signal(Signal::TERM);
    sheave.wait_for("draining already");
    go_on.send(()).expect("waits");
    is_last_word(&mut busy, "hello");
    drop(busy);
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
    let report = sheave.said.last().expect("a report");
    assert!(report.contains("drained told=1 finished=1 waited=0 forced=0 lost=0"), "{report}");
}

#[test]
fn half_a_head_that_is_never_finished_does_not_outlive_the_grace() {
    let arguments = ["origin", "--from=127.0.0.1:0", "--drain-quiet=20ms", "--drain-grace=200ms"];
    let mut sheave = Sheave::start(arguments);
    let mut client = Client::connect(sheave.address());
    client.send("GET / HT");
    assert_eq!(sheave.end(), Some(3), "{:#?}", sheave.said);
    assert!(client.is_ended());
    let report = sheave.said.last().expect("a report");
    assert!(report.contains("told=1 finished=0 waited=0 forced=1 lost=0"), "no exchange had begun: {report}");
}
