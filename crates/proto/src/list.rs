//! Comma-separated lists within field values (RFC 9110 §5.6.1).

use crate::grammar::trim;

/// The members of one comma-separated value, blanks around them trimmed and empty ones left out (RFC 9110 §5.6.1.2).
///
/// A comma within a quoted string separates nothing. A quoted string that is not closed reaches to the value's end.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// The members of `value`.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = end_of_member(self.rest);
            let member = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

/// Where the first comma outside of quotes stands, or the end.
fn end_of_member(bytes: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' if !quoted => return at,
            b'"' => quoted = !quoted,
            // RFC 9110 §5.6.4: a quoted-pair takes the next byte as it is.
            b'\\' if quoted => at += 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_lists() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            (" , ,,\t", &[]),
            ("close", &["close"]),
            ("keep-alive, Upgrade", &["keep-alive", "Upgrade"]),
            (",a,, b\t,", &["a", "b"]),
            (r#"a="x,y", b"#, &[r#"a="x,y""#, "b"]),
            (r#"a="x\",y", b"#, &[r#"a="x\",y""#, "b"]),
            (r#"a="x, b"#, &[r#"a="x, b"#]),
            (r#"a="x\"#, &[r#"a="x\"#]),
        ];
        for (value, members) in table {
            let read: Vec<_> =
                Members::new(value.as_bytes()).map(|member| std::str::from_utf8(member).unwrap()).collect();
            assert_eq!(read, members, "{value:?}");
        }
    }
}
