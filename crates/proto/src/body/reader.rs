//! A body out of bytes, as they come.

use crate::body::chunk_line::ChunkLine;
use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::framing::{BodyLength, is_forbidden_trailer};
use crate::limits::{Limits, MAX_SECTION_BYTES};
use crate::lines::{Bounds, Section};

/// What comes out of a [`BodyReader`].
#[derive(Debug, PartialEq, Eq)]
pub enum BodyEvent<'b> {
    /// Content, never empty.
    Data(&'b [u8]),
    /// The content is complete; with the trailer section, if there was a line in it. It comes exactly once.
    End(Option<Fields>),
}

/// Reads the body of one message.
///
/// Content is never copied: it comes out as slices of what goes in. Only a trailer section that does not come whole is
/// kept, in one buffer of `max_trailer_bytes` at most.
///
/// Chunks are read to the letter (RFC 9112 §7.1): 1 to 16 hex digits, extensions that follow their grammar, CRLF and
/// nothing like it, and a trailer section that ends with an empty line and nothing like it.
///
/// ```
/// use sheave_proto::{body::{BodyEvent, BodyReader}, framing::BodyLength, limits::Limits};
///
/// let mut reader = BodyReader::new(BodyLength::Chunked, &Limits::default())?;
/// let mut input = &b"3\r\nabc\r\n0\r\n\r\nGET"[..];
/// assert_eq!(reader.receive(&mut input)?, Some(BodyEvent::Data(b"abc")));
/// assert_eq!(reader.receive(&mut input)?, Some(BodyEvent::End(None)));
/// assert_eq!(input, b"GET");
/// # Ok::<(), sheave_proto::error::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// Content that may still come under `max_body_bytes`.
    room: u64,
    max_body_bytes: u64,
    /// Bytes that chunk extensions may still take.
    extension_room: usize,
    max_chunk_extension_bytes: usize,
    /// These two in 16 bits, so that the box of a reader takes no more than 72 bytes: 80 fill a class of mimalloc's exactly,
    /// which costs it 100 instructions more.
    max_trailer_bytes: u16,
    max_fields: u16,
}

/// What comes next.
///
/// ```text
/// Counted ───────────────────────────────┐
/// ChunkLine ─> ChunkData ─> Cr ─> Lf ─┐  │
///     │ ^─────────────────────────────┘  │
///     └─size 0─> Trailers ───────────────┴─> Done
/// UntilClose ──end of stream─────────────────┘
/// ```
#[derive(Debug)]
enum State {
    /// So many bytes of content, then the end.
    Counted(u64),
    /// Content, until the stream ends.
    UntilClose,
    /// A chunk's size and extensions.
    ChunkLine(ChunkLine),
    /// So many bytes of a chunk's content.
    ChunkData(u64),
    /// The CR after a chunk's content.
    ChunkCr,
    /// The LF after a chunk's content.
    ChunkLf,
    /// The trailer section.
    Trailers(Option<Box<Section<()>>>),
    /// Nothing: the end was reported.
    Done,
}

impl BodyReader {
    /// A reader of a body that ends so. The limits are those of this message for good.
    ///
    /// # Errors
    /// [`ProtocolError::BodyTooLarge`] when the declared length exceeds `max_body_bytes` (RFC 9110 §15.5.14).
    pub const fn new(length: BodyLength, limits: &Limits) -> Result<Self, ProtocolError> {
        let max_body_bytes = match limits.max_body_bytes {
            Some(limit) => limit,
            None => u64::MAX,
        };
        let state = match length {
            BodyLength::Known(len) if len > max_body_bytes => {
                return Err(ProtocolError::BodyTooLarge { limit: max_body_bytes });
            }
            BodyLength::None => State::Counted(0),
            BodyLength::Known(len) => State::Counted(len),
            BodyLength::Chunked => State::ChunkLine(ChunkLine::START),
            BodyLength::UntilClose => State::UntilClose,
        };
        Ok(Self {
            state,
            room: max_body_bytes,
            max_body_bytes,
            extension_room: limits.max_chunk_extension_bytes,
            max_chunk_extension_bytes: limits.max_chunk_extension_bytes,
            max_trailer_bytes: within_section(limits.max_trailer_bytes),
            max_fields: within_section(limits.max_fields),
        })
    }

    /// Takes bytes off the front of `input`, up to the next event, and never a byte behind the body's end.
    ///
    /// `None` means that all bytes were taken and more are needed, or that the end was reported before. A body without
    /// bytes reports its end at the first call, with or without input.
    ///
    /// # Errors
    /// [`ProtocolError`] for what is no body, or exceeds a limit. No call may follow it.
    #[inline]
    pub fn receive<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<BodyEvent<'b>>, ProtocolError> {
        match &mut self.state {
            State::Counted(0) => Ok(Some(self.end(None))),
            State::Counted(left) if !input.is_empty() => {
                let data = take(input, *left);
                *left -= data.len() as u64;
                Ok(Some(BodyEvent::Data(data)))
            }
            State::Counted(_) | State::Done => Ok(None),
            _ => self.receive_framed(input),
        }
    }

    /// As [`receive`](Self::receive), where what comes tells of the end.
    fn receive_framed<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<BodyEvent<'b>>, ProtocolError> {
        loop {
            match &mut self.state {
                State::ChunkData(left) if !input.is_empty() => {
                    let data = take(input, *left);
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.state = State::ChunkCr;
                    }
                    return Ok(Some(BodyEvent::Data(data)));
                }
                State::UntilClose if !input.is_empty() => {
                    if self.room == 0 {
                        return Err(ProtocolError::BodyTooLarge { limit: self.max_body_bytes });
                    }
                    let data = take(input, self.room);
                    self.room -= data.len() as u64;
                    return Ok(Some(BodyEvent::Data(data)));
                }
                State::ChunkLine(line) => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                    let size = line.step(*byte, &mut self.extension_room, self.max_chunk_extension_bytes)?;
                    *input = rest;
                    if let Some(size) = size {
                        self.begin_chunk(size)?;
                    }
                }
                State::ChunkCr | State::ChunkLf => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                    self.state = match (&self.state, byte) {
                        (State::ChunkCr, b'\r') => State::ChunkLf,
                        (State::ChunkLf, b'\n') => State::ChunkLine(ChunkLine::START),
                        _ => return Err(ProtocolError::MissingChunkCrlf),
                    };
                    *input = rest;
                }
                State::Trailers(slot) => {
                    // Nearly every chunked body ends without a trailer.
                    if slot.is_none()
                        && let Some(rest) = input.strip_prefix(b"\r\n")
                        && self.max_trailer_bytes >= 2
                    {
                        *input = rest;
                        return Ok(Some(self.end(None)));
                    }
                    let refusal = ProtocolError::TrailersTooLarge { limit: self.max_trailer_bytes.into() };
                    let bound = (self.max_trailer_bytes.into(), refusal);
                    let bounds = Bounds { start_line: bound, section: bound, max_fields: self.max_fields.into() };
                    let Some(trailers) = Section::<()>::receive(slot, input, &bounds)? else { return Ok(None) };
                    if trailers.iter().any(|field| field.known().is_some_and(is_forbidden_trailer)) {
                        return Err(ProtocolError::ForbiddenTrailer);
                    }
                    return Ok(Some(self.end((!trailers.is_empty()).then_some(trailers))));
                }
                State::Counted(_) | State::ChunkData(_) | State::UntilClose | State::Done => return Ok(None),
            }
        }
    }

    /// The stream has ended: that is the end of a body until close, and of one that has all its bytes.
    ///
    /// # Errors
    /// [`ProtocolError::TruncatedBody`] for every other body (RFC 9112 §8), and when the end was reported before: there
    /// is no second one.
    pub fn receive_end(&mut self) -> Result<BodyEvent<'static>, ProtocolError> {
        match self.state {
            State::Counted(0) | State::UntilClose => Ok(self.end(None)),
            _ => Err(ProtocolError::TruncatedBody),
        }
    }

    /// True once the end was reported.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn begin_chunk(&mut self, size: u64) -> Result<(), ProtocolError> {
        let too_large = ProtocolError::BodyTooLarge { limit: self.max_body_bytes };
        // Without a limit there is room for 2^64-1 bytes, which no peer will ever send: nothing can wrap.
        self.room = self.room.checked_sub(size).ok_or(too_large)?;
        self.state = if size == 0 { State::Trailers(None) } else { State::ChunkData(size) };
        Ok(())
    }

    fn end(&mut self, trailers: Option<Fields>) -> BodyEvent<'static> {
        self.state = State::Done;
        BodyEvent::End(trailers)
    }
}

/// A limit of a section's bytes, or of lines in it. No section is larger than 16 bits can say.
#[expect(clippy::cast_possible_truncation, reason = "the bound is what 16 bits hold")]
const fn within_section(limit: usize) -> u16 {
    if limit < MAX_SECTION_BYTES { limit as u16 } else { MAX_SECTION_BYTES as u16 }
}

/// Takes up to `max` bytes off the front.
fn take<'b>(input: &mut &'b [u8], max: u64) -> &'b [u8] {
    let len = usize::try_from(max).unwrap_or(usize::MAX).min(input.len());
    let (data, rest) = input.split_at(len);
    *input = rest;
    data
}
