//! A request's head, read as simply as can be: enough to answer it, and to misbehave knowingly.

/// Where a request ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// After so many bytes.
    Length(u64),
    /// After its last chunk and its trailers.
    Chunked,
}

/// What of a request's head matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// The target, as it came.
    pub(crate) target: String,
    /// Where it ends.
    pub(crate) body: Body,
    /// Whether the connection ends with its response.
    pub(crate) is_last: bool,
    /// Whether its sender waits for a 100.
    pub(crate) waits_for_100: bool,
    /// What `X-Race-Id` says, or else `X-Request-Id`: who comes twice is told by it.
    pub(crate) id: Option<String>,
}

/// The longest head that is read.
pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;

/// The longest line that is read beside it: a chunk's size, a trailer.
pub(crate) const MAX_LINE_BYTES: usize = 8 << 10;

impl Request {
    /// Reads a head, its empty line included. `None`: it is none.
    pub(crate) fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?, first.next()?, first.next()?);
        if method.is_empty() || first.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            body: Body::Length(0),
            is_last: version == "HTTP/1.0",
            waits_for_100: false,
            id: None,
        };
        for line in lines {
            let (name, value) = line.split_once(':')?;
            request.note(&name.to_ascii_lowercase(), value.trim())?;
        }
        Some(request)
    }

    fn note(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "content-length" => self.body = Body::Length(value.parse().ok()?),
            "transfer-encoding" => self.body = Body::Chunked,
            "connection" => {
                self.is_last |= value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
            }
            "expect" => self.waits_for_100 = value.eq_ignore_ascii_case("100-continue"),
            "x-race-id" => self.id = Some(value.to_owned()),
            "x-request-id" if self.id.is_none() => self.id = Some(value.to_owned()),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_matters() {
        let head = b"PUT /bytes/5 HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nX-Request-Id: b\r\nX-Race-Id: c\r\n\
            Connection: x, Close\r\nExpect: 100-continue\r\n\r\n";
        let request = Request::parse(head).expect("is one");
        assert_eq!((request.method.as_str(), request.target.as_str()), ("PUT", "/bytes/5"));
        assert_eq!((request.body, request.id.as_deref()), (Body::Length(7), Some("c")));
        assert!(request.is_last && request.waits_for_100);
        let plain = Request::parse(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").expect("is one");
        assert_eq!((plain.body, plain.is_last, plain.id), (Body::Chunked, false, None));
        assert!(Request::parse(b"GET / HTTP/1.0\r\n\r\n").is_some_and(|request| request.is_last));
    }

    #[test]
    fn knows_what_is_none() {
        for head in [
            "",
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET / a HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ] {
            assert_eq!(Request::parse(head.as_bytes()), None, "{head:?}");
        }
    }
}
