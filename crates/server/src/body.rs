//! A request's body that a service owns, while its bytes stay with the connection until they are asked for.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::slot::Slot;

/// A request's body, for services that own their request.
///
/// One part of it is given at a time, and read when it is asked for: back-pressure is not asking. Up to 64 KiB are read
/// ahead, so that a client that is gone is seen while the service is busy with something else. A client that waits for a
/// 100 (`Expect: 100-continue`) gets it with the first question. `max_body_bytes` and the deadlines of the connection hold
/// for it. It may be moved to another task, and works there as long as the exchange lasts: until the response has ended,
/// and from then on as long as it is asked for something every five seconds. Dropped, what is left of it is read and thrown
/// away up to a bound, so that the connection can be kept.
///
/// It is a [`Body`] and a [`Stream`] of the content alone; both are foreign traits that the ecosystem shares.
pub struct RequestBody {
    slot: Option<Arc<Slot>>,
    /// Bytes that are still to come, where the client said so.
    remaining: Option<u64>,
}

/// Why a body ends before it is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than is accepted here. The client is told so with a 413.
    TooLarge,
    /// The client was too slow; the label says which deadline passed.
    TimedOut(&'static str),
    /// The client left, failed or broke a rule; the label says how.
    Client(&'static str),
    /// The exchange is over: it was answered or given up while the body was still held and not asked for.
    ExchangeOver,
}

impl BodyError {
    /// A name that stays stable: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "body-too-large",
            Self::TimedOut(label) | Self::Client(label) => label,
            Self::ExchangeOver => "exchange-over",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the request's body is larger than is accepted"),
            Self::TimedOut(label) => write!(f, "the request's body came too slowly: {label}"),
            Self::Client(label) => write!(f, "the request's body ended before it was whole: {label}"),
            Self::ExchangeOver => f.write_str("the exchange was over before its body was read"),
        }
    }
}

impl Error for BodyError {}

impl RequestBody {
    /// A body without content.
    pub const fn empty() -> Self {
        Self { slot: None, remaining: Some(0) }
    }

    pub(crate) const fn of(slot: Arc<Slot>, len: Option<u64>) -> Self {
        Self { slot: Some(slot), remaining: len }
    }

    /// The next part, content or trailers; `None` after the end.
    pub fn poll_next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(slot) = &self.slot else { return Poll::Ready(None) };
        let frame = match slot.poll_take(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        match &frame {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(len));
            }
            // An end is said once; after it there is nothing to ask for.
            Some(Err(_)) | None => {
                self.remaining = Some(0);
                self.slot = None;
            }
        }
        Poll::Ready(frame)
    }

    /// The next part, content or trailers; `None` after the end.
    ///
    /// # Errors
    /// [`BodyError`]; after it there is nothing more.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_frame(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        poll_fn(|cx| self.poll_next_frame(cx)).await
    }

    /// The next piece of the content, never empty; `None` after the end. Trailers are passed over.
    ///
    /// # Errors
    /// [`BodyError`]; after it there is nothing more.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|cx| self.poll_next_data(cx)).await
    }

    /// All of the content, if it has no more than `max_bytes`.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] beyond that, before any of it is read where the client said its length; else as for
    /// [`Self::next`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn bytes(mut self, max_bytes: usize) -> Result<Bytes, BodyError> {
        let max = max_bytes as u64;
        if self.remaining.is_some_and(|len| len > max) {
            return Err(BodyError::TooLarge);
        }
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        if first.len() > max_bytes {
            return Err(BodyError::TooLarge);
        }
        if self.is_end_stream() {
            return Ok(first);
        }
        let mut whole = BytesMut::from(first);
        while let Some(piece) = self.next().await.transpose()? {
            if whole.len() + piece.len() > max_bytes {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    fn poll_next_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            match std::task::ready!(self.poll_next_frame(cx)) {
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

impl Default for RequestBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.let_go();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.poll_next_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.is_drained())
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// The content alone, piece by piece.
impl Stream for RequestBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_data(cx)
    }
}

/// What one read brought of a body.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) data: Bytes,
    /// Seldom there: in a box, so that the place of a body is small.
    pub(crate) trailers: Option<Box<HeaderMap>>,
    pub(crate) is_end: bool,
}
