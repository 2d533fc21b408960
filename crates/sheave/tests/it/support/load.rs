//! Clients that never rest, and count whatever goes wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Origin, PATIENCE, read_head};

/// An origin that answers every request, with keep-alive, and reads what is sent to it.
pub(crate) fn steady_origin() -> Origin {
    Origin::new(|mut stream| {
        loop {
            let head = read_head(&stream);
            if head.is_empty() {
                return;
            }
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: keep-alive\r\n\r\n{:08}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Clients of all kinds against one address, until they are stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    is_over: AtomicBool,
    answered: AtomicU64,
    told_close: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// What a client does with its connections.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Request after request on one connection, without a pause.
    KeepAlive,
    /// The same with pauses, shorter than the quiet window.
    Thinking,
    /// A connection for each request.
    Fresh,
    /// Three requests at once, then three answers.
    Pipelining,
    /// Bodies in pieces.
    Uploading,
}

impl Load {
    /// Begins.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            address,
            is_over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            told_close: AtomicU64::new(0),
            failures: Mutex::new(Vec::new()),
        });
        let kinds =
            [(Kind::KeepAlive, 3), (Kind::Thinking, 2), (Kind::Fresh, 3), (Kind::Pipelining, 2), (Kind::Uploading, 2)];
        let clients = kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |_| kind));
        let threads = clients.map(|kind| {
            let shared = shared.clone();
            thread::spawn(move || shared.run(kind))
        });
        Self { threads: threads.collect(), shared }
    }

    /// How many requests have been answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been.
    pub(crate) fn wait_for(&self, more: u64) {
        let until = std::time::Instant::now() + PATIENCE;
        let enough = self.answered() + more;
        while self.answered() < enough {
            assert!(std::time::Instant::now() < until, "no more answers; failures: {:?}", self.shared.failures());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends: how many requests were answered, how many of the answers said `close`, and what went wrong.
    pub(crate) fn stop(self) -> (u64, u64, Vec<String>) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("counts, and does not panic"));
        (
            self.shared.answered.load(Ordering::Relaxed),
            self.shared.told_close.load(Ordering::Relaxed),
            self.shared.failures(),
        )
    }
}

impl Shared {
    fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("lock").clone()
    }

    fn run(&self, kind: Kind) {
        while !self.is_over.load(Ordering::Relaxed) {
            if let Err((doing, error)) = self.connection(kind) {
                self.failures.lock().expect("lock").push(format!("{kind:?}, {doing}: {error}"));
            }
        }
    }

    /// One connection, for as long as it lives.
    fn connection(&self, kind: Kind) -> Result<(), (&'static str, io::Error)> {
        let stream = TcpStream::connect(self.address).map_err(|error| ("connecting", error))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| ("setting", error))?;
        stream.set_nodelay(true).map_err(|error| ("setting", error))?;
        let mut reader = BufReader::new(stream);
        loop {
            let is_last = matches!(kind, Kind::Fresh) || self.is_over.load(Ordering::Relaxed);
            let requests = if matches!(kind, Kind::Pipelining) { 3 } else { 1 };
            ask(reader.get_mut(), kind, is_last).map_err(|error| ("asking", error))?;
            let mut is_over = is_last;
            for number in 0..requests {
                let (says_close, body) = answer(&mut reader).map_err(|error| ("waiting for an answer", error))?;
                let expected = if matches!(kind, Kind::Uploading) { "00020000" } else { "00000000" };
                if body != expected.as_bytes() {
                    return Err(("reading", io::Error::other(format!("a wrong body: {body:?}"))));
                }
                self.answered.fetch_add(1, Ordering::Relaxed);
                if says_close {
                    self.told_close.fetch_add(u64::from(!is_last), Ordering::Relaxed);
                    is_over = true;
                    if number + 1 < requests {
                        // RFC 9112 §9.6: the rest is not answered, and known not to be.
                        return Err(("pipelining", io::Error::other("close before the last answer")));
                    }
                }
            }
            if is_over {
                return Ok(());
            }
            if matches!(kind, Kind::Thinking) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn ask(stream: &mut TcpStream, kind: Kind, is_last: bool) -> io::Result<()> {
    let close = if is_last { "Connection: close\r\n" } else { "" };
    match kind {
        Kind::Uploading => {
            write!(stream, "POST / HTTP/1.1\r\nHost: test\r\n{close}Content-Length: 20000\r\n\r\n")?;
            for _ in 0..4 {
                stream.write_all(&[b'x'; 5000])?;
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
        Kind::Pipelining => {
            let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
            let last = format!("GET / HTTP/1.1\r\nHost: test\r\n{close}\r\n");
            stream.write_all([request, request, &last].concat().as_bytes())
        }
        _ => stream.write_all(format!("GET / HTTP/1.1\r\nHost: test\r\n{close}\r\n").as_bytes()),
    }
}

/// Reads an answer: whether it says `close`, and its body.
fn answer(reader: &mut BufReader<TcpStream>) -> io::Result<(bool, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the end after {head:?}")));
        }
    }
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("{head:?}")));
    }
    let count = |line: &str| head.lines().filter(|it| it.eq_ignore_ascii_case(line)).count();
    let (closes, all) = (count("connection: close"), head.to_ascii_lowercase().matches("\nconnection:").count());
    if closes > 1 || all != closes {
        return Err(io::Error::other(format!("Connection is said otherwise than once: {head:?}")));
    }
    let mut body = vec![0; 8];
    reader.read_exact(&mut body)?;
    Ok((closes == 1, body))
}
