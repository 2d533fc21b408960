//! A connection given to a service that speaks another protocol on it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Method;
use sheave_net::socket::Socket;
use sheave_proto::head::ResponseHead;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, copy_bidirectional};
use tokio::sync::oneshot;

use crate::error::HandlerError;
use crate::exchange::Exchange;

/// Bytes that are on their way between the connection and the service, each way.
const PIPE_BYTES: usize = 64 * 1024;

/// What the connection becomes, once the service has answered with a 101 that fits the request, or with a 2xx to CONNECT.
///
/// An `http::Request` that is made of an exchange has it among its extensions where the client offers to switch (RFC 9110
/// §7.8), or asks for a tunnel (§9.3.6). It is a future; clones are the same, and one of them gets the connection. Nothing
/// comes of it before the response has been returned: await it in a task of its own.
#[derive(Clone)]
pub struct OnUpgrade(Arc<Mutex<oneshot::Receiver<Upgraded>>>);

/// What a client of HTTP/2 asks to speak through its stream, such as `websocket`: `:protocol`, which CONNECT has there in the
/// place of `Upgrade`. RFC 8441 §4
///
/// An `http::Request` that is made of such an exchange has it among its extensions, beside [`OnUpgrade`]. A 200 accepts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol(Arc<str>);

impl Protocol {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Nothing came of it: the response was another one, or the connection failed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotUpgraded;

impl fmt::Display for NotUpgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection did not switch to another protocol")
    }
}

impl std::error::Error for NotUpgraded {}

impl Future for OnUpgrade {
    type Output = Result<Upgraded, NotUpgraded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *receiver).poll(cx).map_err(|_| NotUpgraded)
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnUpgrade").finish_non_exhaustive()
    }
}

/// A connection that has switched, as a stream of bytes that can go to another task.
///
/// The connection's own task goes on to see to deadlines and drains, and copies: where one of them ends the connection,
/// this ends. A shutdown sends our FIN; dropped, the connection is closed. Costs 64 KiB each way while bytes are under way;
/// [`Exchange::tunnel`] costs nothing, for handlers that can borrow.
#[derive(Debug)]
pub struct Upgraded(DuplexStream);

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The connection's side of an upgrade that may come.
pub(crate) struct Upgrading(oneshot::Sender<Upgraded>);

impl Upgrading {
    /// Both sides, if the request of `exchange` offers to switch or asks for a tunnel.
    pub(crate) fn of<S: Socket>(exchange: &Exchange<'_, S>) -> Option<(Self, OnUpgrade)> {
        if exchange.offered_protocols().is_none() && exchange.request().method() != Method::CONNECT {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        Some((Self(sender), OnUpgrade(Arc::new(Mutex::new(receiver)))))
    }

    /// Switches with `head`, and copies until both directions have ended.
    ///
    /// # Errors
    /// [`HandlerError::Misuse`] when the head does not fit the request, and a response is owed still;
    /// [`HandlerError::Failed`] when the service has kept no [`OnUpgrade`]; [`HandlerError::Client`].
    pub(crate) async fn switch<S: Socket>(
        self,
        exchange: &mut Exchange<'_, S>,
        mut head: Box<ResponseHead>,
    ) -> Result<(), HandlerError> {
        exchange.switch(&mut head)?;
        exchange.flush().await?;
        let (mut ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        if self.0.send(Upgraded(theirs)).is_err() {
            return Err(HandlerError::Failed("upgrade-not-taken"));
        }
        let mut tunnel = exchange.tunnel();
        match copy_bidirectional(&mut tunnel, &mut ours).await {
            Ok(_) => Ok(()),
            // The service let go of its side. Its own end has been passed on.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(_) => Err(HandlerError::Client),
        }
    }
}
