//! hyper's type for an upgrade, for services that want no other.
//!
//! Nobody but hyper can make a `hyper::upgrade::OnUpgrade`. So one of its connections is made to serve a request of two
//! lines over a stream that goes nowhere: that request has one. When our own connection has switched, hyper's is told to
//! answer 101, and what it then takes for its stream is ours.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use sheave_server::body::RequestBody;
use sheave_server::upgrade::{OnUpgrade, Protocol, Upgraded};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::handler::ServiceHandler;
use crate::serve::Serve;

/// The smallest request that hyper may upgrade.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n";

/// Bytes that are read at a time.
const READ_BYTES: usize = 8 * 1024;

impl<S> ServiceHandler<S> {
    /// Gives requests that offer to switch to another protocol hyper's `OnUpgrade` in the place of our own: what axum's
    /// `WebSocketUpgrade` looks for, over HTTP/1, and over HTTP/2 where the server
    /// [lets clients ask](sheave_server::builder::ServerBuilder::allows_extended_connect) (RFC 8441). Costs a task for each such request, until its response or its switch.
    #[must_use]
    pub fn with_hyper_upgrades(self) -> Self {
        self.with_request(offer)
    }
}

impl<L, S> Serve<L, S> {
    /// Gives requests hyper's `OnUpgrade`; see [`ServiceHandler::with_hyper_upgrades`].
    pub fn with_hyper_upgrades(self) -> Self {
        self.map_handler(ServiceHandler::with_hyper_upgrades)
    }
}

/// Puts hyper's `OnUpgrade` in the place of ours, where a request has one.
fn offer(request: &mut Request<RequestBody>) {
    let Some(ours) = request.extensions_mut().remove::<OnUpgrade>() else { return };
    let (found, mut finding) = oneshot::channel();
    let (switch, switched) = oneshot::channel();
    let (give, given) = oneshot::channel();
    let answer = Answer(Mutex::new(Some((found, switched))));
    let stream = Stream::Asking { request: REQUEST, given };
    let mut connection = Box::pin(http1::Builder::new().serve_connection(stream, answer).with_upgrades());
    // It has the whole request at hand, so that once is enough.
    let _ = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Ok(theirs) = finding.try_recv() else { return };
    request.extensions_mut().insert(theirs);
    // Over HTTP/2 it says what is to be spoken (RFC 8441 §4), and axum looks for it in hyper's type.
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        let protocol = hyper::ext::Protocol::from(protocol.as_str());
        request.extensions_mut().insert(protocol);
    }
    tokio::spawn(async move {
        let Ok(upgraded) = ours.await else { return };
        if give.send(upgraded).is_ok() && switch.send(()).is_ok() {
            // It ends with the upgrade, and has given its stream away by then.
            let _ = connection.await;
        }
    });
}

/// Hands out the `OnUpgrade` of the one request that it is asked, and answers 101 when it is told to.
struct Answer(Mutex<Option<(oneshot::Sender<hyper::upgrade::OnUpgrade>, oneshot::Receiver<()>)>>);

impl Service<Request<Incoming>> for Answer {
    type Response = Response<RequestBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let once = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            if let Some((found, switched)) = once {
                let _ = found.send(hyper::upgrade::on(&mut request));
                let _ = switched.await;
            }
            let mut response = Response::new(RequestBody::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("a"));
            Ok(response)
        })
    }
}

/// What hyper takes for its connection.
///
/// ```text
///   Asking: gives the request, then nothing ──(the 101 is written, and goes nowhere)──► Switched: our connection
/// ```
enum Stream {
    Asking { request: &'static [u8], given: oneshot::Receiver<Upgraded> },
    Switched(Upgraded),
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Asking { request, .. } => {
                let (now, later) = request.split_at(request.len().min(buffer.remaining()));
                if now.is_empty() {
                    // Whoever tells the service to answer wakes hyper, too.
                    return Poll::Pending;
                }
                buffer.put_slice(now);
                *request = later;
                Poll::Ready(Ok(()))
            }
            Self::Switched(upgraded) => {
                let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
                let len = bytes.len().min(buffer.remaining());
                let mut read = ReadBuf::uninit(&mut bytes[..len]);
                ready!(Pin::new(upgraded).poll_read(cx, &mut read))?;
                buffer.put_slice(read.filled());
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        match it {
            // hyper writes the head of its 101 at once, and when all of it is written, gives the stream away.
            Self::Asking { given, .. } => match given.try_recv() {
                Ok(upgraded) => {
                    *it = Self::Switched(upgraded);
                    Poll::Ready(Ok(bytes.len()))
                }
                Err(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            },
            Self::Switched(upgraded) => Pin::new(upgraded).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Asking { .. } => Poll::Ready(Ok(())),
            Self::Switched(upgraded) => Pin::new(upgraded).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Asking { .. } => Poll::Ready(Ok(())),
            Self::Switched(upgraded) => Pin::new(upgraded).poll_shutdown(cx),
        }
    }
}
