//! Services written for hyper's own trait.

use std::task::{Context, Poll};

use http::Request;
use sheave_server::body::RequestBody;
use tower_service::Service;

/// A service of hyper's trait as one of tower's.
///
/// It must take any body, or [`RequestBody`]: hyper's own `Incoming` can be made by nobody but hyper. Its clones are what
/// each request is given to: wrap it in an [`Arc`](std::sync::Arc) if it cannot be cloned.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{Request, Response};
/// use sheave_server::body::RequestBody;
/// use sheave_tower::handler::ServiceHandler;
/// use sheave_tower::hyper_service::HyperService;
///
/// let service = hyper::service::service_fn(async |request: Request<RequestBody>| {
///     Ok::<_, Infallible>(Response::new(request.into_body()))
/// });
/// let echo = ServiceHandler::new(HyperService(service));
/// # fn is_handler<H: sheave_server::handler::Handler<tokio::net::TcpStream>>(_: &H) {}
/// # is_handler(&echo);
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct HyperService<S>(
    /// The service.
    pub S,
);

impl<S> Service<Request<RequestBody>> for HyperService<S>
where
    S: hyper::service::Service<Request<RequestBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> S::Future {
        self.0.call(request)
    }
}
