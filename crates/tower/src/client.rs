//! The client as a tower service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use sheave_client::builder::SystemConnector;
use sheave_client::client::Client;
use sheave_client::content::BoxError;
use sheave_client::failure::Error;
use sheave_client::response_body::ResponseBody;
use sheave_net::dial::Connect;
use tower_service::Service;

/// A [`Client`] as a service of requests, so that tower's layers stack on it. Cheap to clone.
///
/// It is always ready: how many requests wait for a connection, and for how long, is the client's to bound
/// (`max_conns_per_host`, `max_queue_per_host`, `queue_timeout`). It costs a box for each request. A call that is dropped is
/// given up as [`send`](sheave_client::request::RequestBuilder::send) is, so that a timeout layer leaves nothing behind.
///
/// ```no_run
/// use std::time::Duration;
///
/// use http_body_util::Empty;
/// use sheave_client::client::Client;
/// use sheave_tower::client::ClientService;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # async fn example() -> Result<(), tower::BoxError> {
/// let service = ServiceBuilder::new()
///     .concurrency_limit(100)
///     .timeout(Duration::from_secs(10))
///     .service(ClientService::new(Client::new()));
/// let request = http::Request::get("http://127.0.0.1:9000/").body(Empty::<bytes::Bytes>::new())?;
/// let response = service.oneshot(request).await?;
/// println!("{} {}", response.status(), response.into_body().bytes(1024).await?.len());
/// # Ok(())
/// # }
/// ```
///
/// A layer that sends requests again asks the error whether it may:
/// [`Error::is_safe_to_retry`]. The client does so itself already, unless it is told not to.
pub struct ClientService<C: Connect + 'static = SystemConnector>(Client<C>);

impl<C: Connect + 'static> ClientService<C> {
    /// `client` as a service.
    pub const fn new(client: Client<C>) -> Self {
        Self(client)
    }

    /// The client.
    pub const fn client(&self) -> &Client<C> {
        &self.0
    }
}

impl<C: Connect + 'static> Clone for ClientService<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Connect + 'static> fmt::Debug for ClientService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientService").field(&self.0).finish()
    }
}

impl<C: Connect + 'static> From<Client<C>> for ClientService<C> {
    fn from(client: Client<C>) -> Self {
        Self(client)
    }
}

impl<C, B> Service<Request<B>> for ClientService<C>
where
    C: Connect + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody<C::Socket>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let sent = self.0.request_http(request).send();
        Box::pin(async move { Ok(sent.await?.into_http()) })
    }
}
