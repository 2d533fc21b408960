//! What is no TLS at all: plain HTTP that was sent to a TLS port, and to whom that is said.

/// What the first bytes of a connection look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// Too few to tell.
    Unclear,
    /// A request of plain HTTP.
    Http,
    /// Whatever else; TLS will say what it makes of it.
    Other,
}

/// Longer than any method that a server is sent by mistake.
const MAX_METHOD_BYTES: usize = 20;

impl Opening {
    /// Looks at all bytes that came so far.
    ///
    /// A record of TLS begins with its type, a control character; a request of HTTP with a method, in practice always of
    /// capitals, a space and the target (RFC 9112 §3): `/`, `*`, a scheme or a host.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
        match bytes.get(method..).unwrap_or_default() {
            [] if method <= MAX_METHOD_BYTES => Self::Unclear,
            [b' '] if method > 0 && method <= MAX_METHOD_BYTES => Self::Unclear,
            [b' ', target, ..] if method > 0 && method <= MAX_METHOD_BYTES => {
                if matches!(target, b'/' | b'*' | b'[') || target.is_ascii_alphanumeric() {
                    Self::Http
                } else {
                    Self::Other
                }
            }
            _ => Self::Other,
        }
    }
}

/// What whoever speaks plain HTTP to a TLS port is answered.
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
Connection: close\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
Content-Length: 90\r\n\
\r\n\
This port speaks HTTPS, and the request was plain HTTP: use https:// (http-to-tls-port).\r\n";

/// Whether an origin's first bytes are a response of plain HTTP.
pub(super) fn is_http_response(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_bytes_look_like() {
        for (bytes, opening) in [
            (&b"GET / HTTP/1.1\r\n"[..], Opening::Http),
            (b"OPTIONS *", Opening::Http),
            (b"CONNECT example.com:443", Opening::Http),
            (b"GET http://a/", Opening::Http),
            (b"PRI * HTTP/2.0", Opening::Http),
            (b"G", Opening::Unclear),
            (b"GET", Opening::Unclear),
            (b"GET ", Opening::Unclear),
            (b"", Opening::Unclear),
            (b"\x16\x03\x01", Opening::Other),
            (b"\x16", Opening::Other),
            (b"\x80", Opening::Other),
            (b"GET\r\n", Opening::Other),
            (b"SSH-2.0-OpenSSH", Opening::Other),
            (b"GET  x", Opening::Other),
            (b" GET /", Opening::Other),
            (b"AAAAAAAAAAAAAAAAAAAAAAAAA", Opening::Other),
        ] {
            assert_eq!(Opening::of(bytes), opening, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn it_is_decided_once() {
        let request = b"DELETE /x HTTP/1.1\r\n";
        for len in 0..=request.len() {
            let expected = if len < 8 { Opening::Unclear } else { Opening::Http };
            assert_eq!(Opening::of(&request[..len]), expected, "{len}");
        }
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
