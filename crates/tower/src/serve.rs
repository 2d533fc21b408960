//! A service on a listener, in the manner of `axum::serve`.

use std::fmt;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use http::{Request, Response};
use http_body::Body;
use sheave_lifecycle::drain::DrainReport;
use sheave_net::into_listener::IntoListener;
use sheave_net::listen::Listener;
use sheave_server::body::RequestBody;
use sheave_server::builder::{ServeError, ServerBuilder};
use sheave_server::connection_info::ConnectionInfo;
use sheave_server::reply::BoxError;
use tower_service::Service;

use crate::handler::ServiceHandler;

/// Serves `service` on `listener`: a listening socket of tokio or the standard library, TCP or Unix, or any
/// [`Listener`].
///
/// What comes back is a future once it is awaited, and does nothing before. Unlike with axum, it gives the drain's report;
/// without [`Serve::with_graceful_shutdown`] it never does. A drain goes by its plan: exchanges that are under way have 30
/// seconds, unless [`Serve::configure`] says otherwise.
pub const fn serve<L, S>(listener: L, service: S) -> Serve<L, S> {
    Serve { listener, handler: ServiceHandler::new(service), configure: None, shutdown: None }
}

/// A service on a listener, to be awaited.
#[must_use = "it serves nobody before it is awaited"]
pub struct Serve<L, S> {
    listener: L,
    handler: ServiceHandler<S>,
    configure: Option<ServerBuilder>,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<L, S> Serve<L, S> {
    /// Drains when `signal` is ready: idle connections are closed after a quiet window, exchanges that are under way are
    /// finished, and nobody new is accepted.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }

    /// Every knob of the server:
    /// `.configure(|server| server.idle_timeout(Duration::from_secs(20)).max_connections(1000))`.
    pub fn configure(mut self, configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        self.configure = Some(configure(self.configure.unwrap_or_default()));
        self
    }

    /// Gives each request the client's address; see [`ServiceHandler::with_connect_info`].
    pub fn with_connect_info<T>(self, info: impl Fn(SocketAddr) -> T + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.map_handler(|handler| handler.with_connect_info(info))
    }

    /// Gives each request an extension; see [`ServiceHandler::with_extension`].
    pub fn with_extension<T>(self, extension: impl Fn(&ConnectionInfo) -> Option<T> + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.map_handler(|handler| handler.with_extension(extension))
    }

    /// Gives each request a way to send interim responses; see [`ServiceHandler::with_interim`].
    pub fn with_interim(self) -> Self {
        self.map_handler(ServiceHandler::with_interim)
    }

    /// Whatever else a [`ServiceHandler`] can do.
    pub fn map_handler(self, map: impl FnOnce(ServiceHandler<S>) -> ServiceHandler<S>) -> Self {
        Self { handler: map(self.handler), ..self }
    }
}

impl<L: fmt::Debug, S> fmt::Debug for Serve<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl<L, S, B> IntoFuture for Serve<L, S>
where
    L: IntoListener + Send + 'static,
    <L::Listener as Listener>::Socket: 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<DrainReport, ServeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let server = self.configure.unwrap_or_default().build(self.handler)?;
            let listener = self.listener.into_listener().map_err(ServeError::Listen)?;
            let mut signal = self.shutdown.unwrap_or_else(|| Box::pin(pending()));
            let mut serving = pin!(server.serve(listener));
            let mut is_draining = false;
            let report = poll_fn(|cx| {
                if !is_draining && signal.as_mut().poll(cx).is_ready() {
                    is_draining = true;
                    server.drain();
                }
                serving.as_mut().poll(cx)
            });
            Ok(report.await)
        })
    }
}
