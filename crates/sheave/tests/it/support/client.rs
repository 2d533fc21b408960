//! A client that writes bytes as they are, and reads one response at a time.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// One connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

/// One response.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status.
    pub(crate) status: u16,
    /// The head, as it came.
    pub(crate) head: String,
    /// The body, without chunks.
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("is listening");
        stream.set_read_timeout(Some(PATIENCE)).expect("is set");
        stream.set_write_timeout(Some(PATIENCE)).expect("is set");
        Self { reader: BufReader::new(stream) }
    }

    /// One request on a connection of its own.
    pub(crate) fn get(from: SocketAddr, path: &str) -> Response {
        let mut client = Self::connect(from);
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
        let response = client.response();
        assert!(client.is_ended(), "after Connection: close");
        response
    }

    /// Writes.
    pub(crate) fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).expect("takes it");
    }

    /// A GET that lets the connection live.
    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    /// Reads one response.
    pub(crate) fn response(&mut self) -> Response {
        let head = self.head();
        let status = head[9..12].parse().expect("a status");
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let mut body = Vec::new();
        if field("transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                self.reader.read_line(&mut line).expect("a chunk");
                let size = u64::from_str_radix(line.trim(), 16).expect("a size");
                let before = body.len() as u64;
                (&mut self.reader).take(size + 2).read_to_end(&mut body).expect("a chunk");
                assert_eq!(body.len() as u64, before + size + 2, "a whole chunk");
                body.truncate(body.len() - 2);
                if size == 0 {
                    break;
                }
            }
        } else if let Some(len) = field("content-length") {
            let len: u64 = len.parse().expect("a length");
            (&mut self.reader).take(len).read_to_end(&mut body).expect("a body");
            assert_eq!(body.len() as u64, len, "a whole body");
        }
        Response { status, head, body }
    }

    /// Reads a head.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.reader.read_line(&mut head).expect("a head");
            assert!(read > 0, "the connection ended within a head: {head:?}");
        }
        head
    }

    /// Reads a line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        line
    }

    /// Reads so many bytes of a body and forgets them: how many there were.
    pub(crate) fn skip(&mut self, len: u64) -> u64 {
        std::io::copy(&mut (&mut self.reader).take(len), &mut std::io::sink()).expect("a body")
    }

    /// The connection, to be used beside this.
    pub(crate) fn stream(&self) -> TcpStream {
        self.reader.get_ref().try_clone().expect("a descriptor")
    }

    /// Waits for the next byte: true if there will be none, by FIN or RST.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.reader.fill_buf().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, <[u8]>::is_empty)
    }

    /// Whether nothing more comes, by FIN or RST.
    pub(crate) fn is_ended(&mut self) -> bool {
        match self.reader.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// Whether the head has this line.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|it| it.eq_ignore_ascii_case(line))
    }
}
