//! Content that was encoded for the way, decoded piece by piece: whatever it grows to, one piece of it is in memory.

use std::fmt;
use std::io;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderValue;
use http_body::Frame;
use sheave_net::socket::Socket;
use sheave_proto::fields::Fields;
use sheave_proto::known::Known;

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
        /// Put together once.
        static ACCEPTED: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
            let names: Vec<&str> = CODINGS.iter().map(|coding| coding.name).collect();
            HeaderValue::try_from(names.join(", ")).ok().filter(|names| !names.is_empty())
        });
        if self.is_on { ACCEPTED.clone() } else { None }
    }

    /// What decodes the content behind these fields; `None` where that is to be left as it is: it is not encoded, not by
    /// one coding that is known here, or a part of something (RFC 9110 §14.4: ranges are of what is encoded).
    pub(crate) fn decoder(self, status: StatusCode, fields: &Fields) -> Option<Decoder> {
        if !self.is_on || status == StatusCode::PARTIAL_CONTENT {
            return None;
        }
        let mut lines = fields.get_all(Known::ContentEncoding);
        let coding = std::str::from_utf8(lines.next().filter(|_| lines.next().is_none())?).ok()?;
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

#[cfg(all(test, any(feature = "brotli", feature = "gzip", feature = "zstd")))]
mod tests {
    use compression_codecs::EncodeV2;
    use compression_codecs::core::util::{PartialBuffer, WriteBuffer};

    use super::*;

    fn encoded(mut encoder: impl EncodeV2, content: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        let mut input = PartialBuffer::new(content);
        let mut room = vec![0; 64 * 1024];
        loop {
            let mut output = WriteBuffer::new_initialized(&mut room);
            let is_over = if input.unwritten().is_empty() {
                encoder.finish(&mut output).expect("there is room")
            } else {
                encoder.encode(&mut input, &mut output).expect("there is room");
                false
            };
            encoded.extend_from_slice(output.written());
            if is_over {
                return encoded;
            }
        }
    }

    fn coded(name: &str, content: &[u8]) -> Vec<u8> {
        match name {
            #[cfg(feature = "gzip")]
            "gzip" => encoded(compression_codecs::GzipEncoder::new(flate_level()), content),
            #[cfg(feature = "brotli")]
            "br" => encoded(compression_codecs::BrotliEncoder::new(quick()), content),
            #[cfg(feature = "zstd")]
            "zstd" => encoded(compression_codecs::ZstdEncoder::new(3), content),
            name => unreachable!("{name} is not known"),
        }
    }

    #[cfg(feature = "gzip")]
    fn flate_level() -> compression_codecs::flate::params::FlateEncoderParams {
        compression_codecs::core::Level::Default.into()
    }

    #[cfg(feature = "brotli")]
    fn quick() -> compression_codecs::brotli::params::EncoderParams {
        compression_codecs::brotli::params::EncoderParams::default()
            .quality(compression_codecs::core::Level::Precise(5))
    }

    /// All that comes out of `pieces`, and whether they end where an end may be.
    fn decoded(coding: &Coding, pieces: impl IntoIterator<Item = Vec<u8>>) -> io::Result<(Vec<u8>, bool)> {
        let mut decoder = Decoder::new((coding.decoder)());
        let mut all = Vec::new();
        for piece in pieces {
            decoder.input = piece.into();
            while let Some(data) = decoder.next()? {
                assert!(!data.is_empty() && data.len() <= PIECE_BYTES);
                all.extend_from_slice(&data);
            }
        }
        Ok((all, decoder.state != State::Amid))
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).flat_map(|place| (place ^ (place / 1000)).to_le_bytes()[..1].to_vec()).collect()
    }

    #[test]
    fn whole_and_byte_by_byte() {
        for coding in CODINGS {
            for len in [0, 1, 100, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
                let content = text(len);
                let encoded = coded(coding.name, &content);
                let expected = (content, true);
                assert_eq!(decoded(coding, [encoded.clone()]).unwrap(), expected, "{} {len}", coding.name);
                let bytes = encoded.iter().map(|byte| vec![*byte]);
                assert_eq!(decoded(coding, bytes).unwrap(), expected, "{} {len}", coding.name);
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_broken_is_never_whole() {
        for coding in CODINGS {
            let content = text(5000);
            let encoded = coded(coding.name, &content);
            for len in 1..encoded.len() {
                let found = decoded(coding, [encoded[..len].to_vec()]);
                assert!(!matches!(found, Ok((_, true))), "{} {len}", coding.name);
            }
            for place in 0..encoded.len() {
                let mut broken = encoded.clone();
                broken[place] ^= 0x10;
                // Not every bit means something; but none may make it something else that counts as whole, where the coding
                // has a check of its own.
                if let Ok((found, true)) = decoded(coding, [broken])
                    && coding.name == "gzip"
                {
                    assert_eq!(found, content, "{} {place}", coding.name);
                }
            }
            assert!(decoded(coding, [b"no coding at all, and long enough to be told from one".to_vec()]).is_err());
        }
    }

    #[test]
    fn what_follows_an_end() {
        for coding in CODINGS {
            let one = coded(coding.name, b"one");
            let two = [one.clone(), coded(coding.name, b"two")].concat();
            let found = decoded(coding, [two.clone()]);
            let by_bytes = decoded(coding, two.iter().map(|byte| vec![*byte]));
            if coding.name == "br" {
                assert!(found.is_err() && by_bytes.is_err());
            } else {
                assert_eq!(found.unwrap(), (b"onetwo".to_vec(), true), "{}", coding.name);
                assert_eq!(by_bytes.unwrap(), (b"onetwo".to_vec(), true), "{}", coding.name);
            }
            assert!(decoded(coding, [[&one[..], b"garbage that is none"].concat()]).is_err(), "{}", coding.name);
        }
    }

    /// A few KiB that become many MiB come a piece at a time, however much of them is here.
    #[test]
    fn bombs_go_off_piece_by_piece() {
        for coding in CODINGS {
            let len = 16 * 1024 * 1024;
            let bomb = coded(coding.name, &vec![0; len]);
            assert!(bomb.len() < len / 500, "{} {}", coding.name, bomb.len());
            let mut decoder = Decoder::new((coding.decoder)());
            decoder.input = bomb.into();
            let mut total = 0;
            while let Some(data) = decoder.next().unwrap() {
                assert!(data.len() <= PIECE_BYTES);
                total += data.len();
            }
            assert_eq!((total, decoder.state == State::Ended), (len, true), "{}", coding.name);
        }
    }

    #[test]
    fn which_content_is_decoded() {
        let coding = CODINGS[0].name;
        let on = Decoding { is_on: true };
        assert!(on.accepted().unwrap().to_str().unwrap().contains(coding));
        assert!(Decoding { is_on: false }.accepted().is_none());
        for (decoding, status, lines, expected) in [
            (on, 200, &[coding][..], true),
            (on, 404, &[&coding.to_ascii_uppercase()], true),
            (on, 206, &[coding], false),
            (on, 200, &[], false),
            (on, 200, &["identity"], false),
            (on, 200, &["compress"], false),
            (on, 200, &[coding, coding], false),
            (on, 200, &[&format!("{coding}, {coding}")], false),
            (Decoding { is_on: false }, 200, &[coding], false),
        ] {
            let mut fields = Fields::new();
            lines.iter().for_each(|line| fields.push(Known::ContentEncoding, line.as_bytes()).unwrap());
            let found = decoding.decoder(StatusCode::from_u16(status).unwrap(), &fields);
            assert_eq!(found.is_some(), expected, "{status} {lines:?}");
        }
    }
}
