//! Bodies in and out: counted, chunked, or until the end of the stream.

use std::ops::Deref;

use bytes::BytesMut;

use crate::error::{Misuse, ProtocolError};
use crate::fields::Fields;
use crate::framing::BodyLength;
use crate::limits::Limits;

/// What comes out of a [`BodyReader`].
#[derive(Debug, PartialEq, Eq)]
pub enum BodyEvent<'b> {
    /// Content, never empty.
    Data(&'b [u8]),
    /// The content is complete; with the trailer section, if there was a line in it. It comes exactly once.
    End(Option<Fields>),
}

/// Reads one message's body.
#[derive(Debug)]
pub struct BodyReader {
    length: BodyLength,
}

impl BodyReader {
    /// # Errors
    /// [`ProtocolError::BodyTooLarge`] when the declared length exceeds `max_body_bytes`.
    pub fn new(length: BodyLength, limits: &Limits) -> Result<Self, ProtocolError> {
        let _ = limits;
        Ok(Self { length })
    }

    /// Takes bytes off the front of `input`.
    pub fn receive<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<BodyEvent<'b>>, ProtocolError> {
        let _ = input;
        Err(ProtocolError::UnaskedBytes)
    }

    /// The stream ended.
    pub fn receive_end(&mut self) -> Result<BodyEvent<'static>, ProtocolError> {
        Err(ProtocolError::TruncatedBody)
    }

    /// True after `End`.
    pub fn is_done(&self) -> bool {
        self.length == BodyLength::None
    }
}

/// Frames one message's body.
#[derive(Debug)]
pub struct BodyWriter {
    length: BodyLength,
}

/// What stands around the bytes of one frame: `[prefix, data…, suffix]`.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The chunk size line, or nothing.
    pub prefix: Prefix,
    /// The CRLF after a chunk, or nothing.
    pub suffix: &'static [u8],
}

/// A chunk size line, inline.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    bytes: [u8; 18],
    len: u8,
}

impl Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl BodyWriter {
    /// A writer of a body that ends so.
    pub fn new(length: BodyLength) -> Self {
        Self { length }
    }

    /// The frame for so many bytes.
    pub fn frame(&mut self, len: usize) -> Result<Frame, Misuse> {
        let _ = len;
        Err(Misuse::WrongState)
    }

    /// Ends the body.
    pub fn finish(&mut self, trailers: Option<&Fields>, out: &mut BytesMut) -> Result<(), Misuse> {
        let _ = (trailers, out);
        Err(Misuse::WrongState)
    }

    /// True after `finish`.
    pub fn is_done(&self) -> bool {
        false
    }

    /// Bytes that are still owed, if the length is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.length {
            BodyLength::Known(length) => Some(length),
            _ => None,
        }
    }
}
