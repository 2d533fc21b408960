//! What answers a request of its own, as the connection's task sees it.

use std::future::Future;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;

use crate::body::RequestBody;
use crate::error::HandlerError;

/// What a conversation is held with ([`converse_with`](crate::converse::converse_with)): it is waited for until it is ready,
/// and called once.
///
/// A closure and what it returns are moved whole whenever something is wrapped around them; this is called where it is, and
/// its future is made where it stays.
pub trait Callee {
    /// The answering.
    type Future: Future;
    /// The response's body.
    type Body: Body;

    /// Ready when it can be called. Not asked again after that, or after an error.
    ///
    /// # Errors
    /// The reason why it never will be.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Whether each request is to have an [`Interim`](crate::interim::Interim) among its extensions. Costs two allocations.
    /// Default: no.
    fn wants_interim(&self) -> bool {
        false
    }

    /// Begins to answer.
    fn call(self, request: Request<RequestBody>) -> Self::Future;

    /// What the answering came to, as a response.
    ///
    /// # Errors
    /// The reason why there is none.
    fn reply(output: <Self::Future as Future>::Output) -> Result<Response<Self::Body>, HandlerError>;
}

/// A closure that is called once.
pub(crate) struct Once<C>(pub(crate) C);

impl<C, F, B> Callee for Once<C>
where
    C: FnOnce(Request<RequestBody>) -> F,
    F: Future<Output = Result<Response<B>, HandlerError>>,
    B: Body,
{
    type Future = F;
    type Body = B;

    fn call(self, request: Request<RequestBody>) -> F {
        (self.0)(request)
    }

    fn reply(output: Result<Response<B>, HandlerError>) -> Result<Response<B>, HandlerError> {
        output
    }
}
