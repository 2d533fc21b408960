//! How scripts use a socket: they write what they have, and read whatever comes, at the same time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sheave_net::socket::Socket;
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A script's end of a connection, and what it has received there.
pub(crate) struct Talk {
    socket: SimSocket,
    /// Said and not written yet.
    unsent: Vec<u8>,
    pub(crate) received: Vec<u8>,
    /// Nothing more will be received: FIN, RST, or a fault that closed the socket.
    pub(crate) has_ended: bool,
    /// Nothing more can be written.
    pub(crate) is_mute: bool,
}

impl Talk {
    pub(crate) fn new(socket: SimSocket) -> Self {
        Self { socket, unsent: Vec::new(), received: Vec::new(), has_ended: false, is_mute: false }
    }

    /// Says `bytes`, and reads until `is_enough`, at the end at the latest.
    ///
    /// # Cancel safety
    /// What was said and not written is written by the next call.
    pub(crate) async fn say(&mut self, bytes: &[u8], is_enough: impl Fn(&[u8]) -> bool) {
        self.unsent.extend_from_slice(bytes);
        poll_fn(|cx| {
            // Whether all is written does not matter to whoever has heard enough.
            let _ = self.poll_write(cx);
            while !self.has_ended && !is_enough(&self.received) {
                if self.poll_read(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Says `bytes`, and reads what comes until all is written, or nothing more can be.
    ///
    /// # Cancel safety
    /// As for [`Self::say`].
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        poll_fn(|cx| {
            while !self.has_ended && self.poll_read(cx).is_ready() {}
            self.poll_write(cx)
        })
        .await;
    }

    /// Reads until the other side ends.
    pub(crate) async fn listen_to_the_end(&mut self) {
        self.say(&[], |_| false).await;
    }

    /// Sends FIN.
    pub(crate) fn shut(&mut self) {
        self.is_mute = true;
        // Fails only when the connection is over.
        let _ = self.socket.shutdown_write();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.unsent.is_empty() && !self.is_mute {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent)) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(_) => self.is_mute = true,
            }
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read: Poll<io::Result<()>> = Pin::new(&mut self.socket).poll_read(cx, &mut buffer);
        read.map(|read| {
            self.has_ended = read.is_err() || buffer.filled().is_empty();
            self.received.extend_from_slice(buffer.filled());
        })
    }
}
