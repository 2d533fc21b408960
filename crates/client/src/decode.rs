//! Content that was encoded for the way, decoded piece by piece: whatever it grows to, one piece of it is in memory.

use std::fmt;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use sheave_net::socket::Socket;

use crate::answer::Rest;
use crate::failure::ErrorKind;

/// How much is decoded at a time.
const PIECE_BYTES: usize = 32 * 1024;

/// A decoder of one coding. RFC 9110 §8.4.1
pub(crate) trait Codec: Send + Sync {
    /// Decodes as much of `input` as there is room for in `output`, which is never empty; takes what it has read off the
    /// front of `input`. Gives how much it has written, and whether that was the end.
    fn decode(&mut self, input: &mut &[u8], output: &mut [u8]) -> io::Result<(usize, bool)>;

    /// Begins anew, where what follows an end may be another beginning.
    ///
    /// # Errors
    /// It may not.
    fn restart(&mut self) -> io::Result<()>;
}

/// A coding by its name.
#[derive(Clone, Copy)]
pub(crate) struct Coding {
    pub(crate) name: &'static str,
    pub(crate) decoder: fn() -> Box<dyn Codec>,
}

/// Those that are compiled in, the most wanted first.
const CODINGS: &[Coding] = &[
    #[cfg(feature = "zstd")]
    crate::codec::ZSTD,
    #[cfg(feature = "brotli")]
    crate::codec::BROTLI,
    #[cfg(feature = "gzip")]
    crate::codec::GZIP,
];

/// Which codings are asked for and decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoding {
    pub(crate) is_on: bool,
}

impl Decoding {
    /// What `Accept-Encoding` says; `None` where nothing is decoded.
    pub(crate) fn accepted(self) -> Option<HeaderValue> {
        let names: Vec<&str> = CODINGS.iter().map(|coding| coding.name).collect();
        if self.is_on && !names.is_empty() { HeaderValue::try_from(names.join(", ")).ok() } else { None }
    }

    /// What decodes the content behind these headers; `None` where that is to be left as it is: it is not encoded, not by
    /// one coding that is known here, or a part of something (RFC 9110 §14.4: ranges are of what is encoded).
    pub(crate) fn decoder(self, status: StatusCode, headers: &HeaderMap) -> Option<Decoder> {
        let mut lines = headers.get_all(CONTENT_ENCODING).iter();
        let coding = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?.trim();
        if !self.is_on || status == StatusCode::PARTIAL_CONTENT {
            return None;
        }
        // RFC 9110 §8.4.1.3: `x-gzip` is `gzip`.
        let name = if coding.eq_ignore_ascii_case("x-gzip") { "gzip" } else { coding };
        let coding = CODINGS.iter().find(|coding| coding.name.eq_ignore_ascii_case(name))?;
        Some(Decoder::new((coding.decoder)()))
    }
}

/// Decodes a response's content while it arrives.
pub(crate) struct Decoder {
    codec: Box<dyn Codec>,
    input: Bytes,
    state: State,
    /// The last piece filled its room, so that more may be there without further input.
    may_have_more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Amid,
    Ended,
}

impl Decoder {
    pub(crate) fn new(codec: Box<dyn Codec>) -> Self {
        Self { codec, input: Bytes::new(), state: State::Fresh, may_have_more: false }
    }

    /// The next part, decoded; `None` after the end.
    pub(crate) fn poll_frame<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        rest: &mut Rest<S>,
    ) -> Poll<Option<Result<Frame<Bytes>, ErrorKind>>> {
        loop {
            match self.next() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => {
                    // What follows means nothing any more.
                    rest.give_up();
                    (self.input, self.may_have_more, self.state) = (Bytes::new(), false, State::Ended);
                    return Poll::Ready(Some(Err(ErrorKind::Decode(error))));
                }
            }
            let frame = match ready!(rest.poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                None if self.state != State::Amid => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(self.is_cut_off()))),
                Some(Err(error)) => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            match frame.into_data() {
                Ok(data) => self.input = data,
                Err(_) if self.state == State::Amid => return Poll::Ready(Some(Err(self.is_cut_off()))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_cut_off(&mut self) -> ErrorKind {
        self.state = State::Ended;
        ErrorKind::Decode(io::ErrorKind::UnexpectedEof.into())
    }

    /// The next piece of what is here; `None` when more is needed.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.input.is_empty() || self.may_have_more {
            if self.state == State::Ended {
                if self.input.is_empty() {
                    self.may_have_more = false;
                    break;
                }
                self.codec.restart()?;
                self.state = State::Fresh;
            }
            let is_dry = self.input.is_empty();
            let mut output = BytesMut::zeroed(PIECE_BYTES);
            let mut input = &self.input[..];
            let decoded = self.codec.decode(&mut input, &mut output);
            let taken = self.input.len() - input.len();
            let (written, is_end) = match decoded {
                Ok(decoded) => decoded,
                // Some codecs take it for a mistake to be asked for more than there is. A real one comes back, or is found
                // at the end.
                Err(_) if is_dry => (0, false),
                Err(error) => return Err(error),
            };
            let _ = self.input.split_to(taken);
            self.state = if is_end { State::Ended } else { State::Amid };
            self.may_have_more = written == PIECE_BYTES;
            if written > 0 {
                output.truncate(written);
                return Ok(Some(output.freeze()));
            }
            if taken == 0 && !is_end && !is_dry {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
