//! A connection's bytes: read as they come, written as they are.

use std::io;

use sheave_net::socket::{Liveness, Socket};
use tokio::net::TcpStream;

use super::request::{Body, MAX_HEAD_BYTES, MAX_LINE_BYTES};
use super::spec::Ending;

/// Read at a time.
const READ_BYTES: usize = 16 << 10;

/// Why no more can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoMore {
    /// The peer sent FIN.
    Fin,
    /// The peer sent RST, or the kernel gave up on it.
    Lost,
    /// What came is no request.
    Nonsense,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// Bytes that were read.
    pub(crate) received: u64,
    /// Bytes that were given to the kernel.
    pub(crate) sent: u64,
}

impl Wire {
    /// Takes a connection.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // A drip must not be held back until there is more.
        let _ = stream.set_nodelay(true);
        Self { stream, inbox: Vec::new(), received: 0, sent: 0 }
    }

    /// Waits until there is something to be read that was not taken yet.
    ///
    /// # Errors
    ///
    /// Nothing more comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no byte is lost.
    pub(crate) async fn has_more(&mut self) -> Result<(), NoMore> {
        if self.inbox.is_empty() { self.fill().await } else { Ok(()) }
    }

    async fn fill(&mut self) -> Result<(), NoMore> {
        loop {
            self.stream.readable().await.map_err(|_| NoMore::Lost)?;
            let mut piece = [0; READ_BYTES];
            match self.stream.try_read(&mut piece) {
                Ok(0) => return Err(NoMore::Fin),
                Ok(count) => {
                    self.inbox.extend_from_slice(&piece[..count]);
                    self.received += count as u64;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(NoMore::Lost),
            }
        }
    }

    /// Reads up to and with `end`.
    async fn until(&mut self, end: &[u8], max: usize) -> Result<Vec<u8>, NoMore> {
        let mut looked_at = 0;
        loop {
            let from = usize::saturating_sub(looked_at, end.len());
            if let Some(place) = self.inbox[from..].windows(end.len()).position(|window| window == end) {
                let rest = self.inbox.split_off(from + place + end.len());
                return Ok(std::mem::replace(&mut self.inbox, rest));
            }
            looked_at = self.inbox.len();
            if looked_at > max {
                return Err(NoMore::Nonsense);
            }
            self.fill().await?;
        }
    }

    /// Reads a head, with its empty line.
    pub(crate) async fn head(&mut self) -> Result<Vec<u8>, NoMore> {
        self.until(b"\r\n\r\n", MAX_HEAD_BYTES).await
    }

    /// Reads so many bytes.
    pub(crate) async fn exactly(&mut self, len: usize) -> Result<Vec<u8>, NoMore> {
        while self.inbox.len() < len {
            self.fill().await?;
        }
        let rest = self.inbox.split_off(len);
        Ok(std::mem::replace(&mut self.inbox, rest))
    }

    /// Reads a body and throws it away.
    pub(crate) async fn discard(&mut self, body: Body) -> Result<(), NoMore> {
        match body {
            Body::Length(len) => self.discard_bytes(len).await,
            Body::Chunked => loop {
                let line = self.until(b"\r\n", MAX_LINE_BYTES).await?;
                let size = std::str::from_utf8(&line).ok().and_then(|line| line.trim_end().split(';').next());
                match size.and_then(|size| u64::from_str_radix(size.trim(), 16).ok()) {
                    None => return Err(NoMore::Nonsense),
                    Some(0) => {
                        while self.until(b"\r\n", MAX_LINE_BYTES).await? != b"\r\n" {}
                        return Ok(());
                    }
                    Some(size) => self.discard_bytes(size.saturating_add(2)).await?,
                }
            },
        }
    }

    async fn discard_bytes(&mut self, mut left: u64) -> Result<(), NoMore> {
        loop {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.inbox.len());
            self.inbox.drain(..here);
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Reads and throws away until nothing more comes.
    pub(crate) async fn discard_all(&mut self) -> NoMore {
        loop {
            self.inbox.clear();
            if let Err(end) = self.fill().await {
                return end;
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// The peer is gone.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), NoMore> {
        while !bytes.is_empty() {
            self.stream.writable().await.map_err(|_| NoMore::Lost)?;
            match self.stream.try_write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.sent += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(NoMore::Lost),
            }
        }
        Ok(())
    }

    /// Whether the kernel holds bytes that were not read.
    pub(crate) fn has_unread(&mut self) -> bool {
        !self.inbox.is_empty() || self.stream.probe() == Liveness::Unasked
    }

    /// Sends FIN, and goes on reading.
    pub(crate) fn half_close(&mut self) {
        // Fails only where the connection is gone, as the next read says.
        let _ = self.stream.shutdown_write();
    }

    /// Closes. Where bytes are unread, the kernel sends RST whatever is asked for.
    pub(crate) fn close(self, ending: Ending) {
        if ending == Ending::Reset {
            self.stream.set_abortive_close();
        }
    }
}
