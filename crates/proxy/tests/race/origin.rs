//! An origin that closes a connection at a moment which it tells the client beforehand.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::wait;

/// How long before it closes the origin looks for a request for the last time. What comes later is not read: the timer
/// of an event loop fires the same way.
const LAST_LOOK: Duration = Duration::from_micros(100);

/// How a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Fin,
    Reset,
}

/// How an origin treats idle connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habit {
    /// How long it keeps them.
    pub idle: Duration,
    /// How it ends them.
    pub ending: Ending,
    /// What it announces, in seconds.
    pub announced: Option<u64>,
}

/// What became of a connection that was parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parked {
    /// The next request came in time and was served on it.
    Served,
    /// The origin closed it; this moment came after.
    Closed(Instant),
    /// The proxy closed it first.
    Left,
}

/// An origin for one lane. Its threads end with the test's process.
pub struct Origin {
    pub address: SocketAddr,
    /// When the connection that was just parked will be closed.
    pub due: Receiver<Instant>,
    /// What became of it.
    pub parked: Receiver<Parked>,
    shared: Arc<Shared>,
}

struct Shared {
    habit: Habit,
    /// How often each request came, by method and id.
    seen: Mutex<HashMap<(String, String), u32>>,
    due: Sender<Instant>,
    parked: Sender<Parked>,
}

impl Origin {
    /// Starts it.
    pub fn start(habit: Habit) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ((due_to, due), (parked_to, parked)) = (channel(), channel());
        let shared = Arc::new(Shared { habit, seen: Mutex::default(), due: due_to, parked: parked_to });
        let shared_too = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), shared_too.clone());
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, due, parked, shared }
    }

    /// How many requests of this method came more than once.
    pub fn seen_twice(&self, method: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|((it, _), times)| it == method && **times > 1).count()
    }
}

impl Shared {
    /// Serves a connection: after `/park` it waits for one more request until it is due; any other is the last.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut is_parked = false;
        while let Some(request) = Request::read(&mut stream) {
            let Request { method, target, id, body } = request;
            *self.seen.lock().unwrap().entry((method.clone(), id.clone())).or_default() += 1;
            let is_last = target != "/park";
            if is_parked {
                let _ = self.parked.send(Parked::Served);
            }
            let text = format!("{method} {id} {body}");
            let mut fields = format!("Content-Length: {}\r\nX-Race-Id: {id}\r\n", text.len());
            if is_last {
                fields.push_str("Connection: close\r\n");
            } else if let Some(seconds) = self.habit.announced {
                fields.push_str(&format!("Keep-Alive: timeout={seconds}\r\n"));
            }
            // The proxy may have left: its client is told by it.
            if stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{text}").as_bytes()).is_err() || is_last {
                return;
            }
            is_parked = true;
            let due = Instant::now() + self.habit.idle;
            let _ = self.due.send(due);
            match self.look_until(&stream, due) {
                Some(Parked::Served) => {}
                Some(end) => {
                    let _ = self.parked.send(end);
                    return;
                }
                None => {
                    if self.habit.ending == Ending::Reset {
                        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                    drop(stream);
                    // On loopback the FIN or RST is with the other side when the call returns.
                    let _ = self.parked.send(Parked::Closed(Instant::now()));
                    return;
                }
            }
        }
        if is_parked {
            let _ = self.parked.send(Parked::Left);
        }
    }

    /// Waits until it is time to close; `None` when nothing came before the last look.
    fn look_until(&self, stream: &TcpStream, due: Instant) -> Option<Parked> {
        wait::until(due - LAST_LOOK);
        stream.set_nonblocking(true).unwrap();
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        match found {
            Ok(0) => Some(Parked::Left),
            Ok(_) => Some(Parked::Served),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait::until(due);
                None
            }
            Err(_) => Some(Parked::Left),
        }
    }
}

/// A request, as the proxy of a lane sends it.
struct Request {
    method: String,
    target: String,
    id: String,
    body: String,
}

impl Request {
    /// Reads one; `None` when the connection ends.
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let head = read_head(stream)?;
        let mut words = head.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut body = vec![0; field(&head, "Content-Length").map_or(0, |len| len.parse().unwrap())];
        stream.read_exact(&mut body).ok()?;
        let id = field(&head, "X-Race-Id").expect("the proxy passes it on").to_owned();
        Some(Self { method, target, id, body: String::from_utf8(body).unwrap() })
    }
}

/// Reads a head byte by byte, so that nothing behind it is taken. `None` when the connection ends.
pub fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend_from_slice(&byte);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A field's value.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|it| it.1.trim())
}
