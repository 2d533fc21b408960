//! The bounds on what a peer may send before it is refused.

/// The bounds of one connection. The defaults are safe; every bound is always on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from the start line's first byte to the last LF. Default 32 KiB; values over 65,535 count as
    /// 65,535. A longer head is refused with 431 (RFC 6585 §5).
    pub max_head_bytes: usize,
    /// Bytes of a request line, its CRLF not counted. Default 16 KiB (RFC 9112 §3 asks for 8,000 at least). A longer
    /// line is refused with 414. It never allows more than `max_head_bytes`.
    pub max_request_line_bytes: usize,
    /// Field lines of a head, and of a trailer section. Default 128. More are refused with 431.
    pub max_fields: usize,
    /// Bytes of all chunk extensions of one message, from each `;` to its CR. Default 4 KiB (RFC 9112 §7.1.1).
    pub max_chunk_extension_bytes: usize,
    /// Bytes of a trailer section, its last CRLF counted. Default 8 KiB; values over 65,535 count as 65,535. A longer
    /// section is refused with 431.
    pub max_trailer_bytes: usize,
    /// Empty lines that are skipped before a request line. Default 1, for clients that send one after their content
    /// (RFC 9112 §2.2). Zero refuses the first.
    pub max_leading_newlines: usize,
    /// 1xx responses before a final one. Default 8; values over 65,534 count as 65,534. The reader of one head cannot count them: the connection does.
    pub max_informational: usize,
    /// Bytes of content of one message. Default `None`: unbounded. A larger one is refused with 413, from
    /// Content-Length before any of it is read, else as soon as the bytes exceed it.
    pub max_body_bytes: Option<u64>,
}

/// The largest head and trailer section that can be asked for: offsets within them fit into 16 bits.
pub(crate) const MAX_SECTION_BYTES: usize = 65_535;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head_bytes: 32 * 1024,
            max_request_line_bytes: 16 * 1024,
            max_fields: 128,
            max_chunk_extension_bytes: 4 * 1024,
            max_trailer_bytes: 8 * 1024,
            max_leading_newlines: 1,
            max_informational: 8,
            max_body_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        let limits = Limits::default();
        assert!(limits.max_request_line_bytes >= 8_000, "RFC 9112 §3");
        assert!(limits.max_request_line_bytes < limits.max_head_bytes);
        assert!(limits.max_head_bytes <= MAX_SECTION_BYTES && limits.max_trailer_bytes <= MAX_SECTION_BYTES);
    }
}
