//! The origin of every comparison: one thread, epoll, responses that were made in advance. `bench-origin LISTEN…`.
//!
//! GET of `/1k`, `/100k`, `/chunked-100k`, `/10m`; `/held` is answered once no other such request has come for 0.2 s, so that
//! as many connections to here exist at once as there were requests. Whatever has a body is taken whole, then answered.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

/// What is left of the request in hand.
enum Owed {
    /// The next request's head.
    Head,
    /// Bytes of a body of known length.
    Body(u64),
    /// A chunked body's end, with the last bytes that were seen of it.
    Chunks([u8; 5]),
}

/// By descriptor.
type Clients = Vec<Option<Box<Client>>>;

/// Listeners are numbered from here; no descriptor has such a number.
const LISTENERS: u64 = 1 << 40;

struct Client {
    stream: TcpStream,
    /// The beginning of a head.
    begun: Vec<u8>,
    owed: Owed,
    /// The answer to the request whose body is being read.
    next: &'static [u8],
    closes: bool,
    /// What the kernel has not taken yet.
    unsent: &'static [u8],
}

struct Answers {
    one_k: &'static [u8],
    hundred_k: &'static [u8],
    chunked: &'static [u8],
    ten_m: &'static [u8],
    taken: &'static [u8],
    missing: &'static [u8],
}

fn leaked(head: &str, body: &[u8]) -> &'static [u8] {
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend_from_slice(body);
    Vec::leak(bytes)
}

fn whole(body: &[u8]) -> &'static [u8] {
    let head = "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/octet-stream\r\n";
    leaked(&format!("{head}Content-Length: {}\r\n\r\n", body.len()), body)
}

impl Answers {
    fn new() -> Self {
        let pattern = |len: usize| b"0123456789abcdef".repeat(len / 16);
        // As applications write: pieces of 8 KiB.
        let mut chunks = Vec::new();
        for piece in pattern(100 << 10).chunks(8 << 10) {
            chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            chunks.extend_from_slice(piece);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        let head = "HTTP/1.1 200 OK\r\nServer: bench\r\nTransfer-Encoding: chunked\r\n\r\n";
        Self {
            one_k: whole(&pattern(1 << 10)),
            hundred_k: whole(&pattern(100 << 10)),
            chunked: leaked(head, &chunks),
            ten_m: whole(&pattern(10 << 20)),
            taken: whole(b"taken\n"),
            missing: leaked("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""),
        }
    }

    fn to(&self, target: &[u8]) -> &'static [u8] {
        match target {
            b"/1k" | b"/held" => self.one_k,
            b"/100k" => self.hundred_k,
            b"/chunked-100k" => self.chunked,
            b"/10m" => self.ten_m,
            b"/post" | b"/upload" => self.taken,
            _ => self.missing,
        }
    }
}

/// The value of a field, by a search that is good enough for requests of proxies that we know.
fn field<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (field, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        field.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

impl Client {
    /// Takes what came; `held` is told when the answer has to wait. False when the connection is over.
    fn take(&mut self, mut input: &[u8], answers: &Answers, held: &mut bool) -> io::Result<bool> {
        while !input.is_empty() {
            match &mut self.owed {
                Owed::Head => {
                    self.begun.extend_from_slice(input);
                    let Some(end) = self.begun.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
                        return Ok(true);
                    };
                    let rest = self.begun.len() - end;
                    input = &input[input.len() - rest..];
                    let begun = std::mem::take(&mut self.begun);
                    let is_held = self.begin(&begun[..end], answers);
                    self.begun = begun;
                    self.begun.clear();
                    if is_held {
                        *held = true;
                        return Ok(true);
                    }
                }
                Owed::Body(left) => {
                    let len = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= len as u64;
                    input = &input[len..];
                }
                Owed::Chunks(last) => {
                    // Nothing is pipelined behind such a body: its end is the end of what came.
                    let tail = &input[input.len().saturating_sub(5)..];
                    last.rotate_left(tail.len());
                    let from = 5 - tail.len();
                    last[from..].copy_from_slice(tail);
                    input = &[];
                    if last != b"0\r\n\r\n" {
                        return Ok(true);
                    }
                    self.owed = Owed::Body(0);
                }
            }
            if matches!(self.owed, Owed::Body(0)) {
                self.owed = Owed::Head;
                let answer = self.next;
                if !self.send(answer)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Reads a head; whether its answer has to wait.
    fn begin(&mut self, head: &[u8], answers: &Answers) -> bool {
        let mut words = head.split(|byte| *byte == b' ');
        let is_get = words.next() == Some(b"GET");
        let target = words.next().unwrap_or_default();
        self.next = answers.to(target);
        self.closes = field(head, b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        self.owed = if is_get {
            Owed::Body(0)
        } else if let Some(length) = field(head, b"content-length") {
            Owed::Body(std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
        } else if field(head, b"transfer-encoding").is_some() {
            Owed::Chunks([0; 5])
        } else {
            Owed::Body(0)
        };
        is_get && target == b"/held"
    }

    fn send(&mut self, answer: &'static [u8]) -> io::Result<bool> {
        self.unsent = answer;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent) {
                Ok(len) => self.unsent = &self.unsent[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(!self.closes)
    }
}

fn main() -> io::Result<()> {
    let mut listeners = Vec::new();
    let answers = Answers::new();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for address in std::env::args().skip(1) {
        let listener = TcpListener::bind(address)?;
        // Beyond the 128 of std: a crowd may come at once.
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        epoll::add(&poll, &listener, EventData::new_u64(LISTENERS + listeners.len() as u64), EventFlags::IN)?;
        listeners.push(listener);
    }
    if listeners.is_empty() {
        eprintln!("usage: bench-origin LISTEN...");
        std::process::exit(2);
    }
    let mut clients: Clients = Vec::new();
    let mut held: Vec<usize> = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut events = Vec::with_capacity(512);
    loop {
        events.clear();
        let patience = Timespec::try_from(Duration::from_millis(200)).ok();
        let patience = if held.is_empty() { None } else { patience.as_ref() };
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), patience) {
            Ok(0) => {
                for id in held.drain(..) {
                    let Some(client) = clients[id].as_mut() else { continue };
                    client.owed = Owed::Head;
                    if !client.send(client.next).unwrap_or(false) {
                        clients[id] = None;
                    }
                }
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let flags = event.flags;
            let id = event.data.u64();
            if id >= LISTENERS {
                let Ok(index) = usize::try_from(id - LISTENERS) else { continue };
                accept(&listeners[index], &poll, &mut clients)?;
                continue;
            }
            let Ok(id) = usize::try_from(id) else { continue };
            let Some(client) = clients[id].as_mut() else { continue };
            let mut must_wait = false;
            if !serve(client, flags, &mut buffer, &answers, &mut must_wait).unwrap_or(false) {
                clients[id] = None;
            } else if must_wait {
                held.push(id);
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &std::os::fd::OwnedFd, clients: &mut Clients) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let id = usize::try_from(stream.as_raw_fd()).unwrap_or(0);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(poll, &stream, EventData::new_u64(id as u64), flags)?;
        let client = Client { stream, begun: Vec::new(), owed: Owed::Head, next: &[], closes: false, unsent: &[] };
        if clients.len() <= id {
            clients.resize_with(id + 1, || None);
        }
        clients[id] = Some(Box::new(client));
    }
    Ok(())
}

fn serve(
    client: &mut Client,
    flags: EventFlags,
    buffer: &mut [u8],
    answers: &Answers,
    must_wait: &mut bool,
) -> io::Result<bool> {
    if flags.contains(EventFlags::OUT) && !client.unsent.is_empty() && !client.flush()? {
        return Ok(false);
    }
    if !flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
        return Ok(true);
    }
    loop {
        match client.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(len) => {
                if !client.take(&buffer[..len], answers, must_wait)? {
                    return Ok(false);
                }
                // A short read emptied the socket; edge-triggered, the next bytes are told of, and so is the end.
                if len < buffer.len() && !flags.contains(EventFlags::RDHUP) {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
