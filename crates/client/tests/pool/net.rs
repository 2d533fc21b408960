//! A network that does as it is told: sockets that are closed at a given age, and addresses that refuse.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use sheave_net::dial::Connect;
use sheave_net::endpoint::Endpoint;
use sheave_net::socket::{Liveness, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

/// What an address does.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Whether it accepts connections.
    pub listens: bool,
    /// How long its handshake takes.
    pub handshake: Duration,
    /// How long it keeps an idle connection.
    pub keep_alive: Duration,
    /// Lines that it adds to its responses, each with its CRLF.
    pub fields: &'static str,
}

impl Default for Origin {
    fn default() -> Self {
        let forever = Duration::from_secs(1_000_000);
        Self { listens: true, handshake: Duration::ZERO, keep_alive: forever, fields: "" }
    }
}

#[derive(Default)]
struct State {
    origins: Mutex<HashMap<SocketAddr, Origin>>,
    attempts: AtomicUsize,
    live: AtomicUsize,
    most: AtomicUsize,
}

/// The network. Clones are the same.
#[derive(Clone, Default)]
pub struct Net(Arc<State>);

impl Net {
    /// An address does so from now on; connections that exist, too.
    pub fn set(&self, address: SocketAddr, origin: Origin) {
        self.0.origins.lock().unwrap().insert(address, origin);
    }

    fn origin(&self, address: SocketAddr) -> Origin {
        self.0.origins.lock().unwrap().get(&address).cloned().unwrap_or_default()
    }

    /// Attempts to connect.
    pub fn attempts(&self) -> usize {
        self.0.attempts.load(Ordering::Relaxed)
    }

    /// Sockets that exist, and the most that ever existed at once.
    pub fn live(&self) -> (usize, usize) {
        (self.0.live.load(Ordering::Relaxed), self.0.most.load(Ordering::Relaxed))
    }
}

impl Connect for Net {
    type Socket = Wire;

    async fn connect(&self, endpoint: &Endpoint) -> Result<Wire, IoFault> {
        let address = endpoint.address();
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        let origin = self.origin(address);
        if !origin.handshake.is_zero() {
            sleep(origin.handshake).await;
        }
        if !self.origin(address).listens {
            return Err(IoFault { op: Op::Connect, errno: Errno::ECONNREFUSED });
        }
        let live = self.0.live.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(live, Ordering::Relaxed);
        Ok(Wire { net: self.clone(), address, idle_since: Instant::now(), owes: false })
    }
}

/// Our end of a connection.
pub struct Wire {
    net: Net,
    address: SocketAddr,
    idle_since: Instant,
    owes: bool,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !std::mem::take(&mut self.owes) {
            return Poll::Pending;
        }
        let fields = self.net.origin(self.address).fields;
        into.put_slice(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n").as_bytes());
        self.idle_since = Instant::now();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.owes = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Wire {
    fn probe(&mut self) -> Liveness {
        let is_over = self.idle_since.elapsed() >= self.net.origin(self.address).keep_alive;
        if is_over { Liveness::Closed } else { Liveness::Alive }
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_abortive_close(&self) {}

    fn peer(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.net.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}
