//! A body into frames, around bytes that stay where they are.

use std::ops::Deref;

use bytes::BytesMut;

use crate::error::Misuse;
use crate::fields::Fields;
use crate::framing::{BodyLength, is_forbidden_trailer};
use crate::known_set::KnownSet;

/// Frames the body of one message, and sees to it that what is written is what was declared.
#[derive(Debug)]
pub struct BodyWriter {
    state: State,
}

/// What may come next; each reaches `Done` through [`BodyWriter::finish`].
#[derive(Debug)]
enum State {
    /// No content.
    Empty,
    /// So many bytes more.
    Counted(u64),
    /// Any number of chunks, then the last one.
    Chunked,
    /// Any number of bytes.
    UntilClose,
    /// Nothing: the body was finished.
    Done,
}

/// What stands around the bytes of one frame: `[prefix, data…, suffix]` is what goes into one `writev`.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The chunk's size and CRLF; empty but for chunked bodies.
    pub prefix: Prefix,
    /// The CRLF behind a chunk; empty but for chunked bodies.
    pub suffix: &'static [u8],
}

/// Up to 18 bytes, inline: a chunk's size in hex and CRLF.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    bytes: [u8; Self::MAX_LEN],
    start: u8,
}

impl BodyWriter {
    /// A writer of a body that ends so.
    #[must_use]
    pub const fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::None => State::Empty,
            BodyLength::Known(len) => State::Counted(len),
            BodyLength::Chunked => State::Chunked,
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// The frame for the next `len` bytes of content, which count as written. No bytes make an empty frame, never a last
    /// chunk.
    ///
    /// # Errors
    /// [`Misuse::BodyTooLong`] beyond the declared length, [`Misuse::ContentNotAllowed`] for a message without content,
    /// [`Misuse::BodyEnded`] after [`finish`](Self::finish). Nothing counts as written then.
    pub fn frame(&mut self, len: usize) -> Result<Frame, Misuse> {
        let bytes = len as u64;
        match &mut self.state {
            State::Done => return Err(Misuse::BodyEnded),
            State::Empty if bytes > 0 => return Err(Misuse::ContentNotAllowed),
            State::Counted(left) => match left.checked_sub(bytes) {
                Some(rest) => *left = rest,
                None => return Err(Misuse::BodyTooLong { excess: bytes - *left }),
            },
            State::Chunked if bytes > 0 => return Ok(Frame { prefix: Prefix::chunk(bytes), suffix: b"\r\n" }),
            State::Empty | State::Chunked | State::UntilClose => {}
        }
        Ok(Frame { prefix: Prefix::EMPTY, suffix: b"" })
    }

    /// Ends the body: appends to `out` what must follow the last frame, which is nothing unless the body is chunked.
    ///
    /// # Errors
    /// [`Misuse::BodyTooShort`] before the declared length is reached, [`Misuse::TrailersWithoutChunked`],
    /// [`Misuse::ForbiddenTrailer`] for trailers that frame, route or manage the connection (RFC 9110 §6.5.1),
    /// [`Misuse::BodyEnded`] for a second call. Nothing is written then, and the body is as unfinished as before.
    pub fn finish(&mut self, trailers: Option<&Fields>, out: &mut BytesMut) -> Result<(), Misuse> {
        let trailers = trailers.filter(|trailers| !trailers.is_empty());
        match self.state {
            State::Done => return Err(Misuse::BodyEnded),
            State::Counted(missing) if missing > 0 => return Err(Misuse::BodyTooShort { missing }),
            State::Chunked => {
                if trailers.is_some_and(|trailers| {
                    trailers.iter().any(|field| field.known().is_some_and(is_forbidden_trailer))
                }) {
                    return Err(Misuse::ForbiddenTrailer);
                }
                out.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    trailers.write_to(out, KnownSet::EMPTY);
                }
                out.extend_from_slice(b"\r\n");
            }
            State::Empty | State::Counted(_) | State::UntilClose if trailers.is_some() => {
                return Err(Misuse::TrailersWithoutChunked);
            }
            State::Empty | State::Counted(_) | State::UntilClose => {}
        }
        self.state = State::Done;
        Ok(())
    }

    /// True once the body was finished.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes of content that are still owed; `None` where no length was declared.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Counted(left) => Some(left),
            State::Empty | State::Done => Some(0),
            State::Chunked | State::UntilClose => None,
        }
    }
}

impl Frame {
    /// Whether nothing stands around the content.
    #[inline]
    pub(crate) const fn is_bare(&self) -> bool {
        self.suffix.is_empty()
    }
}

impl Prefix {
    /// Sixteen digits and CRLF.
    const MAX_LEN: usize = 18;

    const EMPTY: Self = Self { bytes: [0; Self::MAX_LEN], start: 18 };

    /// The first line of a chunk of so many bytes.
    fn chunk(size: u64) -> Self {
        let mut bytes = *b"0000000000000000\r\n";
        let mut start: u8 = 16;
        let mut rest = size;
        while rest > 0 {
            start -= 1;
            bytes[start as usize] = b"0123456789abcdef"[(rest & 15) as usize];
            rest >>= 4;
        }
        Self { bytes, start }
    }
}

impl Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }
}
