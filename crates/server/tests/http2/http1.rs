//! A client of HTTP/1 that asks one by one, and knows what it was told of its connection's end.

use sheave_net::socket::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection.
pub(crate) struct Http1<S> {
    pub(crate) socket: S,
    received: Vec<u8>,
}

/// A response that is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// It says that it is the last; of a stream, the connection does.
    pub(crate) is_last: bool,
}

impl<S: Socket> Http1<S> {
    pub(crate) fn over(socket: S) -> Self {
        Self { socket, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        // Whoever is gone is found out by who reads.
        let _ = self.socket.write_all(text.as_bytes()).await;
    }

    /// The answer; `None` if the connection ends before it is whole.
    pub(crate) async fn get(&mut self, path: &str) -> Option<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: o\r\n\r\n")).await;
        self.answer().await
    }

    /// The next response; `None` if the connection ends before it is whole.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.take() {
                return Some(answer);
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
            }
        }
    }

    fn take(&mut self) -> Option<Answer> {
        let head_len = self.received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.received[..head_len]).unwrap().to_ascii_lowercase();
        let content = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let len = head_len + content.parse::<usize>().unwrap();
        if self.received.len() < len {
            return None;
        }
        let closes = head.matches("\r\nconnection: close\r\n").count();
        assert!(closes <= 1 && head.matches("\r\nconnection:").count() == closes, "{head}");
        self.received.drain(..len);
        Some(Answer { status: head[9..12].parse().unwrap(), is_last: closes == 1 })
    }
}
