//! Deadlines, promises and early answers on real sockets, with short times: what is asserted is what happened, not when.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Client, Origin, Sheave, metric, metric_until, read_head};

const CLOSE: &str = "Connection: close";

/// Writes `piece` again and again, after a pause each, until the peer does not want any more, or for `times`.
fn keep_writing(mut stream: TcpStream, piece: Vec<u8>, pause: Duration, times: usize) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        for count in 0..times {
            if stream.write_all(&piece).is_err() {
                return count;
            }
            thread::sleep(pause);
        }
        times
    })
}

#[test]
fn a_body_that_drips_is_cut_off_and_told_so() {
    // A byte every 50 ms is never late for --body-timeout: only the floor sees it.
    let sheave = Sheave::proxy(&[], &["--body-timeout=400ms", "--body-min-rate=1k"]);
    let mut client = Client::connect(sheave.address());
    client.send("POST /sha256 HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
    let dripping = keep_writing(client.stream(), vec![b'x'], Duration::from_millis(50), 1200);
    let answer = client.response();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.has(CLOSE) && answer.head.contains("Sheave-Error: timeout-body-rate"), "{}", answer.head);
    // The answer could be read while the client was still sending.
    client.stream().shutdown(Shutdown::Both).ok();
    assert!(dripping.join().expect("no panic") < 1200);
    let sample = "sheave_timeouts_total{side=\"downstream\",timer=\"body-rate\",phase=\"request\"}";
    metric_until(&sheave, sample, |count| count == 1.0);
}

#[test]
fn a_body_that_is_fast_enough_is_not_cut_off_however_long_it_takes() {
    let sheave = Sheave::proxy(&[], &["--body-timeout=1s", "--body-min-rate=100"]);
    let mut client = Client::connect(sheave.address());
    // 150 times 100 bytes in three seconds: longer than the window, fifty times the floor.
    client.send("POST /sha256 HTTP/1.1\r\nHost: test\r\nContent-Length: 15000\r\n\r\n");
    keep_writing(client.stream(), vec![b'x'; 100], Duration::from_millis(20), 150).join().expect("no panic");
    assert_eq!(client.response().status, 200);
}

/// Reads until the end, which must not look like that of a whole response.
fn read_to_reset(mut client: TcpStream) -> usize {
    let mut len = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => panic!("a plain end after {len} bytes: the response looks whole, or at least not cut off"),
            Ok(read) => len += read,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                return len;
            }
        }
    }
}

#[test]
fn a_client_that_stops_reading_is_reset_whether_or_not_the_origin_goes_on() {
    // More than the kernel's buffers hold, then nothing: the origin is silent from then on.
    let silent = Origin::new(|mut stream| {
        if read_head(&stream).is_empty() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; 64 << 20]);
        let _ = stream.read(&mut [0]);
    });
    for (to, path) in [(vec![], "/bytes/1g"), (vec![silent.address], "/")] {
        let sheave = Sheave::proxy(&to, &["--write-timeout=300ms", "--recv-buffer=64k", "--send-buffer=64k"]);
        let mut client = Client::connect(sheave.address());
        client.ask(path);
        let sample = "sheave_timeouts_total{side=\"downstream\",timer=\"write\",phase=\"response\"}";
        metric_until(&sheave, sample, |count| count == 1.0);
        assert!(read_to_reset(client.stream()) < 1_000_000_000, "{path}");
    }
}

/// Lets this process hold as many connections as it may.
fn raise_own_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it cannot be raised the limit stays, and fewer clients fit.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

#[test]
fn idle_clients_are_closed_and_leave_nothing_behind() {
    let room = usize::try_from(raise_own_limit()).unwrap_or(usize::MAX);
    let count = 2000.min(room / 2);
    let timeouts = ["--idle-timeout=500ms", "--first-byte-timeout=500ms", "--workers=2"];
    let places = ["origin", "--from=127.0.0.1:0", "--admin=127.0.0.1:0"];
    let mut sheave = Sheave::start(places.into_iter().chain(timeouts));
    let mut rests = Vec::new();
    for _ in 0..3 {
        let mut clients: Vec<_> = (0..count).map(|_| Client::connect(sheave.address())).collect();
        // Every other one never says a word.
        for client in clients.iter_mut().step_by(2) {
            client.ask("/bytes/1");
        }
        for client in clients.iter_mut().step_by(2) {
            // One that waited for its turn for longer than clients here may be silent has been closed instead.
            if !client.is_at_end() {
                assert_eq!(client.response().status, 200);
            }
        }
        assert!(clients.iter_mut().all(Client::is_ended), "each is closed by its deadline");
        drop(clients);
        metric_until(&sheave, "sheave_connections_live{side=\"downstream\"}", |live| live == 0.0);
        // Not the connection of the question itself: that is the admin listener's, and counted nowhere.
        rests.push((sheave.descriptors(), sheave.resident_bytes()));
    }
    let timed_out: f64 = [("first-byte", "first-byte"), ("idle", "idle")]
        .map(|(timer, phase)| {
            metric(
                &sheave,
                &format!("sheave_timeouts_total{{side=\"downstream\",timer=\"{timer}\",phase=\"{phase}\"}}"),
            )
        })
        .iter()
        .sum();
    assert!(timed_out >= (3 * count) as f64 * 0.9, "{timed_out} of {}", 3 * count);
    let [first, .., last] = rests[..] else { panic!("three rounds") };
    // The questions' own connections linger a while.
    assert!(last.0 <= first.0 + 8, "descriptors: {rests:?}");
    assert!(last.1 <= first.1 + first.1 / 4 + (1 << 20), "memory: {rests:?}");
    assert_eq!(metric(&sheave, "sheave_connections_unaccounted{side=\"downstream\"}"), 0.0);
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn parked_connections_are_closed_and_leave_nothing_behind() {
    const COUNT: usize = 500;
    // All are held until the last has come, so that each needs a connection of its own.
    let all_here = Arc::new(Barrier::new(COUNT));
    let origin = Origin::new(move |mut stream| {
        if read_head(&stream).is_empty() {
            return;
        }
        all_here.wait();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // Kept until the other side ends it.
        let _ = stream.read(&mut [0]);
    });
    let mut sheave = Sheave::proxy(&[origin.address], &["--upstream-idle-timeout=1s", "--workers=2"]);
    let before = sheave.descriptors();
    let mut clients: Vec<_> = (0..COUNT).map(|_| Client::connect(sheave.address())).collect();
    clients.iter_mut().for_each(|client| client.ask("/"));
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    drop(clients);
    metric_until(&sheave, "sheave_connections_live{side=\"upstream\"}", |live| live == 0.0);
    metric_until(&sheave, "sheave_connections_live{side=\"downstream\"}", |live| live == 0.0);
    let closed = "sheave_connections_closed_total{side=\"upstream\",reason=\"timeout-idle\",severity=\"benign\"}";
    assert_eq!(metric(&sheave, closed), 500.0);
    assert_eq!(metric(&sheave, "sheave_connections_parked"), 0.0);
    // The questions' own connections linger a while.
    assert!(sheave.descriptors() <= before + 8, "{} descriptors, {before} before", sheave.descriptors());
    assert_eq!(sheave.end(), Some(0));
}

#[test]
fn an_early_answer_can_be_read_by_who_is_still_sending() {
    let hasty = Origin::new(|mut stream| {
        if !read_head(&stream).is_empty() {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            // What is unread turns the close into a reset.
        }
    });
    let mega = 8 << 20;
    let large_field = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}", "x".repeat(100_000));
    for (to, flags, head, status) in [
        (None, "--max-body=1k", format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {mega}\r\n\r\n"), 413),
        (None, "--max-head=1k", large_field, 431),
        (
            None,
            "--max-head=1k",
            format!("POST /echo HTTP/1.1\r\nHost: test\r\nExpect: the-moon\r\nContent-Length: {mega}\r\n\r\n"),
            417,
        ),
        (
            None,
            "--max-body=1k",
            "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n".to_owned(),
            413,
        ),
        (
            Some(hasty.address),
            "--retry-attempts=1",
            format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {mega}\r\n\r\n"),
            403,
        ),
    ] {
        let sheave = Sheave::proxy(to.as_slice(), &[flags]);
        // One that writes on while it reads; and one that reads only when it has written all, or can write no more.
        for reads_at_once in [true, false] {
            let mut client = Client::connect(sheave.address());
            client.send(&head);
            let writing = keep_writing(client.stream(), vec![b'x'; 64 << 10], Duration::ZERO, mega / (64 << 10));
            let answer = if reads_at_once {
                let answer = client.response();
                let _ = writing.join();
                answer
            } else {
                let _ = writing.join();
                client.response()
            };
            assert_eq!(answer.status, status, "{flags}, reads at once: {reads_at_once}");
        }
    }
}

#[test]
fn a_promise_to_clients_is_kept_in_a_drain() {
    let mut sheave =
        Sheave::proxy(&[], &["--announce-keep-alive", "--idle-timeout=30s", "--drain-quiet=10ms", "--drain-grace=60s"]);
    let mut client = Client::connect(sheave.address());
    client.ask("/bytes/1");
    let answer = client.response();
    assert!(answer.has("Connection: keep-alive") && answer.has("Keep-Alive: timeout=27"), "{}", answer.head);
    sheave.signal(Signal::TERM);
    sheave.wait_for("draining");
    // Long after the quiet time, and long before the promise ends.
    thread::sleep(Duration::from_millis(500));
    client.ask("/bytes/1");
    let last = client.response();
    assert!(last.status == 200 && last.has(CLOSE) && !last.head.contains("Keep-Alive"), "{}", last.head);
    assert!(client.is_ended());
    drop(client);
    assert_eq!(sheave.wait().0, Some(0), "{:#?}", sheave.said);
}

#[test]
fn an_old_connection_is_told_with_its_next_response() {
    let sheave = Sheave::proxy(&[], &["--max-age=200ms"]);
    let mut client = Client::connect(sheave.address());
    thread::sleep(Duration::from_millis(250));
    client.ask("/bytes/1");
    let answer = client.response();
    assert!(answer.status == 200 && answer.has(CLOSE), "{}", answer.head);
    assert!(client.is_ended());
    drop(client);
    let sample = "sheave_connections_closed_total{side=\"downstream\",reason=\"max-age\",severity=\"benign\"}";
    metric_until(&sheave, sample, |count| count == 1.0);
}

#[test]
fn the_exchange_as_a_whole_has_a_deadline_only_when_it_is_asked_for() {
    let sheave = Sheave::proxy(&[], &["--exchange-timeout=200ms"]);
    let answer = Client::get(sheave.address(), "/slow/600000");
    assert!(answer.status == 504 && answer.head.contains("Sheave-Error: exchange-timeout"), "{}", answer.head);
    // A response that is under way is cut off, and does not look whole.
    let mut client = Client::connect(sheave.address());
    client.ask("/drip/100000");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut body = Vec::new();
    let _ = client.stream().read_to_end(&mut body);
    assert!(!body.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&body));
}

#[test]
fn timeouts_that_could_never_act_are_refused() {
    for (flags, part) in [
        (["--announce-keep-alive", "--idle-timeout=1s"], "nothing to promise"),
        (["--tcp-user-timeout=1s", "--write-timeout=5s"], "could never act"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sheave"))
            .args(["proxy", "--from=127.0.0.1:0"])
            .args(flags)
            .output()
            .expect("starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(part), "{flags:?}: {error}");
    }
}
