//! An exchange in Apache's combined log format: `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.

use sheave_lifecycle::observe::ExchangeEnd;

use crate::calendar::Moment;
use crate::json;

/// Appends the line. What is not known is a dash; the client is its address without the port, as Apache has it.
pub(crate) fn write(out: &mut Vec<u8>, began: Moment, end: &ExchangeEnd<'_>) {
    match end.peer {
        Some(peer) => json::show(out, peer.ip()),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - - [");
    began.common_log(out);
    out.extend_from_slice(b"] \"");
    if end.method.is_empty() {
        out.push(b'-');
    } else {
        escape(out, end.method);
        out.push(b' ');
        escape(out, end.target);
        out.push(b' ');
        escape(out, end.version);
    }
    out.extend_from_slice(b"\" ");
    number_or_dash(out, end.status.into());
    out.push(b' ');
    number_or_dash(out, end.response_bytes);
    for field in [end.words.referer(), end.words.user_agent()] {
        out.extend_from_slice(b" \"");
        match field {
            Some(field) => escape(out, field),
            None => out.push(b'-'),
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

fn number_or_dash(out: &mut Vec<u8>, number: u64) {
    match number {
        0 => out.push(b'-'),
        number => json::number(out, number),
    }
}

/// Appends text that can neither end its quotes nor its line. As `ap_escape_logitem` of Apache httpd: C's escapes, and
/// `\xhh` for all other bytes that are not printable ASCII.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x0b => out.extend_from_slice(b"\\v"),
            byte => {
                out.extend_from_slice(b"\\x");
                json::hex(out, byte);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        for (text, escaped) in [
            ("", ""),
            ("plain text ~", "plain text ~"),
            ("a\"b", "a\\\"b"),
            ("a\\", "a\\\\"),
            ("\" 200 1 \"", "\\\" 200 1 \\\""),
            ("a\nb\rc\td\u{8}\u{b}", "a\\nb\\rc\\td\\b\\v"),
            ("\0\u{1b}[31m\u{7f}", "\\x00\\x1b[31m\\x7f"),
            ("ü", "\\xc3\\xbc"),
            ("\u{9b}", "\\xc2\\x9b"),
        ] {
            let mut out = Vec::new();
            escape(&mut out, text);
            assert_eq!(String::from_utf8(out).expect("ASCII"), escaped, "{text:?}");
        }
    }
}
