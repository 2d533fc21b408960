//! A request in the making.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};
use sheave_net::dial::Connect;
use sheave_net::endpoint::Protocols;

use crate::builder::SystemConnector;
use crate::client::Client;
use crate::content::Content;
use crate::failure::{Error, ErrorKind};
use crate::informational::OnInformational;
use crate::response::Response;
use crate::sending::Outgoing;
use crate::url::{UrlFault, base64, with_query, without_credentials};

/// A request in the making. What is wrong with it is said by [`Self::send`].
#[must_use = "nothing is sent before `send`"]
pub struct RequestBuilder<C: Connect + 'static = SystemConnector> {
    client: Client<C>,
    method: Method,
    url: Result<Uri, ErrorKind>,
    headers: HeaderMap,
    content: Content,
    timeout: Option<Duration>,
    protocols: Protocols,
    expects_continue: bool,
    on_informational: Option<OnInformational>,
    wrong: Option<ErrorKind>,
}

impl<C: Connect + 'static> RequestBuilder<C> {
    pub(crate) fn new<U: TryInto<Uri>>(client: Client<C>, method: Method, url: U) -> Self {
        let (url, credentials) = match url.try_into() {
            Ok(url) => {
                let (url, credentials) = without_credentials(url);
                (Ok(url), credentials)
            }
            Err(_) => (Err(ErrorKind::Url(UrlFault::Malformed)), None),
        };
        let settings = &client.inner().settings;
        let (timeout, protocols) = (settings.timeout, settings.protocols);
        let request = Self {
            method,
            url,
            headers: HeaderMap::new(),
            content: Content::empty(),
            timeout,
            protocols,
            expects_continue: false,
            on_informational: None,
            wrong: None,
            client,
        };
        match credentials {
            Some((user, password)) => request.authorized_by(&user, Some(&password)),
            None => request,
        }
    }

    pub(crate) fn of(client: Client<C>, parts: Parts, content: Content) -> Self {
        let request = Self::new(client, parts.method, parts.uri);
        request.headers(parts.headers).body(content)
    }

    /// A header, beside others of its name.
    pub fn header<K, V>(mut self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        let wrong = |error: http::Error| ErrorKind::Request(Box::new(error));
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            (Err(error), _) => self.wrong = Some(wrong(error.into())),
            (_, Err(error)) => self.wrong = Some(wrong(error.into())),
        }
        self
    }

    /// Headers, in place of others of their names.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        headers.keys().for_each(|name| {
            self.headers.remove(name);
        });
        let mut last = None;
        for (name, value) in headers {
            // A name is given with the first of its values.
            last = name.or(last);
            if let Some(name) = &last {
                self.headers.append(name.clone(), value);
            }
        }
        self
    }

    /// Pairs that are added to the URL's query, as HTML's forms write them.
    ///
    /// ```
    /// # let client = sheave_client::client::Client::new();
    /// let request = client.get("http://a.example/search").query(&[("q", "a b"), ("page", "2")]);
    /// assert_eq!(request.url().unwrap(), "http://a.example/search?q=a+b&page=2");
    /// ```
    pub fn query<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: &[(N, V)]) -> Self {
        let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        self.url = self.url.and_then(|url| with_query(url, pairs).map_err(ErrorKind::Url));
        self
    }

    /// `Authorization` by a user's name and password. RFC 7617
    pub fn basic_auth(self, user: impl AsRef<str>, password: Option<&str>) -> Self {
        self.authorized_by(user.as_ref().as_bytes(), password.map(str::as_bytes))
    }

    fn authorized_by(self, user: &[u8], password: Option<&[u8]>) -> Self {
        let pair = [user, b":", password.unwrap_or_default()].concat();
        self.authorization(&format!("Basic {}", base64(&pair)))
    }

    /// `Authorization` by a token. RFC 6750
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.authorization(&format!("Bearer {token}"))
    }

    fn authorization(mut self, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                // It is shown to nobody who prints headers.
                value.set_sensitive(true);
                self.headers.insert(AUTHORIZATION, value);
            }
            Err(error) => self.wrong = Some(ErrorKind::Request(Box::new(error))),
        }
        self
    }

    /// What the request carries: text, bytes, or a [`Content`] out of a stream or of any body.
    pub fn body(mut self, content: impl Into<Content>) -> Self {
        self.content = content.into();
        self
    }

    /// What the request carries, as JSON; says so in `Content-Type`, unless that is said already.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => {
                let json = HeaderValue::from_static("application/json");
                self.headers.entry(http::header::CONTENT_TYPE).or_insert(json);
                self.body(text)
            }
            Err(error) => {
                self.wrong = Some(ErrorKind::Request(Box::new(error)));
                self
            }
        }
    }

    /// What the request carries: pairs as HTML's forms write them; says so in `Content-Type`, unless that is said already.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: &[(N, V)]) -> Self {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.headers.entry(http::header::CONTENT_TYPE).or_insert(form);
        let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        self.body(crate::url::form(pairs))
    }

    /// How long all of it may take, up to the response's last byte; in place of the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Which version is spoken, in place of the client's choice: HTTP/1.1, or HTTP/2, which without TLS is spoken by prior
    /// knowledge (RFC 9113 §3.3).
    pub fn version(mut self, version: Version) -> Self {
        match version {
            Version::HTTP_11 => self.protocols = Protocols::Http1,
            Version::HTTP_2 => self.protocols = Protocols::Http2,
            version => self.wrong = Some(ErrorKind::Request(format!("{version:?} is not spoken").into())),
        }
        self
    }

    /// Asks the origin before the content is sent (`Expect: 100-continue`), and waits for its answer for the client's
    /// `continue_timeout`. RFC 9110 §10.1.1
    pub fn expect_continue(mut self) -> Self {
        self.expects_continue = true;
        self
    }

    /// Shows `show` every interim response (1xx) when it is here: 100, 103 and others that precede the final one, in
    /// their order, those of redirects and further attempts too. Not 101, which [is a response](Response::upgrade).
    /// RFC 9110 §15.2
    ///
    /// It is called in the task that sends the request, and must not block. One per request; the last one counts.
    ///
    /// ```no_run
    /// # async fn example(client: sheave_client::client::Client) -> Result<(), sheave_client::failure::Error> {
    /// let request = client.get("http://127.0.0.1:9000/").on_informational(|interim| {
    ///     println!("{}: {:?}", interim.status(), interim.headers().get("link"));
    /// });
    /// println!("{}", request.send().await?.status());
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_informational(mut self, show: impl Fn(&http::Response<()>) + Send + Sync + 'static) -> Self {
        self.on_informational = Some(OnInformational::new(show));
        self
    }

    /// What is asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn url(&self) -> Result<&Uri, &ErrorKind> {
        self.url.as_ref()
    }

    /// Another request like it, if its content can be sent twice: if it is no stream.
    pub fn try_clone(&self) -> Option<Self> {
        let (Ok(url), None) = (&self.url, &self.wrong) else { return None };
        Some(Self {
            client: self.client.clone(),
            method: self.method.clone(),
            url: Ok(url.clone()),
            headers: self.headers.clone(),
            content: self.content.try_clone()?,
            on_informational: self.on_informational.clone(),
            wrong: None,
            ..*self
        })
    }

    /// Sends it, and waits for the response's head.
    ///
    /// With an `Upgrade` header it offers to switch to another protocol, over HTTP/1.1 ([`Response::upgrade`]). It is sent again only on evidence that this can do no harm, and goes where redirects send it.
    ///
    /// # Errors
    /// [`Error`], which says whether the origin may have acted on the request.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// Dropped, the exchange is given up: its connection is closed unless nothing was written on it, its place in the pool
    /// is free, its turn in the queue passed on. Whether the origin has acted on it cannot be known.
    pub async fn send(self) -> Result<Response<C::Socket>, Error> {
        let Self { client, method, url, mut headers, content, wrong, .. } = self;
        let (timeout, protocols, expects_continue) = (self.timeout, self.protocols, self.expects_continue);
        let on_informational = self.on_informational;
        let url = match (url, wrong) {
            (Ok(url), None) => url,
            (Ok(url), Some(wrong)) => return Err(Error::new(wrong, &method, Some(&url))),
            (Err(wrong), _) => return Err(Error::new(wrong, &method, None)),
        };
        let inner = client.inner();
        for name in inner.settings.headers.keys() {
            if !headers.contains_key(name) {
                headers.extend(inner.settings.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
            }
        }
        let what = Outgoing { method, url, headers, content, timeout, protocols, expects_continue, on_informational };
        inner.send(what).await
    }
}

impl<C: Connect + 'static> fmt::Debug for RequestBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("RequestBuilder");
        text.field("method", &self.method).field("url", &self.url).field("headers", &self.headers);
        text.field("content", &self.content).finish_non_exhaustive()
    }
}
