//! What a request carries: bytes that are here, or a stream, of which as much is kept as may have to be sent again.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// Any error of a body, in a box.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// How many bytes of a stream are kept for another attempt.
pub(crate) const MAX_KEPT_BYTES: usize = 64 * 1024;

/// What a request carries.
///
/// What is made of bytes can be sent again as often as needed, and costs nothing but a reference. Of a stream, the first
/// 64 KiB are kept while it is sent, by reference, too: a shorter one can be sent again, a longer one until the first byte
/// beyond. Only what can be sent again is retried, and goes where a 307 or 308 sends it.
///
/// A stream is asked for more when the connection has taken what it gave.
#[derive(Default)]
pub struct Content(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    None,
    Whole(Bytes),
    Stream(Box<Streamed>),
}

struct Streamed {
    /// Never locked but through `&mut`: it makes what is not `Sync` so.
    body: Mutex<Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    trailers: Option<HeaderMap>,
    /// Part of what was sent is not kept.
    is_lost: bool,
    /// All has come.
    has_ended: bool,
}

/// How far an attempt has come with the content.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Cursor {
    piece: usize,
    is_over: bool,
}

impl Cursor {
    /// Whether it has come to the end.
    pub(crate) const fn is_over(self) -> bool {
        self.is_over
    }
}

/// A part of the content.
#[derive(Default, Debug)]
pub(crate) struct Part {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) is_end: bool,
}

impl Content {
    /// None. A POST says so by `Content-Length: 0`.
    pub const fn empty() -> Self {
        Self(Inner::None)
    }

    /// Bytes that are here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Whole(bytes.into()))
    }

    /// Content that comes piece by piece, of unknown length. Costs two allocations. An error ends the request, visibly.
    pub fn stream<T, E>(stream: impl Stream<Item = Result<T, E>> + Send + 'static) -> Self
    where
        T: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self::streamed(Pieces(Box::pin(stream)))
    }

    /// Any body, with its length, if it knows it, and its trailers. One that is empty costs nothing; another costs two
    /// allocations.
    pub fn of<B>(body: B) -> Self
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        if body.is_end_stream() { Self::empty() } else { Self::streamed(Foreign(Box::pin(body))) }
    }

    fn streamed(body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::new(Streamed {
            body: Mutex::new(Box::pin(body)),
            kept: Vec::new(),
            kept_bytes: 0,
            trailers: None,
            is_lost: false,
            has_ended: false,
        })))
    }

    /// How many bytes there are, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match &self.0 {
            Inner::None => Some(0),
            Inner::Whole(bytes) => Some(bytes.len() as u64),
            Inner::Stream(streamed) => {
                let left = streamed.body.lock().unwrap_or_else(PoisonError::into_inner).size_hint().exact()?;
                // What was asked for already is counted no longer by the body.
                if streamed.is_lost { None } else { Some(left + streamed.kept_bytes as u64) }
            }
        }
    }

    /// Whether there is no content at all.
    pub(crate) const fn is_none(&self) -> bool {
        matches!(self.0, Inner::None)
    }

    /// Whether all that an attempt has sent can be sent again.
    pub(crate) fn is_replayable(&self) -> bool {
        match &self.0 {
            Inner::None | Inner::Whole(_) => true,
            Inner::Stream(streamed) => !streamed.is_lost,
        }
    }

    /// The same, where it can be sent again whole without a stream: for another request.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Inner::None => Some(Self(Inner::None)),
            Inner::Whole(bytes) => Some(Self(Inner::Whole(bytes.clone()))),
            Inner::Stream(_) => None,
        }
    }

    /// The next part for an attempt that has come as far as `cursor`.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor) -> Poll<Result<Part, BoxError>> {
        let end = Part { is_end: true, ..Part::default() };
        if cursor.is_over {
            return Poll::Ready(Ok(end));
        }
        let part = match &mut self.0 {
            Inner::None => end,
            Inner::Whole(bytes) => Part { data: bytes.clone(), ..end },
            Inner::Stream(streamed) => ready!(streamed.poll_part(cx, cursor))?,
        };
        cursor.is_over = part.is_end;
        Poll::Ready(Ok(part))
    }
}

impl Streamed {
    fn poll_part(&mut self, cx: &mut Context<'_>, cursor: &mut Cursor) -> Poll<Result<Part, BoxError>> {
        if let Some(data) = self.kept.get(cursor.piece) {
            let data = data.clone();
            cursor.piece += 1;
            let is_end = self.has_ended && cursor.piece == self.kept.len();
            let trailers = if is_end { self.trailers.clone() } else { None };
            return Poll::Ready(Ok(Part { data, trailers, is_end }));
        }
        if self.has_ended {
            return Poll::Ready(Ok(Part { trailers: self.trailers.clone(), is_end: true, ..Part::default() }));
        }
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = match ready!(body.as_mut().poll_frame(cx)) {
            Some(frame) => frame?,
            None => {
                self.has_ended = true;
                return Poll::Ready(Ok(Part { is_end: true, ..Part::default() }));
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                let is_end = body.is_end_stream();
                self.has_ended = is_end;
                self.keep(&data, cursor);
                return Poll::Ready(Ok(Part { data, trailers: None, is_end }));
            }
            Err(frame) => frame,
        };
        self.has_ended = true;
        self.trailers = frame.into_trailers().ok();
        Poll::Ready(Ok(Part { trailers: self.trailers.clone(), is_end: true, ..Part::default() }))
    }

    fn keep(&mut self, data: &Bytes, cursor: &mut Cursor) {
        if self.is_lost || self.kept_bytes + data.len() > MAX_KEPT_BYTES || self.kept.len() >= MAX_KEPT_BYTES / 64 {
            self.is_lost = true;
            self.kept = Vec::new();
            cursor.piece = 0;
            return;
        }
        self.kept_bytes += data.len();
        self.kept.push(data.clone());
        cursor.piece = self.kept.len();
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("len", &self.len()).field("is_replayable", &self.is_replayable()).finish()
    }
}

macro_rules! content_of {
    ($($kind:ty),+) => {
        $(
            impl From<$kind> for Content {
                fn from(bytes: $kind) -> Self {
                    Self::full(bytes)
                }
            }
        )+
    };
}

content_of!(&'static str, String, &'static [u8], Vec<u8>, Bytes);

/// A stream as a body.
struct Pieces<S>(Pin<Box<S>>);

impl<S, T, E> Body for Pieces<S>
where
    S: Stream<Item = Result<T, E>>,
    T: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map(|data| Frame::data(data.into())).map_err(Into::into)))
    }
}

/// A body of any data as one of `Bytes`.
struct Foreign<B>(Pin<Box<B>>);

impl<B: Body<Error: Into<BoxError>>> Body for Foreign<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.0.as_mut().poll_frame(cx));
        let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(whole)).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Waker;

    use super::*;

    struct Script(VecDeque<Result<Frame<Bytes>, &'static str>>, bool);

    impl Body for Script {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.pop_front().map(|frame| frame.map_err(Into::into)))
        }

        fn is_end_stream(&self) -> bool {
            self.1 && self.0.is_empty()
        }
    }

    fn data(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(bytes.into()))
    }

    /// All of the content, as one attempt sends it: pieces, trailers.
    fn sent(content: &mut Content) -> Result<(Vec<Bytes>, Option<HeaderMap>), String> {
        let (mut cursor, mut pieces) = (Cursor::default(), Vec::new());
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(part) = content.poll_part(&mut cx, &mut cursor) else { unreachable!("all is here") };
            let part = part.map_err(|error| error.to_string())?;
            if !part.data.is_empty() {
                pieces.push(part.data);
            }
            if part.is_end {
                return Ok((pieces, part.trailers));
            }
        }
    }

    fn script(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>, knows_end: bool) -> Content {
        Content::of(Script(frames.into_iter().collect(), knows_end))
    }

    #[test]
    fn what_is_here_is_sent_as_often_as_asked() {
        for mut content in [Content::from("ab"), Content::from(String::from("ab")), Content::from(vec![97, 98])] {
            assert_eq!((content.len(), content.is_none(), content.is_replayable()), (Some(2), false, true));
            for _ in 0..2 {
                assert_eq!(sent(&mut content), Ok((vec![Bytes::from("ab")], None)));
            }
        }
        let mut none = Content::empty();
        assert_eq!((none.len(), none.is_none(), sent(&mut none)), (Some(0), true, Ok((vec![], None))));
    }

    #[test]
    fn a_short_stream_is_kept_with_its_trailers() {
        let trailers: HeaderMap = [(http::header::ETAG, "x".parse().unwrap())].into_iter().collect();
        for (knows_end, with_trailers) in [(false, false), (true, false), (false, true), (true, true)] {
            let frames = [data("a"), data("b")].into_iter();
            let mut content =
                script(frames.chain(with_trailers.then(|| Ok(Frame::trailers(trailers.clone())))), knows_end);
            assert_eq!((content.len(), content.is_none()), (None, false));
            for _ in 0..3 {
                let expected = (vec![Bytes::from("a"), Bytes::from("b")], with_trailers.then(|| trailers.clone()));
                assert_eq!(sent(&mut content), Ok(expected), "{knows_end} {with_trailers}");
                assert!(content.is_replayable());
            }
        }
    }

    #[test]
    fn a_long_stream_is_sent_once() {
        let pieces = || vec![data(vec![0; MAX_KEPT_BYTES]), data("x"), data("y")];
        let mut content = script(pieces(), false);
        assert_eq!(sent(&mut content).unwrap().0.iter().map(Bytes::len).sum::<usize>(), MAX_KEPT_BYTES + 2);
        assert!(!content.is_replayable());
        let mut tiny = script((0..MAX_KEPT_BYTES).map(|_| data("x")), false);
        assert_eq!(sent(&mut tiny).unwrap().0.len(), MAX_KEPT_BYTES, "each once");
        assert!(!tiny.is_replayable(), "many pieces cost more than their bytes");
    }

    #[test]
    fn a_stream_that_fails_says_why() {
        let mut content = script([data("a"), Err("broken")], false);
        assert_eq!(sent(&mut content), Err("broken".to_owned()));
        assert!(content.try_clone().is_none() && Content::from("a").try_clone().is_some());
    }

    /// A body of foreign data, which says how long it is.
    struct Sized(Option<&'static [u8]>);

    impl Body for Sized {
        type Data = &'static [u8];
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<&'static [u8]>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.map_or(0, <[u8]>::len) as u64)
        }
    }

    #[test]
    fn a_body_keeps_its_length() {
        assert!(Content::of(Sized(None)).is_none());
        let mut content = Content::of(Sized(Some(b"abc")));
        assert_eq!(content.len(), Some(3));
        for _ in 0..2 {
            assert_eq!(sent(&mut content), Ok((vec![Bytes::from("abc")], None)));
            assert_eq!(content.len(), Some(3), "also when it is to be sent again");
        }
    }
}
