//! A client: requests by URL, over connections that are kept and looked after.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Uri};
use http_body::Body;
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::retry::Budget;
use sheave_net::clock::Clock;
use sheave_net::dial::Connect;
use tokio::task::AbortHandle;

use crate::builder::{ClientBuilder, Settings, SystemConnector};
use crate::config::ClientConfig;
use crate::content::{BoxError, Content};
use crate::failure::Error;
use crate::origins::Origins;
use crate::pool::Pool;
use crate::request::RequestBuilder;
use crate::response::Response;
use crate::stats::{AddressState, PoolStats};

/// A client. Cheap to clone; clones share their connections, which end with the last of them.
///
/// It works on any tokio runtime that has I/O and time, and belongs to the one that its first request is made on: when that
/// ends, its connections do, and the next request on another begins anew. A task looks after parked connections, and one
/// after each name that is asked for; they end with the last clone.
pub struct Client<C: Connect + 'static = SystemConnector>(Arc<Inner<C>>);

/// What clones share.
pub(crate) struct Inner<C: Connect + 'static> {
    pub(crate) pool: Arc<Pool<C>>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) budget: Mutex<Budget>,
    is_looked_after: Arc<AtomicBool>,
    caretaker: Mutex<Option<AbortHandle>>,
}

impl Client {
    /// A client with defaults.
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults can be built")
    }

    /// A client in the making.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Connect + 'static> Client<C> {
    pub(crate) fn assemble(
        connector: C,
        config: ClientConfig,
        settings: Settings,
        origins: Origins,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Self {
        let budget = Mutex::new(Budget::new(&settings.retry, clock.now()));
        Self(Arc::new(Inner {
            pool: Arc::new(Pool::new(connector, config, clock, observer.clone())),
            origins: Arc::new(origins),
            settings,
            clock,
            observer,
            budget,
            is_looked_after: Arc::default(),
            caretaker: Mutex::default(),
        }))
    }

    /// A GET of `url`.
    pub fn get<U: TryInto<Uri>>(&self, url: U) -> RequestBuilder<C> {
        self.request(Method::GET, url)
    }

    /// A HEAD of `url`.
    pub fn head<U: TryInto<Uri>>(&self, url: U) -> RequestBuilder<C> {
        self.request(Method::HEAD, url)
    }

    /// A POST to `url`.
    pub fn post<U: TryInto<Uri>>(&self, url: U) -> RequestBuilder<C> {
        self.request(Method::POST, url)
    }

    /// A PUT to `url`.
    pub fn put<U: TryInto<Uri>>(&self, url: U) -> RequestBuilder<C> {
        self.request(Method::PUT, url)
    }

    /// A PATCH of `url`.
    pub fn patch<U: TryInto<Uri>>(&self, url: U) -> RequestBuilder<C> {
        self.request(Method::PATCH, url)
    }

    /// A DELETE of `url`.
    pub fn delete<U: TryInto<Uri>>(&self, url: U) -> RequestBuilder<C> {
        self.request(Method::DELETE, url)
    }

    /// A request of `method` for `url`: `http` or `https`, percent-encoded where it must be. A user's name and password in it
    /// become `Authorization`. What is wrong with it is said when it is sent.
    pub fn request<U: TryInto<Uri>>(&self, method: Method, url: U) -> RequestBuilder<C> {
        RequestBuilder::new(self.clone(), method, url)
    }

    /// A request out of the ecosystem's type, to add to it, or to send. Its URI is the URL; its version means nothing.
    pub fn request_http<B>(&self, request: Request<B>) -> RequestBuilder<C>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        RequestBuilder::of(self.clone(), parts, Content::of(body))
    }

    /// Sends a request out of the ecosystem's type.
    ///
    /// # Errors
    /// As for [`RequestBuilder::send`].
    ///
    /// # Cancel safety
    /// As for [`RequestBuilder::send`].
    pub async fn execute<B>(&self, request: Request<B>) -> Result<Response<C::Socket>, Error>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.request_http(request).send().await
    }

    /// The pool's numbers of now.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.pool.stats()
    }

    /// What there is of each address, and what is known of it.
    pub fn addresses(&self) -> Vec<AddressState> {
        self.0.pool.addresses()
    }

    /// Closes all parked connections. Those that are busy are parked as ever when they are free.
    pub fn close_idle_connections(&self) {
        self.0.pool.clear();
    }

    pub(crate) fn inner(&self) -> &Arc<Inner<C>> {
        &self.0
    }
}

impl<C: Connect + 'static> Inner<C> {
    /// Sees to it that somebody looks after the pool.
    pub(crate) fn look_after(&self) {
        if self.is_looked_after.load(Ordering::Relaxed) || self.is_looked_after.swap(true, Ordering::AcqRel) {
            return;
        }
        let caretaker = Caretaker {
            pool: self.pool.clone(),
            origins: self.origins.clone(),
            is_looked_after: self.is_looked_after.clone(),
        };
        let task = tokio::spawn(async move { caretaker.pool.sweep().await });
        *self.caretaker.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }
}

impl<C: Connect + 'static> Drop for Inner<C> {
    fn drop(&mut self) {
        if let Some(task) = self.caretaker.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.pool.clear();
        self.origins.clear();
    }
}

/// What the task that looks after a pool holds. Dropped with its runtime, connections of that are of no more use.
struct Caretaker<C: Connect + 'static> {
    pool: Arc<Pool<C>>,
    origins: Arc<Origins>,
    is_looked_after: Arc<AtomicBool>,
}

impl<C: Connect + 'static> Drop for Caretaker<C> {
    fn drop(&mut self) {
        self.pool.clear();
        self.origins.clear();
        self.is_looked_after.store(false, Ordering::Release);
    }
}

impl<C: Connect + 'static> Clone for Client<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Connect + 'static> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pool", &self.pool_stats()).finish_non_exhaustive()
    }
}
