//! Header lines as they came: order, case and bytes kept, known names tagged.

use std::fmt;
use std::mem;

use bytes::BytesMut;
use http::HeaderValue;

use crate::error::InvalidField;
use crate::grammar::is_token;
use crate::known::Known;
use crate::known_set::KnownSet;
use crate::list::Members;
use crate::room::Room;
use crate::text::Text;

/// The field lines of a head or a trailer section.
///
/// Two allocations hold all of it: the bytes and the index of lines. Mostly the thread has kept them from heads before. A
/// parsed head moves or copies its bytes once.
/// Whatever stands in it can be written: names are tokens and values hold no CR, LF, NUL or other control byte but HTAB
/// (RFC 9110 §5.1, §5.5). Values may hold bytes over 0x7F (obs-text). Blanks around a value are no part of it.
///
/// Lines that are removed or replaced leave their bytes behind until the whole is dropped.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// The names that a line had or has: most questions are for names that never were here.
    seen: KnownSet,
}

/// One line's place in the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Where the name begins.
    pub(crate) start: u32,
    /// The value's length.
    pub(crate) value_len: u32,
    /// The name's length.
    pub(crate) name_len: u16,
    /// From the name's end to the value's begin: the colon and the blanks.
    pub(crate) gap: u16,
    /// The name, if it is a known one.
    pub(crate) known: Option<Known>,
    /// Whether the line stands in the bytes exactly as we would write it: `name: value CRLF`.
    pub(crate) plain: bool,
}

/// One field line.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
    known: Option<Known>,
}

/// There are several lines of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeated;

impl Fields {
    /// No lines, and no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), lines: Vec::new(), seen: KnownSet::EMPTY }
    }

    /// No lines, and memory for so many, whose text has so many bytes together.
    #[must_use]
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), lines: Vec::with_capacity(lines), seen: KnownSet::EMPTY }
    }

    /// The lines that a parser has checked; they point into the bytes beside them.
    pub(crate) fn from_parsed(room: Room) -> Self {
        let Room { mut bytes, lines } = room;
        if bytes.ends_with(b"\r\n\r\n") {
            // Without the section's end, what is appended stands behind the last line, and is written with it.
            bytes.truncate(bytes.len() - 2);
        }
        let seen = lines.iter().fold(KnownSet::EMPTY, |seen, line| seen.with(KnownSet::one(line.known)));
        Self { bytes, lines, seen }
    }

    /// How many lines there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// True without a line.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Removes every line and keeps the memory.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.bytes.clear();
        self.seen = KnownSet::EMPTY;
    }

    /// The lines in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + ExactSizeIterator + Clone {
        self.lines.iter().map(|line| line.of(&self.bytes))
    }

    /// The value of the first line of this name.
    #[must_use]
    pub fn get(&self, name: Known) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of the first line of this name, if it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: Known) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The value of the first line of this name, as what need not be looked at again to be a value.
    #[must_use]
    pub fn get_text(&self, name: Known) -> Option<Text<'_>> {
        self.get(name).map(Text::of_parsed)
    }

    /// The values of all lines of this name, in their order.
    pub fn get_all(&self, name: Known) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.lines_seen(name).iter().filter(move |line| line.known == Some(name)).map(|line| line.of(&self.bytes).value)
    }

    /// The value of the first line of this name, in any case. For known names [`get`](Self::get) is quicker.
    #[must_use]
    pub fn get_named(&self, name: &str) -> Option<&[u8]> {
        let wanted = name.as_bytes();
        let known = Known::from_bytes(wanted);
        self.iter().find(|field| field.is(known, wanted)).map(|field| field.value)
    }

    /// The value of the one line of this name, if there is one.
    #[inline]
    pub(crate) fn get_only(&self, name: Known) -> Result<Option<&[u8]>, Repeated> {
        let mut only = None;
        for line in self.lines_seen(name).iter().filter(|line| line.known == Some(name)) {
            if only.replace(line).is_some() {
                return Err(Repeated);
            }
        }
        Ok(only.map(|line| line.of(&self.bytes).value))
    }

    /// False when no line of these names was ever here.
    #[inline]
    pub(crate) const fn may_have(&self, names: KnownSet) -> bool {
        self.seen.meets(names)
    }

    /// True when a line of this name exists.
    #[must_use]
    pub fn contains(&self, name: Known) -> bool {
        self.lines_seen(name).iter().any(|line| line.known == Some(name))
    }

    /// How many lines of this name there are.
    #[must_use]
    pub fn count(&self, name: Known) -> usize {
        self.lines_seen(name).iter().filter(|line| line.known == Some(name)).count()
    }

    /// Appends a line. Blanks around the value are left out.
    ///
    /// # Errors
    /// [`InvalidField::Value`] when the value cannot be sent; nothing is changed then.
    pub fn push(&mut self, name: Known, value: &[u8]) -> Result<(), InvalidField> {
        self.push_text(name, [Text::new(value)?])
    }

    /// Appends a line whose value is these parts one after the other. None of their bytes is looked at.
    ///
    /// # Errors
    /// [`InvalidField::Value`] when all lines together exceed 4 GiB; nothing is changed then.
    // Inline, so that what is known of the name and the parts when this is compiled is copied without a call.
    #[inline(always)]
    pub fn push_text<const N: usize>(&mut self, name: Known, value: [Text<'_>; N]) -> Result<(), InvalidField> {
        let line = self.store(name, value)?;
        self.lines.push(line);
        Ok(())
    }

    /// Appends a line under any name, in the spelling given.
    ///
    /// # Errors
    /// [`InvalidField`] when the name is no token or the value cannot be sent; nothing is changed then.
    pub fn push_named(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        let name = name.as_bytes();
        if !is_token(name) {
            return Err(InvalidField::Name);
        }
        let value = Text::new(value)?;
        let line = self.begin_line(Known::from_bytes(name), name.len(), value.len())?;
        for part in [name, b": ", value.as_bytes(), b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        self.lines.push(line);
        Ok(())
    }

    /// Appends a line whose value is valid by its type.
    ///
    /// # Panics
    /// When all lines together exceed 4 GiB.
    pub fn push_value(&mut self, name: Known, value: &HeaderValue) {
        self.push_text(name, [value.into()]).expect("all lines together are less than 4 GiB");
    }

    /// Puts this value in the place of the first line of this name and removes the others; appends it if there is none.
    ///
    /// # Errors
    /// [`InvalidField::Value`] when the value cannot be sent; nothing is changed then.
    pub fn set(&mut self, name: Known, value: &[u8]) -> Result<(), InvalidField> {
        let line = self.store(name, [Text::new(value)?])?;
        match self.lines_seen(name).iter().position(|line| line.known == Some(name)) {
            None => self.lines.push(line),
            Some(first) => {
                self.lines[first] = line;
                let mut at = 0;
                self.lines.retain(|line| {
                    at += 1;
                    at - 1 <= first || line.known != Some(name)
                });
            }
        }
        Ok(())
    }

    /// Removes every line of this name and says how many there were.
    pub fn remove(&mut self, name: Known) -> usize {
        if self.lines_seen(name).is_empty() {
            return 0;
        }
        let before = self.lines.len();
        self.remove_all(KnownSet::of(&[name]));
        before - self.lines.len()
    }

    /// Removes every line of any of these names.
    pub fn remove_all(&mut self, names: KnownSet) {
        if self.seen.meets(names) {
            self.lines.retain(|line| !names.meets(KnownSet::one(line.known)));
            self.seen = self.seen.without(names);
        }
    }

    /// Removes every line of this name, in any case, and says how many there were.
    pub fn remove_named(&mut self, name: &str) -> usize {
        let wanted = name.as_bytes();
        let known = Known::from_bytes(wanted);
        let before = self.lines.len();
        self.retain(|field| !field.is(known, wanted));
        before - self.lines.len()
    }

    /// Keeps the lines for which `keep` says true, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let bytes = &self.bytes;
        self.lines.retain(|line| keep(line.of(bytes)));
    }

    /// As [`retain`](Self::retain), asked only of lines whose names are not known ones: all others stay.
    pub fn retain_unknown(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        if self.seen.meets(KnownSet::OTHERS) {
            self.retain(|field| field.known.is_some() || keep(field));
        }
    }

    /// The members of all lines of this name, taken as one comma-separated list (RFC 9110 §5.6.1): blanks trimmed, empty
    /// ones left out, commas within quotes respected.
    pub fn list(&self, name: Known) -> impl Iterator<Item = &[u8]> + Clone {
        self.get_all(name).flat_map(Members::new)
    }

    /// True when a line of this name lists the token, in any case.
    #[must_use]
    pub fn has_token(&self, name: Known, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All lines, unless none of this name was ever among them.
    fn lines_seen(&self, name: Known) -> &[Line] {
        if self.seen.contains(name) { &self.lines } else { &[] }
    }

    /// At most so many bytes are written when all lines are.
    pub(crate) const fn written_bytes(&self) -> usize {
        // A line that came without a blank behind its colon is written with one.
        self.bytes.len() + self.lines.len()
    }

    /// Writes all lines but those of the names in `without`, each as `name: value CRLF`.
    ///
    /// Lines that came exactly so, one after the other, are copied together.
    pub(crate) fn write_to(&self, out: &mut BytesMut, without: KnownSet) {
        let mut run = 0..0;
        for line in self.lines.iter().filter(|line| !without.meets(KnownSet::one(line.known))) {
            let start = line.start as usize;
            if line.plain {
                if start != run.end {
                    if !run.is_empty() {
                        out.extend_from_slice(&self.bytes[run]);
                    }
                    run = start..start;
                }
                run.end = start + line.name_len as usize + 2 + line.value_len as usize + 2;
                continue;
            }
            out.extend_from_slice(&self.bytes[run]);
            run = 0..0;
            let field = line.of(&self.bytes);
            out.extend_from_slice(field.name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.bytes[run]);
    }

    /// Appends a line's bytes, as we write it, and says where they stand.
    #[inline(always)]
    fn store<const N: usize>(&mut self, name: Known, value: [Text<'_>; N]) -> Result<Line, InvalidField> {
        let begin = name.line_begin();
        let line = self.begin_line(Some(name), begin.len() - 2, value.iter().map(|part| part.len()).sum())?;
        self.bytes.extend_from_slice(begin);
        for part in value {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.extend_from_slice(b"\r\n");
        Ok(line)
    }

    /// The place of a line whose bytes, as we write it, are about to be appended.
    #[inline(always)]
    fn begin_line(&mut self, known: Option<Known>, name_len: usize, value_len: usize) -> Result<Line, InvalidField> {
        let line = Line {
            start: u32::try_from(self.bytes.len()).map_err(|_| InvalidField::Value)?,
            name_len: u16::try_from(name_len).map_err(|_| InvalidField::Name)?,
            gap: 2,
            value_len: u32::try_from(value_len).map_err(|_| InvalidField::Value)?,
            known,
            plain: true,
        };
        if self.bytes.capacity() == 0 {
            self.make_room();
        }
        self.seen = self.seen.with(KnownSet::one(known));
        Ok(line)
    }

    /// Room for the first lines of a head that is built line by line.
    #[cold]
    fn make_room(&mut self) {
        if self.lines.capacity() == 0 {
            Room { bytes: self.bytes, lines: self.lines } = Room::lent();
        }
    }
}

impl Drop for Fields {
    #[inline]
    fn drop(&mut self) {
        if self.lines.capacity() > 0 {
            Room { bytes: mem::take(&mut self.bytes), lines: mem::take(&mut self.lines) }.give_back();
        }
    }
}

impl Line {
    fn of<'a>(&self, bytes: &'a [u8]) -> Field<'a> {
        let name = self.start as usize;
        let name_end = name + self.name_len as usize;
        let value = name_end + self.gap as usize;
        Field { name: &bytes[name..name_end], value: &bytes[value..value + self.value_len as usize], known: self.known }
    }
}

impl<'a> Field<'a> {
    /// The name as it came or was pushed.
    #[must_use]
    pub fn name(&self) -> &'a str {
        std::str::from_utf8(self.name).expect("field names are tokens")
    }

    /// The name's bytes: a token.
    #[must_use]
    pub const fn name_bytes(&self) -> &'a [u8] {
        self.name
    }

    /// The value without the blanks around it. It may hold bytes over 0x7F (obs-text).
    #[must_use]
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The name's tag, if it is a known one.
    #[must_use]
    pub const fn known(&self) -> Option<Known> {
        self.known
    }

    /// True when the name is `name`, in any case; `known` is what `name` is known as.
    fn is(&self, known: Option<Known>, name: &[u8]) -> bool {
        self.known == known && (known.is_some() || self.name.eq_ignore_ascii_case(name))
    }

    /// True when the name is `name`, in any case.
    #[must_use]
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Equal when the same lines stand in the same order, names and values byte for byte.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().map(|field| (field.name, field.value)).eq(other.iter().map(|field| (field.name, field.value)))
    }
}

impl Eq for Fields {}

/// Shows the lines, but no credentials: those of Authorization, Cookie and their kin read `(hidden)`.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        f.write_str(": ")?;
        match self.known {
            Some(Known::Authorization | Known::ProxyAuthorization | Known::Cookie | Known::SetCookie) => {
                f.write_str("(hidden)")
            }
            _ => write!(f, "{}", self.value.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::OwnedText;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push_named(name, value.as_bytes()).unwrap();
        }
        fields
    }

    fn lines(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().map(|field| (field.name(), std::str::from_utf8(field.value()).unwrap())).collect()
    }

    fn written(fields: &Fields, skip: Option<Known>) -> String {
        let mut out = BytesMut::new();
        fields.write_to(&mut out, skip.map_or(KnownSet::EMPTY, |name| KnownSet::of(&[name])));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn lookups_by_tag_and_by_name() {
        let fields = fields(&[("VIA", "1.1 a"), ("x-a", "1"), ("Via", "1.1 b"), ("X-A", "2"), ("Host", "h")]);
        assert_eq!((fields.len(), fields.is_empty()), (5, false));
        assert_eq!(fields.get(Known::Via), Some(&b"1.1 a"[..]));
        assert_eq!(fields.get_str(Known::Host), Some("h"));
        assert_eq!(fields.get(Known::Date), None);
        assert_eq!(fields.get_all(Known::Via).collect::<Vec<_>>(), [b"1.1 a", b"1.1 b"]);
        assert_eq!(fields.get_named("X-a"), Some(&b"1"[..]));
        assert_eq!(fields.get_named("hOst"), Some(&b"h"[..]));
        assert_eq!(fields.get_named("x-b"), None);
        assert_eq!((fields.count(Known::Via), fields.count(Known::Date)), (2, 0));
        assert!(fields.contains(Known::Via) && !fields.contains(Known::Date));
        let tags: Vec<_> = fields.iter().map(|field| field.known()).collect();
        assert_eq!(tags, [Some(Known::Via), None, Some(Known::Via), None, Some(Known::Host)]);
    }

    #[test]
    fn edits_keep_the_order() {
        let start = fields(&[("A", "1"), ("Via", "x"), ("B", "2"), ("via", "y"), ("A", "3")]);

        let mut edited = start.clone();
        edited.set(Known::Via, b" z\t").unwrap();
        assert_eq!(lines(&edited), [("A", "1"), ("Via", "z"), ("B", "2"), ("A", "3")]);
        edited.set(Known::Date, b"now").unwrap();
        assert_eq!(lines(&edited).last(), Some(&("Date", "now")));
        assert_eq!(written(&edited, None), "A: 1\r\nVia: z\r\nB: 2\r\nA: 3\r\nDate: now\r\n");
        assert_eq!(written(&edited, Some(Known::Via)), "A: 1\r\nB: 2\r\nA: 3\r\nDate: now\r\n");

        let mut edited = start.clone();
        assert_eq!(edited.remove(Known::Via), 2);
        assert_eq!(edited.remove(Known::Via), 0);
        assert_eq!(edited.remove_named("a"), 2);
        assert_eq!(lines(&edited), [("B", "2")]);

        let mut edited = start.clone();
        assert_eq!(edited.remove_named("VIA"), 2);
        edited.retain(|field| field.value() != b"1");
        assert_eq!(lines(&edited), [("B", "2"), ("A", "3")]);
        edited.push(Known::Via, b"1.1 a").unwrap();
        edited.retain_unknown(|field| field.name_bytes() != b"B");
        assert_eq!(lines(&edited), [("A", "3"), ("Via", "1.1 a")]);
        edited.retain_unknown(|_| false);
        assert_eq!(lines(&edited), [("Via", "1.1 a")]);
        edited.clear();
        assert!(edited.is_empty() && written(&edited, None).is_empty());
        edited.push(Known::Te, b"").unwrap();
        assert_eq!(written(&edited, None), "TE: \r\n");
        edited.push_value(Known::Server, &HeaderValue::from_bytes(b" \xe4 ").unwrap());
        assert_eq!((edited.get(Known::Server), edited.get_str(Known::Server)), (Some(&b"\xe4"[..]), None));
    }

    #[test]
    fn what_cannot_be_sent_is_not_taken() {
        let mut fields = Fields::with_capacity(2, 20);
        for value in [&b"a\r\nB: c"[..], b"\r", b"\n", b"a\0", b"\x7f", b"\x1b", b"\x0b"] {
            assert_eq!(fields.push(Known::Via, value), Err(InvalidField::Value));
            assert_eq!(fields.set(Known::Via, value), Err(InvalidField::Value));
            assert_eq!(fields.push_named("A", value), Err(InvalidField::Value));
        }
        for name in ["", "a b", "a:", "a\r\n", "\u{e4}", "a\0", "\"a\""] {
            assert_eq!(fields.push_named(name, b"a"), Err(InvalidField::Name));
        }
        assert_eq!(fields.push_named(&"n".repeat(65_536), b"a"), Err(InvalidField::Name));
        assert!(fields.is_empty());
        fields.push_named(&"n".repeat(65_535), b"a\tb \xff").unwrap();
    }

    #[test]
    fn a_value_in_parts_is_taken_as_a_whole() {
        let mut fields = fields(&[("A", "1")]);
        let texts = ["1.1 a", ".", "b"].map(Text::literal);
        fields.push_text(Known::Via, texts).unwrap();
        fields.push_text(Known::Age, []).unwrap();
        let via = OwnedText::from(fields.get_text(Known::Via).unwrap());
        fields.push_text(Known::Server, [via.as_text()]).unwrap();
        assert_eq!(lines(&fields), [("A", "1"), ("Via", "1.1 a.b"), ("Age", ""), ("Server", "1.1 a.b")]);
        assert_eq!(fields.get_text(Known::Date), None);
        assert_eq!(written(&fields, None), "A: 1\r\nVia: 1.1 a.b\r\nAge: \r\nServer: 1.1 a.b\r\n");
    }

    #[test]
    fn what_was_never_there_is_not_looked_for_and_what_is_there_is_found() {
        for &name in Known::ALL {
            let mut fields = Fields::new();
            assert!(!fields.contains(name) && fields.remove(name) == 0);
            fields.push(name, b"1").unwrap();
            fields.set(name, b"2").unwrap();
            assert!(fields.contains(name) && fields.get(name) == Some(b"2") && fields.count(name) == 1);
            let parsed = Fields::from_parsed(Room { bytes: fields.bytes.clone(), lines: fields.lines.clone() });
            assert!(parsed.contains(name) && Known::ALL.iter().all(|&other| other == name || !parsed.contains(other)));
            fields.remove_all(KnownSet::of(Known::ALL).without(KnownSet::of(&[name])));
            assert_eq!((fields.len(), fields.remove(name), fields.contains(name)), (1, 1, false));
            fields.push(name, b"3").unwrap();
            assert_eq!(fields.get(name), Some(&b"3"[..]));
            fields.push_named("X", b"4").unwrap();
            fields.remove_all(KnownSet::of(&[name]));
            assert_eq!(lines(&fields), [("X", "4")]);
        }
    }

    #[test]
    fn lists_go_over_all_lines() {
        let fields = fields(&[("Connection", "a, ,b"), ("X", "close"), ("connection", "\"c,d\" , Close")]);
        let members: Vec<_> = fields.list(Known::Connection).collect();
        assert_eq!(members, [&b"a"[..], b"b", b"\"c,d\"", b"Close"]);
        assert!(fields.has_token(Known::Connection, "close") && fields.has_token(Known::Connection, "B"));
        assert!(!fields.has_token(Known::Connection, "c") && !fields.has_token(Known::Te, "close"));
    }

    #[test]
    fn lines_are_written_in_one_form() {
        let mut input = &b"HTTP/1.1 200 OK\r\nA: 1\r\nB:2\r\nC:\t3\r\nD: 4 \r\nE:  5\r\nF:\r\nG: \r\nH: 6\r\n\r\n"[..];
        let head = crate::read_head::ResponseReader::new().receive(&mut input, &Default::default()).unwrap().unwrap();
        let text = written(head.fields(), None);
        assert_eq!(text, "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: \r\nG: \r\nH: 6\r\n");
        assert!(head.fields().written_bytes() >= text.len());
    }

    #[test]
    fn equal_by_lines_in_order() {
        let one = fields(&[("A", "1"), ("B", "2")]);
        let mut two = fields(&[("C", "0"), ("A", "1"), ("B", "2")]);
        assert_ne!(one, two);
        two.remove_named("c");
        assert_eq!(one, two);
        assert_ne!(one, fields(&[("B", "2"), ("A", "1")]));
        assert_ne!(one, fields(&[("a", "1"), ("B", "2")]));
    }

    #[test]
    fn no_credentials_are_shown() {
        let shown = format!(
            "{:?}",
            fields(&[("authorization", "s3cret"), ("Cookie", "s3cret"), ("Set-Cookie", "s3cret"), ("A", "b\"\u{e4}")])
        );
        assert_eq!(shown, r#"[authorization: (hidden), Cookie: (hidden), Set-Cookie: (hidden), A: b\"\xc3\xa4]"#);
        assert!(!format!("{:?}", fields(&[("Proxy-Authorization", "s3cret")])).contains("s3cret"));
    }

    #[test]
    fn an_index_entry_is_sixteen_bytes() {
        assert_eq!(size_of::<Line>(), 16);
    }
}
