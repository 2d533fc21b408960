//! Lines up to an empty one: a head behind its start line, or a trailer section.

use memchr::memchr;

use super::field_line;
use super::scan::{At, Scan};
use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::room::Room;

/// What stands before the field lines.
pub(crate) trait StartLine: Sized {
    /// What it makes of a section.
    type Whole;
    /// Where a scan of it begins.
    const AT: At;

    /// The start line of a section that has none.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads the line that `bytes` begin with, and says where it ends; `None` when it is not whole, or unusual, though it may
    /// be right.
    fn read_usual(_: &[u8]) -> Option<(Self, usize)> {
        None
    }

    /// Reads the line, without its LF. When bytes in it are wrong, any error will do: the scan finds the right one.
    fn parse(line: &[u8]) -> Result<Self, ProtocolError>;

    /// Puts the fields behind it. What they and it say together may be wrong.
    fn with_fields(self, fields: Fields) -> Result<Self::Whole, ProtocolError>;
}

/// A trailer section has no start line.
impl StartLine for () {
    type Whole = Fields;
    const AT: At = At::Line;

    fn absent() -> Option<Self> {
        Some(())
    }

    fn parse(_: &[u8]) -> Result<Self, ProtocolError> {
        Ok(())
    }

    fn with_fields(self, fields: Fields) -> Result<Fields, ProtocolError> {
        Ok(fields)
    }
}

/// How much a section may hold, and what is said when it is more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of the start line with its CRLF, and the refusal.
    pub(crate) start_line: (usize, ProtocolError),
    /// Bytes of all, and the refusal.
    pub(crate) section: (usize, ProtocolError),
    /// Field lines.
    pub(crate) max_fields: usize,
}

/// A section of which not every byte has come. It remembers the lines that it has read, so that no byte is read again.
#[derive(Debug)]
pub(crate) struct Section<S> {
    /// The bytes that have come, once it is known that not all have; never more than the bounds allow.
    carry: Vec<u8>,
    bounds: Bounds,
    start_line: Option<S>,
    /// The lines that were read; the bytes are not used before all have come.
    room: Room,
    /// Where the line begins that is not whole yet.
    pos: usize,
    /// What has come of that line.
    scan: Scan,
}

/// Room behind a head's bytes for the fields that a proxy adds.
const SPARE_BYTES: usize = 320;

impl<S: StartLine> Section<S> {
    /// Takes bytes off the front of `input` into the section in `slot`, or past it when all of it is in `input`. Never
    /// takes a byte behind the section's end. Takes all and returns `None` when bytes are missing. The bounds that come
    /// with the first byte hold.
    pub(crate) fn receive(
        slot: &mut Option<Box<Self>>,
        input: &mut &[u8],
        bounds: &Bounds,
    ) -> Result<Option<S::Whole>, ProtocolError> {
        if let Some(section) = slot {
            if !section.carry_on(input)? {
                return Ok(None);
            }
            return slot.take().map_or(Ok(None), |section| section.into_whole(None));
        }
        let within = &input[..input.len().min(bounds.section.0)];
        let mut section = match S::read_usual(&within[..within.len().min(bounds.start_line.0)]) {
            None => Self::begin(bounds),
            Some((start_line, pos)) => {
                let mut room = Room::lent();
                let pos = field_line::read_usual_lines(within, pos, bounds.max_fields, &mut room.lines);
                if within[pos..].starts_with(b"\r\n") {
                    let (whole, rest) = input.split_at(pos + 2);
                    *input = rest;
                    return start_line.with_fields(holding(whole, room)).map(Some);
                }
                // The careful reading takes over.
                Self { start_line: Some(start_line), room, pos, scan: Scan::new(At::Line), ..Self::begin(bounds) }
            }
        };
        if section.advance(input)? {
            let (whole, rest) = input.split_at(section.pos);
            *input = rest;
            return section.into_whole(Some(whole));
        }
        if !input.is_empty() {
            section.carry = input.to_vec();
            *input = &[];
            *slot = Some(Box::new(section));
        }
        Ok(None)
    }

    /// A section of which nothing was read.
    fn begin(bounds: &Bounds) -> Self {
        Self {
            carry: Vec::new(),
            bounds: *bounds,
            start_line: S::absent(),
            room: Room::default(),
            pos: 0,
            scan: Scan::new(S::AT),
        }
    }

    /// Appends `input` to what has come, line by line, since only a line's end can be the section's end.
    fn carry_on(&mut self, input: &mut &[u8]) -> Result<bool, ProtocolError> {
        while !input.is_empty() {
            // One byte over the bound shows that it is exceeded; more would be copied for nothing.
            let room = (self.bounds.section.0 + 1).saturating_sub(self.carry.len()).min(input.len());
            let len = memchr(b'\n', &input[..room]).map_or(room, |at| at + 1);
            let (now, rest) = input.split_at(len);
            self.carry.extend_from_slice(now);
            *input = rest;
            let carry = std::mem::take(&mut self.carry);
            let is_whole = self.advance(&carry);
            self.carry = carry;
            if is_whole? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the lines that are whole in `bytes`, which hold the section from its first byte. True at its end, which is
    /// at `pos` then.
    fn advance(&mut self, bytes: &[u8]) -> Result<bool, ProtocolError> {
        if self.start_line.is_none() {
            let Bounds { start_line, section, .. } = self.bounds;
            let bound = if start_line.0 < section.0 { start_line } else { section };
            let Some(line) = self.whole_line(bytes, bound)? else { return Ok(false) };
            match S::parse(line) {
                Ok(start_line) => self.start_line = Some(start_line),
                Err(refusal) => return Err(self.first_wrong_byte(bytes, line.len()).unwrap_or(refusal)),
            }
            self.room = Room::lent();
            self.next_line(line.len() + 1);
        }
        loop {
            if self.scan.pos() == 0 {
                let within = &bytes[..bytes.len().min(self.bounds.section.0)];
                self.pos = field_line::read_usual_lines(within, self.pos, self.bounds.max_fields, &mut self.room.lines);
            }
            self.check_first_byte(bytes)?;
            let Some(line) = self.whole_line(bytes, self.bounds.section)? else { return Ok(false) };
            if *line == *b"\r" {
                self.next_line(2);
                return Ok(true);
            }
            match field_line::read(line, self.pos) {
                Some(field) => self.room.lines.push(field),
                None => {
                    let refusal = self.first_wrong_byte(bytes, line.len());
                    return Err(refusal.unwrap_or(ProtocolError::MissingColon));
                }
            }
            self.next_line(line.len() + 1);
        }
    }

    /// The line at `pos` without its LF, if it is whole within the bound.
    fn whole_line<'b>(
        &mut self,
        bytes: &'b [u8],
        (max_bytes, refusal): (usize, ProtocolError),
    ) -> Result<Option<&'b [u8]>, ProtocolError> {
        let line = &bytes[self.pos..bytes.len().min(max_bytes)];
        if let Some(at) = memchr(b'\n', &line[self.scan.pos()..]) {
            return Ok(Some(&line[..self.scan.pos() + at]));
        }
        self.scan.run(line)?;
        if bytes.len() > max_bytes { Err(refusal) } else { Ok(None) }
    }

    /// What the first byte of a line tells. The scan looks at each byte of a line alone and cannot know it.
    fn check_first_byte(&self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let limit = self.bounds.max_fields;
        match bytes.get(self.pos) {
            // RFC 9112 §2.2: a blank before the first field line; §5.2: a folded line. Neither is dropped nor joined.
            Some(b' ' | b'\t') if self.room.lines.is_empty() => Err(ProtocolError::IndentedFirstLine),
            Some(b' ' | b'\t') => Err(ProtocolError::ObsFold),
            Some(byte) if *byte != b'\r' && self.room.lines.len() >= limit => {
                Err(ProtocolError::TooManyFields { limit })
            }
            _ => Ok(()),
        }
    }

    /// Why the whole line at `pos` was refused, if single bytes are to blame.
    fn first_wrong_byte(&self, bytes: &[u8], len: usize) -> Option<ProtocolError> {
        let mut scan = self.scan;
        scan.run(&bytes[self.pos..=self.pos + len]).err()
    }

    fn next_line(&mut self, len: usize) {
        self.pos += len;
        self.scan = Scan::new(At::Line);
    }

    /// The start line and the fields, over the bytes that were carried, or a copy of `whole`.
    fn into_whole(self, whole: Option<&[u8]>) -> Result<Option<S::Whole>, ProtocolError> {
        let Some(start_line) = self.start_line else { return Ok(None) };
        let fields = match whole {
            Some(whole) => holding(whole, self.room),
            None => Fields::from_parsed(Room { bytes: self.carry, ..self.room }),
        };
        start_line.with_fields(fields).map(Some)
    }
}

/// The fields of a section that has the lines of `room`: a copy of its bytes, with room for more.
fn holding(whole: &[u8], mut room: Room) -> Fields {
    if !room.lines.is_empty() {
        room.bytes.reserve(whole.len() + SPARE_BYTES);
        room.bytes.extend_from_slice(whole);
    }
    Fields::from_parsed(room)
}
