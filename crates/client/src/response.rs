//! A response: its head at once, its content when it is asked for.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use sheave_net::socket::Socket;
use sheave_proto::known::Known;

use crate::answer::Answer;
use crate::builder::{Settings, SystemSocket};
use crate::connection_facts::ConnectionFacts;
use crate::failure::{Error, ErrorKind};
use crate::response_body::{About, ResponseBody};
use crate::response_head::Head;
use crate::upgraded::Upgraded;

/// A response.
///
/// Its content is read when it is asked for. Dropped before all of it has arrived, the connection is closed.
pub struct Response<S: Socket = SystemSocket> {
    head: Head,
    extensions: Extensions,
    facts: ConnectionFacts,
    max_bytes: usize,
    body: ResponseBody<S>,
}

impl<S: Socket> Response<S> {
    pub(crate) fn of(answer: Answer<S>, method: Method, url: Uri, settings: &Settings) -> Self {
        let Answer { mut head, facts, rest, .. } = answer;
        // To HEAD, and with a 304, it says what a GET would have got. RFC 9110 §8.6
        let has_content = sheave_proto::framing::allows_content(head.status(), &method);
        let declared = match has_content {
            false => Some(0),
            // Nobody has to say how much there is of what is here.
            true if rest.left().is_some() => None,
            // The connection has read it by the same rules.
            true => head.fields().get_str(Known::ContentLength).and_then(|len| len.parse().ok()),
        };
        let decoder = if has_content { settings.decode.decoder(head.status(), head.fields()) } else { None };
        let declared = if decoder.is_some() {
            head.fields_mut().remove(Known::ContentEncoding);
            head.fields_mut().remove(Known::ContentLength);
            None
        } else {
            declared
        };
        let body = ResponseBody::new(rest, decoder, declared, About { method, url });
        Self { head, extensions: Extensions::new(), facts, max_bytes: settings.max_collected_bytes, body }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status()
    }

    /// The version that the origin speaks.
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// The headers, which are made a map when they are first asked for. Of content that was decoded, `Content-Encoding` and `Content-Length` are gone.
    pub fn headers(&self) -> &HeaderMap {
        self.head.map()
    }

    /// The headers, to edit.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.head.map_mut()
    }

    /// What the caller's layers have put there.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What the caller's layers have put there, to edit.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// What was asked; after redirects, where the last led.
    pub fn url(&self) -> &Uri {
        &self.body.about().url
    }

    /// The origin's address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.facts.address
    }

    /// What is known of the connection.
    pub fn connection(&self) -> &ConnectionFacts {
        &self.facts
    }

    /// How many bytes of content are to come, if that is certain: not where they are decoded.
    pub fn content_length(&self) -> Option<u64> {
        http_body::Body::size_hint(&self.body).exact()
    }

    /// The response, if its status is none of failure (400 to 599).
    ///
    /// # Errors
    /// [`ErrorKind::Status`]; the content is thrown away.
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(self.body.about().error(ErrorKind::Status(status)));
        }
        Ok(self)
    }

    /// All of the content, up to the client's `max_collected_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] beyond that; why it is not whole otherwise.
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        self.body.bytes(self.max_bytes).await
    }

    /// As [`Self::bytes`], with a bound of its own.
    ///
    /// # Errors
    /// As for [`Self::bytes`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn bytes_up_to(self, max_bytes: usize) -> Result<Bytes, Error> {
        self.body.bytes(max_bytes).await
    }

    /// All of the content and its trailers, bounded like [`Self::bytes`].
    ///
    /// # Errors
    /// As for [`Self::bytes`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn bytes_and_trailers(self) -> Result<(Bytes, Option<HeaderMap>), Error> {
        self.body.whole(self.max_bytes).await
    }

    /// All of the content as text, bounded like [`Self::bytes`]. It is taken for UTF-8, whatever `Content-Type` says; what
    /// is none becomes U+FFFD.
    ///
    /// # Errors
    /// As for [`Self::bytes`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn text(self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        // Valid text is taken as it is, without a copy if nobody else has it.
        Ok(match String::from_utf8(bytes.into()) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// All of the content as JSON, bounded like [`Self::bytes`].
    ///
    /// # Errors
    /// [`ErrorKind::Json`] where it is none, or not that; else as for [`Self::bytes`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, Error> {
        let about = self.body.about().clone();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| about.error(ErrorKind::Json(Box::new(error))))
    }

    /// The next piece of the content, never empty; `None` after the end.
    ///
    /// # Errors
    /// Why there is no more, though it is not the end.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.body.next().await.transpose()
    }

    /// What the connection has become, where the request offered to switch to another protocol and the origin has done so: a
    /// response with 101. RFC 9110 §7.8
    ///
    /// ```no_run
    /// use http::header::{CONNECTION, UPGRADE};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # async fn example(client: sheave_client::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = client.get("http://127.0.0.1:9000/echo").header(CONNECTION, "upgrade").header(UPGRADE, "echo");
    /// let mut echo = request.send().await?.upgrade().await?;
    /// echo.write_all(b"anybody there?").await?;
    /// let mut answer = [0; 14];
    /// echo.read_exact(&mut answer).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It waits for nothing: the response says all that there is to know.
    ///
    /// # Errors
    /// [`ErrorKind::NotUpgraded`]: the response was another one, or came before the request's content was sent. It is thrown
    /// away; [`Self::status`] tells before.
    ///
    /// # Cancel safety
    /// Dropped, the connection is closed.
    pub async fn upgrade(self) -> Result<Upgraded<S>, Error> {
        self.body.upgrade()
    }

    /// The content, to stream.
    pub fn into_body(self) -> ResponseBody<S> {
        self.body
    }

    /// The content, to read without giving the response up.
    pub fn body_mut(&mut self) -> &mut ResponseBody<S> {
        &mut self.body
    }

    /// The response in the ecosystem's type; what is known of the connection is among its extensions
    /// ([`ConnectionFacts`]).
    pub fn into_http(self) -> http::Response<ResponseBody<S>> {
        let mut parts = self.head.into_parts();
        parts.extensions = self.extensions;
        parts.extensions.insert(self.facts);
        http::Response::from_parts(parts, self.body)
    }
}

impl<S: Socket> From<Response<S>> for http::Response<ResponseBody<S>> {
    fn from(response: Response<S>) -> Self {
        response.into_http()
    }
}

impl<S: Socket> fmt::Debug for Response<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Response");
        text.field("url", self.url()).field("status", &self.status()).field("headers", self.headers());
        text.field("connection", &self.facts).finish_non_exhaustive()
    }
}
