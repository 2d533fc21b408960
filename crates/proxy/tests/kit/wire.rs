//! One end of a raw connection: exact bytes out, strictly read messages in.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::message::{Framing, Head, Lines, Message, field};

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Fin,
    Reset,
}

/// A message that was not whole when the stream ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    pub end: End,
    /// The head, if that was whole.
    pub head: Option<Head>,
    /// Content that came, or bytes of a head that was not whole.
    pub body: Vec<u8>,
}

/// One end of a connection. Its two halves can be used at the same time.
pub struct Wire {
    pub reader: Reader,
    pub writer: Writer,
}

/// What comes.
pub struct Reader {
    stream: Arc<TcpStream>,
    inbox: BytesMut,
    end: Option<End>,
    /// Sees every byte that is received.
    pub watch: Option<Watch>,
}

/// Sees every byte that is received.
pub type Watch = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What goes.
#[derive(Debug)]
pub struct Writer {
    stream: Arc<TcpStream>,
}

impl Writer {
    /// Sends `bytes`.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.try_write(bytes)? {
                Some(len) => bytes = &bytes[len..],
                None => continue,
            }
        }
        Ok(())
    }

    /// Writes what the kernel takes at once; `None` when it takes nothing.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self.stream.try_write(bytes) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends FIN.
    pub fn fin(&self) {
        SockRef::from(&*self.stream).shutdown(Shutdown::Write).unwrap();
    }
}

impl Wire {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// Connects, with receive and send buffers of about so many bytes.
    pub async fn connect_small(address: SocketAddr, buffer_bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer_bytes).unwrap();
        socket.set_send_buffer_size(buffer_bytes).unwrap();
        Self::new(socket.connect(address).await.unwrap())
    }

    /// Takes a connection.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let stream = Arc::new(stream);
        let reader = Reader { stream: stream.clone(), inbox: BytesMut::new(), end: None, watch: None };
        Self { reader, writer: Writer { stream } }
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.writer.stream.local_addr().unwrap()
    }

    /// Sends `bytes`.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) {
        self.writer.send_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends `bytes` as far as the other side takes them; says whether it took all.
    pub async fn try_send(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.writer.send_all(bytes.as_ref()).await.is_ok()
    }

    /// Sends `bytes` one by one, each in a segment of its own as far as the kernel goes along.
    pub async fn send_bytewise(&self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            if self.writer.send_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends FIN.
    pub fn fin(&self) {
        self.writer.fin();
    }

    /// Closes with RST.
    pub fn reset(self) {
        SockRef::from(&*self.writer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// See [`Reader::has_more`].
    pub async fn has_more(&mut self) -> bool {
        self.reader.has_more().await
    }

    /// See [`Reader::take`].
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn take(&mut self) -> Result<Vec<u8>, End> {
        self.reader.take().await
    }

    /// See [`Reader::head`].
    ///
    /// # Errors
    /// What came of it.
    pub async fn head(&mut self) -> Result<Head, Cut> {
        self.reader.head().await
    }

    /// See [`Reader::content`].
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn content(&mut self, framing: Framing, sink: impl FnMut(&[u8])) -> Result<Lines, End> {
        self.reader.content(framing, sink).await
    }

    /// Reads a request.
    ///
    /// # Errors
    /// What came of it.
    pub async fn try_request(&mut self) -> Result<Message, Cut> {
        self.reader.message(Head::request_framing).await
    }

    /// Reads a response to `method`, interim or final.
    ///
    /// # Errors
    /// What came of it.
    pub async fn try_response_to(&mut self, method: &str) -> Result<Message, Cut> {
        self.reader.message(|head| head.response_framing(method)).await
    }

    /// Reads a response to a GET; it must be whole.
    pub async fn response(&mut self) -> Message {
        self.response_to("GET").await
    }

    /// Reads a response to `method`; it must be whole.
    pub async fn response_to(&mut self, method: &str) -> Message {
        self.try_response_to(method).await.unwrap_or_else(|cut| panic!("the response is cut off: {cut:?}"))
    }

    /// Sends a request and reads its response.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(&request).await;
        let bytes = request.as_ref();
        let method = bytes.iter().position(|byte| *byte == b' ').map_or(&b"GET"[..], |at| &bytes[..at]);
        self.response_to(std::str::from_utf8(method).unwrap()).await
    }

    /// Waits for the end, before which nothing may come.
    pub async fn end(&mut self) -> End {
        assert!(!self.has_more().await, "unasked: {:?}", String::from_utf8_lossy(&self.reader.inbox));
        self.reader.ended()
    }
}

impl Reader {
    /// Waits for bytes; false at the end.
    async fn fill(&mut self) -> bool {
        self.inbox.reserve(64 * 1024);
        let before = self.inbox.len();
        while self.end.is_none() {
            self.stream.readable().await.unwrap();
            match self.stream.try_read_buf(&mut self.inbox) {
                Ok(0) => self.end = Some(End::Fin),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    self.end = Some(End::Reset);
                }
                Err(error) => panic!("read: {error}"),
            }
        }
        if let Some(watch) = &self.watch {
            watch(&self.inbox[before..]);
        }
        self.inbox.len() > before
    }

    /// Waits until the stream ends or bytes are there; true if there are.
    pub async fn has_more(&mut self) -> bool {
        !self.inbox.is_empty() || self.fill().await
    }

    /// Takes what has come, at least a byte, or says how the stream ended.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn take(&mut self) -> Result<Vec<u8>, End> {
        if self.has_more().await { Ok(self.inbox.split().to_vec()) } else { Err(self.ended()) }
    }

    fn ended(&self) -> End {
        self.end.expect("the stream has ended")
    }

    /// Reads a head.
    ///
    /// # Errors
    /// What came of it.
    pub async fn head(&mut self) -> Result<Head, Cut> {
        loop {
            if let Some(at) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Head::parse(&self.inbox.split_to(at + 4)));
            }
            if !self.fill().await {
                return Err(Cut { end: self.ended(), head: None, body: self.inbox.split().to_vec() });
            }
        }
    }

    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.inbox.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8(self.inbox.split_to(at + 1).to_vec()).unwrap();
                return Ok(line.strip_suffix("\r\n").expect("lines end with CRLF").to_owned());
            }
            if !self.fill().await {
                return Err(self.ended());
            }
        }
    }

    /// Reads content, piece by piece, and its trailers.
    ///
    /// # Errors
    /// How the stream ended before the content did.
    pub async fn content(&mut self, framing: Framing, mut sink: impl FnMut(&[u8])) -> Result<Lines, End> {
        match framing {
            Framing::None => Ok(Lines::new()),
            Framing::Length(length) => self.counted(length, &mut sink).await.map(|()| Lines::new()),
            Framing::UntilClose => loop {
                sink(&self.inbox.split());
                if !self.fill().await {
                    return if self.ended() == End::Fin { Ok(Lines::new()) } else { Err(End::Reset) };
                }
            },
            Framing::Chunked => loop {
                let size = self.line().await?;
                assert!(!size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()), "chunk size {size:?}");
                match usize::from_str_radix(&size, 16).unwrap() {
                    0 => return self.trailers().await,
                    size => self.counted(size, &mut sink).await?,
                }
                assert_eq!(self.line().await?, "", "CRLF follows a chunk");
            },
        }
    }

    async fn counted(&mut self, mut left: usize, sink: &mut impl FnMut(&[u8])) -> Result<(), End> {
        while left > 0 {
            if !self.has_more().await {
                return Err(self.ended());
            }
            let len = left.min(self.inbox.len());
            sink(&self.inbox[..len]);
            self.inbox.advance(len);
            left -= len;
        }
        Ok(())
    }

    async fn trailers(&mut self) -> Result<Lines, End> {
        let mut trailers = Lines::new();
        loop {
            match self.line().await?.as_str() {
                "" => return Ok(trailers),
                line => trailers.push(field(line)),
            }
        }
    }

    async fn message(&mut self, framing: impl FnOnce(&Head) -> Framing) -> Result<Message, Cut> {
        let head = self.head().await?;
        let mut body = Vec::new();
        match self.content(framing(&head), |piece| body.extend_from_slice(piece)).await {
            Ok(trailers) => Ok(Message { head, body, trailers }),
            Err(end) => Err(Cut { end, head: Some(head), body }),
        }
    }
}
