//! How the process ends: what is under way is finished, what is idle is told, and the exit code says how it went.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use crate::support::{Client, Origin, Sheave, read_head};

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
