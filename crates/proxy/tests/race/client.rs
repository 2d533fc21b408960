//! A client that says when it sent, and believes no response that is not its own.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::origin::{field, read_head};

/// Beyond this a test hangs, and fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The origin's own response to it.
    Whole,
    /// An error of the proxy's: the origin may have got the request, and it must not be sent again.
    PerhapsSent(String),
    /// Anything else; nothing of it may happen.
    Wrong(String),
}

/// A client's connection to a proxy.
pub struct Client {
    proxy: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(proxy: SocketAddr) -> Self {
        Self { proxy, stream: None }
    }

    /// Sends a request in one write, and waits for its answer; the moment is the one right before it was sent.
    pub fn ask(&mut self, method: &str, target: &str, id: &str) -> (Instant, Answer) {
        let proxy = self.proxy;
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(proxy).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            BufReader::new(stream)
        });
        let body = if method == "GET" { String::new() } else { format!("content of {id}") };
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nX-Race-Id: {id}\r\n{length}\r\n{body}");
        let sent_at = Instant::now();
        let answer = match stream.get_mut().write_all(request.as_bytes()) {
            Ok(()) => judge(stream, &format!("{method} {id} {body}")),
            Err(error) => Answer::Wrong(format!("not taken: {error}")),
        };
        if let Answer::Wrong(_) = answer {
            self.stream = None;
        }
        (sent_at, answer)
    }
}

fn judge(stream: &mut BufReader<TcpStream>, expected: &str) -> Answer {
    let Some(head) = read_head(stream) else { return Answer::Wrong("the connection ended".to_owned()) };
    let length = field(&head, "Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).is_err() {
        return Answer::Wrong(format!("cut off: {head}"));
    }
    match String::from_utf8(body) {
        Ok(body) if head.starts_with("HTTP/1.1 200 ") && body == expected => Answer::Whole,
        _ => match field(&head, "Sheave-Error") {
            Some(cause) if cause.contains("request-sent=maybe") => Answer::PerhapsSent(cause.to_owned()),
            _ => Answer::Wrong(format!("{head} instead of {expected:?}")),
        },
    }
}
