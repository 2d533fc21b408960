//! A tower service as a handler.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use sheave_net::socket::Socket;
use sheave_server::body::RequestBody;
use sheave_server::callee::Callee;
use sheave_server::connection_info::ConnectionInfo;
use sheave_server::converse::converse_with;
use sheave_server::error::HandlerError;
use sheave_server::exchange::Exchange;
use sheave_server::handler::Handler;
use sheave_server::reply::BoxError;
use tower_service::Service;

/// A tower service as a handler of any server.
///
/// The service is cloned for each request, and called once it is ready. An error of it becomes a 500, or cuts off the
/// response that is under way; `service-failed`, `service-not-ready` and `body-failed` are the labels that are counted.
/// What it says is not sent, nor logged here: a layer around the service is the place for both.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use sheave_server::server::Server;
/// use sheave_tower::handler::ServiceHandler;
///
/// let app = Router::new().route("/", get(async || "hello"));
/// let server = Server::builder().max_connections(1000).build(ServiceHandler::new(app))?;
/// # let _: Server<ServiceHandler<Router>> = server;
/// # Ok::<(), sheave_server::builder::BuildError>(())
/// ```
#[derive(Clone)]
pub struct ServiceHandler<S> {
    service: S,
    extend: Vec<Extend>,
    wants_interim: bool,
}

/// Adds something to a request before the service sees it.
type Extend = Arc<dyn Fn(&mut Request<RequestBody>) + Send + Sync>;

impl<S> ServiceHandler<S> {
    /// `service` as a handler.
    pub const fn new(service: S) -> Self {
        Self { service, extend: Vec::new(), wants_interim: false }
    }

    /// Gives each request the client's address in a form that the service knows, such as axum's `ConnectInfo`:
    /// `.with_connect_info(ConnectInfo)`. Clients that have no address, as on a Unix socket, get none.
    #[must_use]
    pub fn with_connect_info<T>(self, info: impl Fn(SocketAddr) -> T + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.with_extension(move |connection| connection.peer.map(&info))
    }

    /// Gives each request an extension made of what is known of its connection; none for `None`. Called for each request.
    #[must_use]
    pub fn with_extension<T>(self, extension: impl Fn(&ConnectionInfo) -> Option<T> + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
    {
        self.with_request(move |request| {
            if let Some(extension) = request.extensions().get().and_then(&extension) {
                request.extensions_mut().insert(extension);
            }
        })
    }

    /// Gives each request an [`Interim`](sheave_server::interim::Interim) among its extensions, to send 103 and its like ahead of
    /// the response. Costs each request two allocations.
    #[must_use]
    pub fn with_interim(self) -> Self {
        Self { wants_interim: true, ..self }
    }

    /// Does something to each request before the service sees it.
    #[must_use]
    pub fn with_request(mut self, edit: impl Fn(&mut Request<RequestBody>) + Send + Sync + 'static) -> Self {
        self.extend.push(Arc::new(edit));
        self
    }
}

impl<S: fmt::Debug> fmt::Debug for ServiceHandler<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHandler").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<K, S, B> Handler<K> for ServiceHandler<S>
where
    K: Socket,
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send,
{
    async fn handle(&self, exchange: &mut Exchange<'_, K>) -> Result<(), HandlerError> {
        converse_with(exchange, Calling { service: self.service.clone(), handler: self }).await
    }
}

/// A clone of the service, for one exchange.
struct Calling<'h, S> {
    service: S,
    handler: &'h ServiceHandler<S>,
}

impl<S, B> Callee for Calling<'_, S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    B: Body,
{
    type Future = S::Future;
    type Body = B;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.service.poll_ready(cx).map_err(|_| HandlerError::Failed("service-not-ready"))
    }

    fn wants_interim(&self) -> bool {
        self.handler.wants_interim
    }

    fn call(mut self, mut request: Request<RequestBody>) -> S::Future {
        self.handler.extend.iter().for_each(|extend| extend(&mut request));
        self.service.call(request)
    }

    fn reply(output: Result<Response<B>, S::Error>) -> Result<Response<B>, HandlerError> {
        output.map_err(|_| HandlerError::Failed("service-failed"))
    }
}
