//! A response's content: read when it is asked for, decoded if it was encoded for the way.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderMap, Method, Uri};
use http_body::{Body, Frame, SizeHint};
use sheave_net::socket::Socket;

use crate::answer::Rest;
use crate::builder::SystemSocket;
use crate::decode::Decoder;
use crate::failure::{Error, ErrorKind};
use crate::upgraded::Upgraded;

/// A response's content.
///
/// It is read when it is asked for: back-pressure is not asking. One part is held at a time, 64 KiB at most. Once the last
/// byte has arrived the connection is free for the next request, whether that byte was asked for or not; what came with the
/// head is here already. Dropped before, the connection is closed: nothing of this response can reach another request.
///
/// It is a [`Body`] and a [`Stream`] of the content alone; both are foreign traits that the ecosystem shares.
pub struct ResponseBody<S: Socket = SystemSocket> {
    rest: Rest<S>,
    decoder: Option<Decoder>,
    /// What was announced, as long as nothing was taken.
    declared: Option<u64>,
    about: About,
}

/// What errors tell of their request.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) method: Method,
    pub(crate) url: Uri,
}

impl About {
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, &self.method, Some(&self.url))
    }
}

impl<S: Socket> ResponseBody<S> {
    pub(crate) fn new(rest: Rest<S>, decoder: Option<Decoder>, declared: Option<u64>, about: About) -> Self {
        Self { rest, decoder, declared, about }
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// The next part, content or trailers; `None` after the end.
    pub fn poll_next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match &mut self.decoder {
            None => ready!(self.rest.poll_frame(cx)),
            Some(decoder) => ready!(decoder.poll_frame(cx, &mut self.rest)),
        };
        self.declared = match (&frame, self.declared) {
            (Some(Ok(frame)), Some(left)) => Some(left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64)),
            (Some(Err(_)), _) => None,
            (_, left) => left,
        };
        Poll::Ready(frame.map(|frame| frame.map_err(|kind| self.about.error(kind))))
    }

    /// The next part, content or trailers; `None` after the end.
    ///
    /// # Errors
    /// Why there is no more, though it is not the end: a truncated body is never presented as whole.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_frame(&mut self) -> Option<Result<Frame<Bytes>, Error>> {
        poll_fn(|cx| self.poll_next_frame(cx)).await
    }

    /// The next piece of the content, never empty; `None` after the end. Trailers are passed over.
    ///
    /// # Errors
    /// As for [`Self::next_frame`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_next_data(cx)).await
    }

    /// All of the content, if it has no more than `max_bytes`, decoded.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] beyond that, before any of it is read where the origin said its length; else as for
    /// [`Self::next_frame`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn bytes(self, max_bytes: usize) -> Result<Bytes, Error> {
        Ok(self.whole(max_bytes).await?.0)
    }

    /// As [`Self::bytes`], with the trailers.
    ///
    /// # Errors
    /// As for [`Self::bytes`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn whole(mut self, max_bytes: usize) -> Result<(Bytes, Option<HeaderMap>), Error> {
        let too_large = |about: &About| about.error(ErrorKind::TooLarge { max_bytes });
        if self.declared.is_some_and(|len| len > max_bytes as u64) {
            return Err(too_large(&self.about));
        }
        let (mut first, mut more, mut trailers) = (Bytes::new(), BytesMut::new(), None);
        while let Some(frame) = self.next_frame().await.transpose()? {
            match frame.into_data() {
                Ok(data) if first.len() + more.len() + data.len() > max_bytes => return Err(too_large(&self.about)),
                Ok(data) if first.is_empty() && more.is_empty() => first = data,
                Ok(data) => {
                    if more.is_empty() {
                        more.extend_from_slice(&std::mem::take(&mut first));
                    }
                    more.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((if more.is_empty() { first } else { more.freeze() }, trailers))
    }

    /// See [`Response::upgrade`](crate::response::Response::upgrade).
    ///
    /// # Errors
    /// [`ErrorKind::NotUpgraded`]
    pub fn upgrade(self) -> Result<Upgraded<S>, Error> {
        let Self { rest, about, .. } = self;
        rest.into_upgraded().ok_or_else(|| about.error(ErrorKind::NotUpgraded))
    }

    fn poll_next_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            match ready!(self.poll_next_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

impl<S: Socket> fmt::Debug for ResponseBody<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("size", &Body::size_hint(self)).finish_non_exhaustive()
    }
}

impl<S: Socket> Body for ResponseBody<S> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_next_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_none() && self.rest.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let left = if self.decoder.is_none() { self.rest.left().or(self.declared) } else { None };
        left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// The content alone, piece by piece.
impl<S: Socket> Stream for ResponseBody<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_data(cx)
    }
}
