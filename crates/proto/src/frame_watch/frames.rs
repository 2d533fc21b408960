//! Where frames begin and end in a stream of bytes, and what their headers say. RFC 9113 §4.1

use super::GoAway;
use crate::h2_code::ErrorCode;

/// Bytes of the preface that a client sends first. RFC 9113 §3.4
pub(super) const PREFACE_LEN: u8 = 24;

const HEADER_LEN: usize = 9;

/// No more of a payload is looked at: the two numbers of a GOAWAY.
const MAX_KEPT: usize = 8;

/// The types of frames. RFC 9113 §6
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Data,
    Headers,
    /// PRIORITY, and PRIORITY_UPDATE (RFC 9218 §7.1).
    Priority,
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl Kind {
    const fn of(number: u8) -> Self {
        match number {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 | 0x10 => Self::Priority,
            0x3 => Self::ResetStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// A frame's header, and what of its payload counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    flags: u8,
    pub(super) stream: u32,
    /// Bytes of payload.
    pub(super) len: u32,
    kept: [u8; MAX_KEPT],
}

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

impl Frame {
    pub(super) const fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    pub(super) const fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(super) const fn ends_headers(&self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// Whether a frame of DATA holds nothing but padding.
    pub(super) const fn is_empty_data(&self) -> bool {
        match self.flags & PADDED {
            0 => self.len == 0,
            // One byte says how many follow the content.
            _ => self.len <= 1 + self.kept[0] as u32,
        }
    }

    /// The error code of a RST_STREAM.
    pub(super) const fn code(&self) -> ErrorCode {
        ErrorCode::of(self.number(0))
    }

    pub(super) const fn goaway(&self) -> GoAway {
        GoAway { last_stream: self.number(0) & !(1 << 31), code: ErrorCode::of(self.number(4)) }
    }

    const fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.kept[at], self.kept[at + 1], self.kept[at + 2], self.kept[at + 3]])
    }

    const fn of(header: &[u8; HEADER_LEN]) -> Self {
        Self {
            len: u32::from_be_bytes([0, header[0], header[1], header[2]]),
            kind: Kind::of(header[3]),
            flags: header[4],
            stream: u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & !(1 << 31),
            kept: [0; MAX_KEPT],
        }
    }

    /// How many bytes of the payload are looked at.
    const fn needs(&self) -> usize {
        let wanted = match self.kind {
            Kind::ResetStream => 4,
            Kind::GoAway => MAX_KEPT,
            Kind::Data if self.flags & PADDED != 0 => 1,
            _ => 0,
        };
        // Too short for its type, it is an error that the framing layer sees.
        if (self.len as usize) < wanted { self.len as usize } else { wanted }
    }
}

/// A place in a stream of frames.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is left of the preface.
    preface: u8,
    /// A header that is not whole, or whose payload's first bytes are not.
    partial: [u8; HEADER_LEN + MAX_KEPT],
    partial_len: u8,
    /// Bytes of payload that are passed over.
    left: u32,
    /// The frame whose payload is passed over.
    current: Option<Kind>,
}

impl Frames {
    /// The beginning, behind a preface of so many bytes.
    pub(super) const fn new(preface: u8) -> Self {
        Self { preface, partial: [0; HEADER_LEN + MAX_KEPT], partial_len: 0, left: 0, current: None }
    }

    /// Takes bytes off the front of `input` up to where the next frame is known.
    #[inline]
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<Frame> {
        if self.preface > 0 {
            let taken = input.len().min(self.preface.into());
            *input = &input[taken..];
            self.preface = self.preface.saturating_sub(u8::try_from(taken).unwrap_or(u8::MAX));
        }
        let passed = input.len().min(self.left as usize);
        *input = &input[passed..];
        // As many as were left, at most.
        self.left -= u32::try_from(passed).unwrap_or(self.left);
        if self.preface > 0 || self.left > 0 {
            return None;
        }
        self.current = None;
        let mut frame = self.header(input)?;
        let needs = frame.needs();
        if needs > 0 {
            self.gather(input, HEADER_LEN + needs)?;
            frame.kept[..needs].copy_from_slice(&self.partial[HEADER_LEN..HEADER_LEN + needs]);
        }
        self.partial_len = 0;
        self.current = Some(frame.kind);
        self.left = frame.len - u32::try_from(needs).unwrap_or(frame.len);
        Some(frame)
    }

    /// The header of the next frame, once it is whole.
    fn header(&mut self, input: &mut &[u8]) -> Option<Frame> {
        if self.partial_len == 0
            && let Some((header, rest)) = input.split_first_chunk::<HEADER_LEN>()
        {
            let frame = Frame::of(header);
            if frame.needs() == 0 {
                *input = rest;
                return Some(frame);
            }
        }
        self.gather(input, HEADER_LEN)?;
        let header = self.partial.first_chunk::<HEADER_LEN>()?;
        Some(Frame::of(header))
    }

    /// Moves bytes into the partial frame until it has `wanted` of them.
    fn gather(&mut self, input: &mut &[u8], wanted: usize) -> Option<()> {
        let have = usize::from(self.partial_len);
        let taken = input.len().min(wanted.saturating_sub(have));
        self.partial[have..have + taken].copy_from_slice(&input[..taken]);
        *input = &input[taken..];
        // No more than seventeen.
        self.partial_len = u8::try_from(have + taken).unwrap_or(u8::MAX);
        (have + taken >= wanted).then_some(())
    }

    /// Whether a frame, or the preface, has begun and is not whole.
    pub(super) const fn is_amid(&self) -> bool {
        self.left > 0 || self.partial_len > 0 || (self.preface > 0 && self.preface < PREFACE_LEN)
    }

    /// Whether the preface is behind, and no frame is under way.
    pub(super) const fn is_between(&self) -> bool {
        self.preface == 0 && self.left == 0 && self.partial_len == 0
    }

    /// Whether the header of a frame came, and not all of its payload.
    pub(super) const fn is_in_payload(&self) -> bool {
        self.left > 0
    }

    /// The type of the frame that is not whole, where its header is.
    pub(super) const fn current(&self) -> Option<Kind> {
        self.current
    }
}
