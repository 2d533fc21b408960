//! Handlers out of closures: for a first try, and for services that own their request.

use std::future::Future;
use std::marker::PhantomData;

use http::{Request, Response};
use sheave_net::socket::Socket;

use crate::body::RequestBody;
use crate::callee::Callee;
use crate::converse::converse_with;
use crate::error::HandlerError;
use crate::exchange::Exchange;
use crate::handler::Handler;
use crate::reply::IntoReply;

/// A handler out of a closure that owns its request and returns whatever is [`IntoReply`].
///
/// The closure is called once for each request. What it captures it clones for the future that it returns, as for any
/// `Fn` that returns a future; `async |request| …` works where nothing is captured.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use http::Request;
/// use sheave_server::body::RequestBody;
/// use sheave_server::service::service_fn;
///
/// let hello = service_fn(async |_: Request<RequestBody>| "hello, world");
///
/// let count = Arc::new(AtomicU64::new(0));
/// let counting = service_fn(move |request: Request<RequestBody>| {
///     let count = count.clone();
///     async move { format!("{} is request {}", request.uri(), count.fetch_add(1, Ordering::Relaxed)) }
/// });
/// # fn is_handler<H: sheave_server::handler::Handler<tokio::net::TcpStream>>(_: &H) {}
/// # is_handler(&hello);
/// # is_handler(&counting);
/// ```
pub const fn service_fn<F, Fut>(service: F) -> ServiceFn<F>
where
    F: Fn(Request<RequestBody>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply> + Send,
{
    ServiceFn { service, wants_interim: false }
}

/// What [`service_fn`] makes.
#[derive(Clone, Copy, Debug)]
pub struct ServiceFn<F> {
    service: F,
    wants_interim: bool,
}

impl<F> ServiceFn<F> {
    /// Gives each request an [`Interim`](crate::interim::Interim) among its extensions, to send 103 and its like ahead of the
    /// response. Costs each request two allocations.
    #[must_use]
    pub fn with_interim(self) -> Self {
        Self { wants_interim: true, ..self }
    }
}

impl<S, F, Fut> Handler<S> for ServiceFn<F>
where
    S: Socket,
    F: Fn(Request<RequestBody>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply> + Send,
{
    // As it is: a future around it would be moved, and have a place for it.
    fn handle(&self, exchange: &mut Exchange<'_, S>) -> impl Future<Output = Result<(), HandlerError>> + Send {
        converse_with(exchange, Closure(self))
    }
}

/// A closure that is called for one exchange.
struct Closure<'f, F>(&'f ServiceFn<F>);

impl<F, Fut> Callee for Closure<'_, F>
where
    F: Fn(Request<RequestBody>) -> Fut,
    Fut: Future<Output: IntoReply>,
{
    type Future = Fut;
    type Body = <Fut::Output as IntoReply>::Body;

    fn wants_interim(&self) -> bool {
        self.0.wants_interim
    }

    fn call(self, request: Request<RequestBody>) -> Fut {
        (self.0.service)(request)
    }

    fn reply(output: Fut::Output) -> Result<Response<Self::Body>, HandlerError> {
        Ok(output.into_reply())
    }
}

/// A handler out of a function of the exchange itself: no allocation, no `HeaderMap`, all that an [`Exchange`] can do.
///
/// An `async fn` and an `async |exchange: &mut Exchange<'_, …>| …` that captures nothing will do. Rust cannot say yet that
/// the future of an async closure which borrows from its captures is `Send`; so what the function needs beside the exchange
/// is given as `state`, which it gets by reference.
///
/// ```
/// use sheave_net::socket::Socket;
/// use sheave_proto::head::ResponseHead;
/// use sheave_server::error::HandlerError;
/// use sheave_server::exchange::Exchange;
/// use sheave_server::service::exchange_fn;
/// use tokio::net::TcpStream;
///
/// struct Greeting(&'static [u8]);
///
/// async fn greet<S: Socket>(greeting: &Greeting, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
///     exchange.respond(&mut ResponseHead::new(http::StatusCode::OK), greeting.0).await
/// }
///
/// let named = exchange_fn(Greeting(b"hello"), greet::<TcpStream>);
/// let closure = exchange_fn(Greeting(b"hi"), async |greeting: &Greeting, exchange: &mut Exchange<'_, TcpStream>| {
///     exchange.respond(&mut ResponseHead::new(http::StatusCode::OK), greeting.0).await
/// });
/// # fn is_handler<H: sheave_server::handler::Handler<TcpStream>>(_: &H) {}
/// # is_handler(&named);
/// # is_handler(&closure);
/// ```
pub const fn exchange_fn<S, T, F>(state: T, function: F) -> ExchangeFn<S, T, F>
where
    S: Socket,
    T: Send + Sync + 'static,
    F: for<'a, 'c> Respond<&'a T, &'a mut Exchange<'c, S>>,
{
    ExchangeFn { state, function, of: PhantomData }
}

/// What [`exchange_fn`] makes.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeFn<S, T, F> {
    state: T,
    function: F,
    of: PhantomData<fn(S)>,
}

impl<S, T, F> Handler<S> for ExchangeFn<S, T, F>
where
    S: Socket + 'static,
    T: Send + Sync + 'static,
    F: for<'a, 'c> Respond<&'a T, &'a mut Exchange<'c, S>>,
{
    async fn handle(&self, exchange: &mut Exchange<'_, S>) -> Result<(), HandlerError> {
        self.function.respond(&self.state, exchange).await
    }
}

/// A function of a state and an exchange whose future is `Send`, whatever lifetimes they have. Every fitting `Fn` is one;
/// there is nothing to implement.
pub trait Respond<T, E>: Send + Sync + 'static {
    /// The answering.
    type Future: Future<Output = Result<(), HandlerError>> + Send;

    /// Calls the function.
    fn respond(&self, state: T, exchange: E) -> Self::Future;
}

impl<T, E, F, Fut> Respond<T, E> for F
where
    F: Fn(T, E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send,
{
    type Future = Fut;

    fn respond(&self, state: T, exchange: E) -> Fut {
        self(state, exchange)
    }
}
