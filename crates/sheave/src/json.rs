//! JSON text, written piece by piece into a buffer of bytes: no tree, no allocation, no way out of a string.

/// Appends one JSON object, field by field.
///
/// Keys are the program's own and are written as they are: letters and underscores.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    /// A field that is text.
    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        string(self.key(key), value);
        self
    }

    /// A field that is text, unless it is absent.
    pub(crate) fn optional_text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// A field that is shown by its formatter, as text. For values whose text holds neither quotes nor controls.
    pub(crate) fn shown(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        let out = self.key(key);
        out.push(b'"');
        show(out, value);
        out.push(b'"');
        self
    }

    /// A field that is a number.
    pub(crate) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        let out = self.key(key);
        number(out, value);
        self
    }

    /// A field that is a truth.
    pub(crate) fn truth(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// A field whose value the caller appends to what this returns.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// Appends a number in decimal.
pub(crate) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends what a formatter shows.
pub(crate) fn show(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing to a vector fails only if the formatter itself does; then what it wrote is all there is.
    let _ = write!(out, "{value}");
}

/// Appends a string in quotes. RFC 8259 §7; beyond it, DEL and the C1 controls are escaped too, because a terminal that
/// shows the text would obey them.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    let mut at = 0;
    while at < bytes.len() {
        let (escape, len) = match bytes[at] {
            b'"' => (Escape::Short(b'"'), 1),
            b'\\' => (Escape::Short(b'\\'), 1),
            b'\n' => (Escape::Short(b'n'), 1),
            b'\r' => (Escape::Short(b'r'), 1),
            b'\t' => (Escape::Short(b't'), 1),
            control @ (0..=0x1f | 0x7f) => (Escape::Unicode(control), 1),
            // U+0080 to U+009F are C2 80 to C2 9F in UTF-8.
            0xc2 if bytes.get(at + 1).is_some_and(|next| *next < 0xa0) => (Escape::Unicode(bytes[at + 1]), 2),
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[plain_from..at]);
        match escape {
            Escape::Short(letter) => out.extend_from_slice(&[b'\\', letter]),
            Escape::Unicode(code) => {
                out.extend_from_slice(b"\\u00");
                hex(out, code);
            }
        }
        at += len;
        plain_from = at;
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

/// Appends a byte as two hexadecimal digits.
pub(crate) fn hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

enum Escape {
    Short(u8),
    Unicode(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        string(&mut out, text);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn nothing_gets_out_of_a_string() {
        for (text, json) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("a\"b", r#""a\"b""#),
            ("a\\", r#""a\\""#),
            ("a\nb\rc\td", r#""a\nb\rc\td""#),
            ("\0\u{1}\u{1f}\u{7f}", r#""\u0000\u0001\u001f\u007f""#),
            ("\u{1b}[31m", r#""\u001b[31m""#),
            ("\u{80}\u{9b}\u{9f}\u{a0}", "\"\\u0080\\u009b\\u009f\u{a0}\""),
            ("Grüße, 世界 \u{1f600}", "\"Grüße, 世界 \u{1f600}\""),
            ("\u{c2}\u{82}", "\"\u{c2}\\u0082\""),
        ] {
            assert_eq!(quoted(text), json, "{text:?}");
        }
    }

    #[test]
    fn an_object_is_its_fields_and_commas() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.number("n", 1).text("t", "x").optional_text("none", None).truth("b", false).shown("s", 1.5);
        Object::begin(object.key("o")).end();
        object.end();
        assert_eq!(out, br#"{"n":1,"t":"x","b":false,"s":"1.5","o":{}}"#);
    }
}
