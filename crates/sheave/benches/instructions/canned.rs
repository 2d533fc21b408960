//! Sockets without a kernel: a client that asks the same thing again and again, and an origin that answers the same.
//!
//! Each keeps whoever asks it waiting once for each message, as the kernel does, so that tasks sleep and wake as they do in
//! earnest.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use sheave_lifecycle::errno::IoFault;
use sheave_net::dial::Connect;
use sheave_net::endpoint::Endpoint;
use sheave_net::listen::{Accepted, Listener};
use sheave_net::socket::{Liveness, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Where the origin is said to be.
pub(crate) const ORIGIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);

/// Runs it as a worker of the binary does.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// What one side says, whenever the other has finished.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub(crate) says: &'static [u8],
    /// How the other side's message ends.
    pub(crate) hears: &'static [u8],
}

enum Turn {
    /// The other side speaks.
    Hears,
    /// It will say something the next time but one.
    Thinks,
    /// What is left to be said.
    Says(&'static [u8]),
}

/// One end of a connection whose other end is this program, too.
pub(crate) struct Canned {
    words: Words,
    /// How often it speaks at most; then it says FIN.
    left: u64,
    turn: Turn,
    waiting: Option<Waker>,
    /// Told when it is closed.
    closed: Option<oneshot::Sender<()>>,
}

impl Canned {
    /// A client that asks so often, then goes; and word of its end.
    pub(crate) fn client(words: Words, times: u64) -> (Self, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        (Self { words, left: times, turn: Turn::Thinks, waiting: None, closed: Some(tell) }, told)
    }

    fn origin(words: Words) -> Self {
        Self { words, left: u64::MAX, turn: Turn::Hears, waiting: None, closed: None }
    }

    fn hear(&mut self, last: &[u8]) {
        if last.ends_with(self.words.hears) {
            self.turn = Turn::Thinks;
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        if let Some(tell) = self.closed.take() {
            let _ = tell.send(());
        }
    }
}

impl AsyncRead for Canned {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.turn {
            Turn::Hears => {
                if self.waiting.as_ref().is_none_or(|waiting| !waiting.will_wake(cx.waker())) {
                    self.waiting = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Turn::Thinks => {
                self.turn = Turn::Says(self.words.says);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Turn::Says(_) if self.left == 0 => Poll::Ready(Ok(())),
            Turn::Says(words) => {
                let len = words.len().min(buffer.remaining());
                buffer.put_slice(&words[..len]);
                let rest = &words[len..];
                self.turn = if rest.is_empty() { Turn::Hears } else { Turn::Says(rest) };
                self.left -= u64::from(rest.is_empty());
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Canned {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.hear(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A chunked body's end is longer than the last of its slices.
        let mut last = [0; 8];
        for slice in &slices[slices.len().saturating_sub(3)..] {
            let tail = &slice[slice.len().saturating_sub(last.len())..];
            last.copy_within(tail.len().., 0);
            let from = last.len() - tail.len();
            last[from..].copy_from_slice(tail);
        }
        self.hear(&last);
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Canned {
    fn probe(&mut self) -> Liveness {
        Liveness::Alive
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_abortive_close(&self) {}

    fn peer(&self) -> Option<SocketAddr> {
        Some(ORIGIN)
    }

    fn local(&self) -> Option<SocketAddr> {
        Some(ORIGIN)
    }
}

/// Connects to an origin that says this.
pub(crate) struct ToOrigin(pub(crate) Words);

impl Connect for ToOrigin {
    type Socket = Canned;

    async fn connect(&self, _: &Endpoint) -> Result<Canned, IoFault> {
        Ok(Canned::origin(self.0))
    }
}

/// Accepts what it is given, one after the other, then nothing more.
pub(crate) struct Queue(pub(crate) Vec<Canned>);

impl Listener for Queue {
    type Socket = Canned;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Result<Accepted<Canned>, IoFault>> {
        match self.accept_now() {
            Ok(Some(accepted)) => Poll::Ready(Ok(accepted)),
            _ => Poll::Pending,
        }
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<Canned>>, IoFault> {
        Ok(self.0.pop().map(|socket| Accepted { socket, peer: Some(ORIGIN), local: Some(ORIGIN) }))
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        Ok(())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(ORIGIN)
    }
}
