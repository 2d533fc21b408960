//! What a service can answer with: texts, bytes, streams, files.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of a file that are read at a time.
const FILE_READ_BYTES: usize = 64 * 1024;

/// Any error of a body, in a box.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A response's body: bytes that are here, a stream, or a file, and trailers behind it.
///
/// A stream and a file are asked for more when the client has taken what they gave: no more than one part of them is held.
#[derive(Default)]
pub struct ReplyBody {
    content: Content,
    /// Seldom there: in a box, so that a response is small.
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Default)]
enum Content {
    #[default]
    None,
    Whole(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
    /// In a box, so that a response is small.
    File(Box<FileContent>),
}

struct FileContent {
    file: File,
    left: u64,
}

impl ReplyBody {
    /// No content.
    pub const fn empty() -> Self {
        Self { content: Content::None, trailers: None }
    }

    /// Content that is here.
    pub fn full(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { content: if content.is_empty() { Content::None } else { Content::Whole(content) }, trailers: None }
    }

    /// Content that comes piece by piece. Costs one allocation. An error cuts the response off, visibly.
    pub fn stream<E: Into<BoxError>>(stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        Self { content: Content::Stream(Box::pin(BoxedErrors(Box::pin(stream)))), trailers: None }
    }

    /// The content of `file` from where it stands, `len` bytes of it. A file that turns out to be shorter cuts the response
    /// off, visibly.
    pub fn file(file: File, len: u64) -> Self {
        Self { content: Content::File(Box::new(FileContent { file, left: len })), trailers: None }
    }

    /// The same with trailer fields behind it, where the connection has a place for them: chunked in HTTP/1.1, and HTTP/2.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(Box::new(trailers));
        self
    }
}

/// A file as a response of 200: its length, its content, and `application/octet-stream` as its type, which is yours to
/// overwrite.
///
/// # Errors
/// Those of opening it; [`io::ErrorKind::IsADirectory`] for what is no file.
///
/// # Cancel safety
/// Nothing is lost.
pub async fn file(path: impl AsRef<Path>) -> io::Result<Response<ReplyBody>> {
    let file = File::open(path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(typed(OCTETS, ReplyBody::file(file, metadata.len())))
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = match &mut self.content {
            Content::None => None,
            Content::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Content::Stream(stream) => ready!(stream.as_mut().poll_next(cx)),
            Content::File(content) => ready!(poll_file(content, cx)),
        };
        let is_over = match &self.content {
            Content::None | Content::Whole(_) => true,
            Content::Stream(_) => !matches!(data, Some(Ok(_))),
            Content::File(content) => content.left == 0 || data.as_ref().is_some_and(Result::is_err),
        };
        if is_over {
            self.content = Content::None;
        }
        Poll::Ready(match data {
            Some(data) => Some(data.map(Frame::data)),
            None => self.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::None) && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Trailers need chunks, and a body that says its length gets none.
        match &self.content {
            _ if self.trailers.is_some() => SizeHint::new(),
            Content::None => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::File(content) => SizeHint::with_exact(content.left),
            Content::Stream(_) => SizeHint::new(),
        }
    }
}

fn poll_file(
    FileContent { file, left }: &mut FileContent,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, BoxError>>> {
    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(FILE_READ_BYTES);
    if len == 0 {
        return Poll::Ready(None);
    }
    let mut buffer = BytesMut::zeroed(len);
    let mut read = ReadBuf::new(&mut buffer);
    ready!(Pin::new(file).poll_read(cx, &mut read))?;
    let len = read.filled().len();
    if len == 0 {
        return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())));
    }
    buffer.truncate(len);
    *left -= len as u64;
    Poll::Ready(Some(Ok(buffer.freeze())))
}

/// A stream whose errors go into a box.
struct BoxedErrors<S>(Pin<Box<S>>);

impl<S, E> Stream for BoxedErrors<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|item| item.map(|piece| piece.map_err(Into::into)))
    }
}

/// What a service can return.
///
/// `&'static str` and `String` are 200 with `text/plain; charset=utf-8`, [`Bytes`] and `Vec<u8>` with
/// `application/octet-stream`; a [`StatusCode`] alone has no content, `(StatusCode, reply)` changes the status;
/// [`ReplyBody`] is 200 as it is, and a [`Response`] with any body is itself. A `Result` is whichever it is.
pub trait IntoReply {
    /// The body of the response.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send;

    /// The response.
    fn into_reply(self) -> Response<Self::Body>;
}

// As constants they are looked through for wrong bytes when this is compiled.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn typed(content_type: HeaderValue, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

impl<B> IntoReply for Response<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send,
{
    type Body = B;

    fn into_reply(self) -> Response<B> {
        self
    }
}

macro_rules! into_reply {
    ($($kind:ty: $self:ident => $reply:expr;)+) => {
        $(
            impl IntoReply for $kind {
                type Body = ReplyBody;

                fn into_reply($self) -> Response<ReplyBody> {
                    $reply
                }
            }
        )+
    };
}

into_reply! {
    &'static str: self => typed(TEXT, ReplyBody::full(self));
    String: self => typed(TEXT, ReplyBody::full(self));
    Bytes: self => typed(OCTETS, ReplyBody::full(self));
    Vec<u8>: self => typed(OCTETS, ReplyBody::full(self));
    ReplyBody: self => Response::new(self);
    (): self => Response::new(ReplyBody::empty());
    StatusCode: self => {
        let mut response = Response::new(ReplyBody::empty());
        *response.status_mut() = self;
        response
    };
    Infallible: self => match self {};
}

impl<R: IntoReply> IntoReply for (StatusCode, R) {
    type Body = R::Body;

    fn into_reply(self) -> Response<R::Body> {
        let mut response = self.1.into_reply();
        *response.status_mut() = self.0;
        response
    }
}

impl<T, E> IntoReply for Result<T, E>
where
    T: IntoReply,
    E: IntoReply<Body = T::Body>,
{
    type Body = T::Body;

    fn into_reply(self) -> Response<T::Body> {
        match self {
            Ok(reply) => reply.into_reply(),
            Err(reply) => reply.into_reply(),
        }
    }
}
