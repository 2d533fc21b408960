//! Tables of heads: what is read, what is refused, and that pieces change nothing.

use crate::error::ProtocolError::{self, *};
use crate::head::{RequestHead, ResponseHead};
use crate::known::Known;
use crate::limits::Limits;
use crate::read_head::{RequestReader, ResponseReader};
use crate::target::TargetForm;
use crate::version::Version;

/// What a reader made of some bytes.
#[derive(Clone, Debug, PartialEq)]
enum Outcome<H> {
    /// A head, from so many bytes.
    Head(H, usize),
    /// It asked for more.
    More,
    Refused(ProtocolError),
}

trait Reader: Default {
    type Head: PartialEq + std::fmt::Debug + Clone;
    fn take(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<Self::Head>, ProtocolError>;
    fn begun(&self) -> bool;
}

impl Reader for RequestReader {
    type Head = RequestHead;
    fn take(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<RequestHead>, ProtocolError> {
        self.receive(input, limits)
    }
    fn begun(&self) -> bool {
        self.has_begun()
    }
}

impl Reader for ResponseReader {
    type Head = ResponseHead;
    fn take(&mut self, input: &mut &[u8], limits: &Limits) -> Result<Option<ResponseHead>, ProtocolError> {
        self.receive(input, limits)
    }
    fn begun(&self) -> bool {
        self.has_begun()
    }
}

fn read_pieces<'a, R: Reader>(pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Outcome<R::Head> {
    let mut reader = R::default();
    let mut taken = 0;
    for piece in pieces {
        let mut input = piece;
        match reader.take(&mut input, limits) {
            Err(refusal) => return Outcome::Refused(refusal),
            Ok(Some(head)) => {
                assert!(!reader.begun(), "a reader that gave a head is before the next one");
                return Outcome::Head(head, taken + piece.len() - input.len());
            }
            Ok(None) => assert!(input.is_empty(), "a reader that asks for more takes all"),
        }
        taken += piece.len();
    }
    Outcome::More
}

/// Whole = byte by byte = split anywhere = in pieces of any one size.
fn read<R: Reader>(bytes: &[u8], limits: &Limits) -> Outcome<R::Head> {
    let whole = read_pieces::<R>([bytes].into_iter(), limits);
    for size in 1..bytes.len().min(40) {
        assert_eq!(read_pieces::<R>(bytes.chunks(size), limits), whole, "{size} at a time: {}", bytes.escape_ascii());
    }
    for at in 0..=bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert_eq!(read_pieces::<R>([one, two].into_iter(), limits), whole, "split at {at}: {}", bytes.escape_ascii());
    }
    whole
}

/// How many bytes it took until the refusal came.
fn bytes_until_refusal<R: Reader>(bytes: &[u8], limits: &Limits) -> usize {
    let mut reader = R::default();
    for (at, byte) in bytes.iter().enumerate() {
        if reader.take(&mut std::slice::from_ref(byte), limits).is_err() {
            return at + 1;
        }
    }
    panic!("not refused: {}", bytes.escape_ascii());
}

fn request(bytes: &[u8]) -> Outcome<RequestHead> {
    read::<RequestReader>(bytes, &Limits::default())
}

fn response(bytes: &[u8]) -> Outcome<ResponseHead> {
    read::<ResponseReader>(bytes, &Limits::default())
}

fn request_head(bytes: &[u8]) -> RequestHead {
    match request(bytes) {
        Outcome::Head(head, taken) => {
            assert_eq!(taken, bytes.len(), "{}", bytes.escape_ascii());
            head
        }
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn response_head(bytes: &[u8]) -> ResponseHead {
    match response(bytes) {
        Outcome::Head(head, taken) => {
            assert_eq!(taken, bytes.len(), "{}", bytes.escape_ascii());
            head
        }
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

#[test]
fn request_lines_that_are_read() {
    let table: [(&[u8], &str, &str, Version, TargetForm); 11] = [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", Version::Http11, TargetForm::Origin),
        (b"GET / HTTP/1.0\r\n\r\n", "GET", "/", Version::Http10, TargetForm::Origin),
        // Rule: 1.2 to 1.9 are handled as 1.1.
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET", "/", Version::Http11, TargetForm::Origin),
        (b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET", "/", Version::Http11, TargetForm::Origin),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", Version::Http11, TargetForm::Origin),
        (
            b"get /a?b=%00&c|{}\"^ HTTP/1.1\r\nHost: a\r\n\r\n",
            "get",
            "/a?b=%00&c|{}\"^",
            Version::Http11,
            TargetForm::Origin,
        ),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*", Version::Http11, TargetForm::Asterisk),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "CONNECT", "a:1", Version::Http11, TargetForm::Authority),
        (b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "http://a/b", Version::Http11, TargetForm::Absolute),
        (b"GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "//a/b", Version::Http11, TargetForm::Origin),
        (b"!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "!#$%&'*+-.^_`|~", "/", Version::Http11, TargetForm::Origin),
    ];
    for (bytes, method, target, version, form) in table {
        let head = request_head(bytes);
        assert_eq!(head.method().as_str(), method);
        assert_eq!((head.target(), head.version(), head.form()), (target, version, form));
    }
}

#[test]
fn request_lines_that_are_refused() {
    let table: &[(&[u8], ProtocolError)] = &[
        // Line ends.
        (b"GET / HTTP/1.1\nHost: a\n\n", BareLf),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf),
        (b"GET /\n", BareLf),
        (b"GE\nT / HTTP/1.1\r\n", BareLf),
        (b"\nGET / HTTP/1.1\r\n", BareLf),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
        (b"\rGET / HTTP/1.1\r\n", BareCr),
        (b"\r\r\nGET / HTTP/1.1\r\n", BareCr),
        // Parts.
        (b"GET\r\n", InvalidRequestLine),
        (b"GET /\r\n", InvalidRequestLine),
        (b"GET  / HTTP/1.1\r\n", InvalidRequestLine),
        (b"GET /  HTTP/1.1\r\n", InvalidRequestLine),
        (b"GET / a HTTP/1.1\r\n", MalformedVersion),
        (b"GET / HTTP/1.1 \r\n", MalformedVersion),
        (b"GET\t/ HTTP/1.1\r\n", InvalidMethod),
        (b" GET / HTTP/1.1\r\n", InvalidMethod),
        (b"G(T / HTTP/1.1\r\n", InvalidMethod),
        (b"G\0T / HTTP/1.1\r\n", InvalidMethod),
        (b"G\xc3\xa4T / HTTP/1.1\r\n", InvalidMethod),
        // TLS to a plain port.
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", InvalidMethod),
        // Targets.
        (b"GET /\0 HTTP/1.1\r\n", InvalidTarget),
        (b"GET /\t HTTP/1.1\r\n", InvalidTarget),
        (b"GET /\x7f HTTP/1.1\r\n", InvalidTarget),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n", InvalidTarget),
        (b"GET /a#b HTTP/1.1\r\n", InvalidTarget),
        (b"GET a HTTP/1.1\r\n", InvalidTarget),
        (b"GET a:80 HTTP/1.1\r\n", InvalidTarget),
        (b"GET ?a HTTP/1.1\r\n", InvalidTarget),
        (b"GET ftp://a/ HTTP/1.1\r\n", InvalidTarget),
        (b"GET http:///a HTTP/1.1\r\n", InvalidTarget),
        (b"GET http://u@a/ HTTP/1.1\r\n", InvalidTarget),
        (b"GET http://a:b/ HTTP/1.1\r\n", InvalidTarget),
        (b"CONNECT a HTTP/1.1\r\n", InvalidTarget),
        (b"CONNECT a: HTTP/1.1\r\n", InvalidTarget),
        (b"CONNECT http://a:1/ HTTP/1.1\r\n", InvalidTarget),
        (b"CONNECT / HTTP/1.1\r\n", TargetFormMismatch),
        (b"CONNECT * HTTP/1.1\r\n", TargetFormMismatch),
        (b"GET * HTTP/1.1\r\n", TargetFormMismatch),
        (b"M-SEARCH * HTTP/1.1\r\n", TargetFormMismatch),
        (b"options * HTTP/1.1\r\n", TargetFormMismatch),
        // Versions.
        (b"GET / http/1.1\r\n", MalformedVersion),
        (b"GET / HTTP/1\r\n", MalformedVersion),
        (b"GET / HTTP/1.\r\n", MalformedVersion),
        (b"GET / HTTP/11\r\n", MalformedVersion),
        (b"GET / HTTP/1.10\r\n", MalformedVersion),
        (b"GET / HTTP/01.1\r\n", MalformedVersion),
        (b"GET / HTTP/1.1x\r\n", MalformedVersion),
        (b"GET / HTTP/1,1\r\n", MalformedVersion),
        (b"GET / HTTP /1.1\r\n", MalformedVersion),
        (b"GET / HTCPCP/1.0\r\n", MalformedVersion),
        (b"GET / HTTP/0.9\r\n", UnsupportedVersion { major: 0 }),
        (b"GET / HTTP/2.0\r\n", UnsupportedVersion { major: 2 }),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion { major: 2 }),
    ];
    for (bytes, refusal) in table {
        assert_eq!(request(bytes), Outcome::Refused(*refusal), "{}", bytes.escape_ascii());
    }
}

#[test]
fn status_lines_that_are_read() {
    let table: [(&[u8], u16, &[u8], Version); 9] = [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, b"OK", Version::Http11),
        (b"HTTP/1.0 200 OK\r\n\r\n", 200, b"OK", Version::Http10),
        (b"HTTP/1.5 200 OK\r\n\r\n", 200, b"OK", Version::Http11),
        (b"HTTP/1.1 200 \r\n\r\n", 200, b"", Version::Http11),
        (b"HTTP/1.1 200\r\n\r\n", 200, b"", Version::Http11),
        (b"HTTP/1.1 404 Not\tFound, \xe4h\r\n\r\n", 404, b"Not\tFound, \xe4h", Version::Http11),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 100, b"Continue", Version::Http11),
        (b"HTTP/1.1 599 \r\n\r\n", 599, b"", Version::Http11),
        (b"HTTP/1.1 299  two blanks \r\n\r\n", 299, b" two blanks ", Version::Http11),
    ];
    for (bytes, status, reason, version) in table {
        let head = response_head(bytes);
        assert_eq!((head.status().as_u16(), head.reason(), head.version()), (status, reason, version));
        assert!(head.fields().is_empty());
    }
}

#[test]
fn status_lines_that_are_refused() {
    let table: &[(&[u8], ProtocolError)] = &[
        (b"HTTP/1.1 200 OK\n\n", BareLf),
        (b"HTTP/1.1 200\n\n", BareLf),
        (b"HTTP/1.1 200 OK\rX: a\r\n\r\n", BareCr),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", ControlByte { byte: 0 }),
        (b"HTTP/1.1 200 O\x7fK\r\n\r\n", ControlByte { byte: 0x7f }),
        // HTTP/0.9, Shoutcast, SSH, lower case, and empty lines before the head.
        (b"<html>hello</html>", NotHttp),
        (b"ICY 200 OK\r\n\r\n", NotHttp),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotHttp),
        (b"http/1.1 200 OK\r\n\r\n", NotHttp),
        (b"HtTP/1.1 200 OK\r\n\r\n", NotHttp),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", NotHttp),
        (b" HTTP/1.1 200 OK\r\n\r\n", NotHttp),
        (b"HTTP/1 200 OK\r\n\r\n", MalformedVersion),
        (b"HTTP/1.10 200 OK\r\n\r\n", MalformedVersion),
        (b"HTTP/x.1 200 OK\r\n\r\n", MalformedVersion),
        (b"HTTP/2.0 200 OK\r\n\r\n", UnsupportedVersion { major: 2 }),
        (b"HTTP/0.9 200 OK\r\n\r\n", UnsupportedVersion { major: 0 }),
        (b"HTTP/1.1\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 \r\n\r\n", InvalidStatus),
        (b"HTTP/1.1  200 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 20 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 2000 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 200OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 200\tOK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 +20 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 000 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 099 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 600 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 999 OK\r\n\r\n", InvalidStatus),
    ];
    for (bytes, refusal) in table {
        assert_eq!(response(bytes), Outcome::Refused(*refusal), "{}", bytes.escape_ascii());
    }
}

/// The same lines behind a request line and behind a status line.
fn with_both_start_lines(lines: &[u8]) -> [Vec<u8>; 2] {
    [[b"GET / HTTP/1.0\r\n", lines].concat(), [b"HTTP/1.1 200 OK\r\n", lines].concat()]
}

#[test]
fn field_lines_that_are_read() {
    type Lines<'a> = &'a [(&'a str, &'a [u8])];
    let table: &[(&[u8], Lines<'_>)] = &[
        (b"\r\n", &[]),
        (b"A: b\r\n\r\n", &[("A", b"b")]),
        (b"A:b\r\n\r\n", &[("A", b"b")]),
        (b"A:\r\n\r\n", &[("A", b"")]),
        (b"A: \r\n\r\n", &[("A", b"")]),
        (b"A: \t \r\n\r\n", &[("A", b"")]),
        (b"A:\t b\t c \t\r\n\r\n", &[("A", b"b\t c")]),
        (b"A: b:c: d\r\n\r\n", &[("A", b"b:c: d")]),
        (b"A: \xc3\xa4\xff\r\n\r\n", &[("A", b"\xc3\xa4\xff")]),
        (b"a!#$%&'*+-.^_`|~9: b\r\n\r\n", &[("a!#$%&'*+-.^_`|~9", b"b")]),
        (b"b: 1\r\nA: 2\r\nb: 3\r\nB: 4\r\n\r\n", &[("b", b"1"), ("A", b"2"), ("b", b"3"), ("B", b"4")]),
    ];
    for (lines, expected) in table {
        let [request, response] = with_both_start_lines(lines);
        let (request, response) = (request_head(&request), response_head(&response));
        for fields in [request.fields(), response.fields()] {
            let read: Vec<_> = fields.iter().map(|field| (field.name(), field.value())).collect();
            assert_eq!(read, *expected, "{}", lines.escape_ascii());
        }
    }
}

#[test]
fn field_lines_that_are_refused() {
    let table: &[(&[u8], ProtocolError)] = &[
        // Line ends.
        (b"A: b\n\r\n", BareLf),
        (b"A: b\n\n", BareLf),
        (b"A: b\r\n\n", BareLf),
        (b"\n", BareLf),
        (b"A\n: b\r\n\r\n", BareLf),
        (b"A\n\r\n", BareLf),
        (b"A: b\nTransfer-Encoding: chunked\r\n\r\n", BareLf),
        (b"A: b\rc\r\n\r\n", BareCr),
        (b"A: b\r\r\n\r\n", BareCr),
        (b"A: b\r\n\rx", BareCr),
        (b"A: b\r\n\r\r\n", BareCr),
        (b"A\rB: c\r\n\r\n", BareCr),
        // Bytes.
        (b"A: b\0c\r\n\r\n", ControlByte { byte: 0 }),
        (b"A: \0\r\n\r\n", ControlByte { byte: 0 }),
        (b"A: b\x0bc\r\n\r\n", ControlByte { byte: 0x0b }),
        (b"A: b\x0c\r\n\r\n", ControlByte { byte: 0x0c }),
        (b"A: \x1b[0m\r\n\r\n", ControlByte { byte: 0x1b }),
        (b"A: \x7f\r\n\r\n", ControlByte { byte: 0x7f }),
        // Names.
        (b": b\r\n\r\n", InvalidFieldName { byte: b':' }),
        (b"\0: b\r\n\r\n", InvalidFieldName { byte: 0 }),
        (b"A\0: b\r\n\r\n", InvalidFieldName { byte: 0 }),
        (b"A(: b\r\n\r\n", InvalidFieldName { byte: b'(' }),
        (b"A\"B: c\r\n\r\n", InvalidFieldName { byte: b'"' }),
        (b"A/B: c\r\n\r\n", InvalidFieldName { byte: b'/' }),
        (b"\xc3\xa4: b\r\n\r\n", InvalidFieldName { byte: 0xc3 }),
        (b"A B: c\r\n\r\n", InvalidFieldName { byte: b' ' }),
        (b"A\tB: c\r\n\r\n", InvalidFieldName { byte: b' ' }),
        (b"A : b\r\n\r\n", SpaceBeforeColon),
        (b"A\t: b\r\n\r\n", SpaceBeforeColon),
        (b"Content-Length \t: 5\r\n\r\n", SpaceBeforeColon),
        (b"A\r\n\r\n", MissingColon),
        (b"A \r\n\r\n", MissingColon),
        (b"A: b\r\nB\r\n\r\n", MissingColon),
        // Indented lines.
        (b" A: b\r\n\r\n", IndentedFirstLine),
        (b"\tA: b\r\n\r\n", IndentedFirstLine),
        (b" \r\n\r\n", IndentedFirstLine),
        (b"A: b\r\n c\r\n\r\n", ObsFold),
        (b"A: b\r\n\tc\r\n\r\n", ObsFold),
        (b"A: b\r\n \r\n\r\n", ObsFold),
        (b"A: b\r\n Content-Length: 5\r\n\r\n", ObsFold),
    ];
    for (lines, refusal) in table {
        let [as_request, as_response] = with_both_start_lines(lines);
        assert_eq!(request(&as_request), Outcome::Refused(*refusal), "{}", lines.escape_ascii());
        assert_eq!(response(&as_response), Outcome::Refused(*refusal), "{}", lines.escape_ascii());
    }
}

/// What comes whole is read at speed where it is usual, what comes byte by byte always with care: every byte in every place
/// of what is usual, every byte left out, and every place where the bytes end.
#[test]
fn the_quick_reading_is_the_careful_one() {
    fn hold<R: Reader>(usual: &[u8]) {
        let limits = Limits::default();
        let compare = |bytes: &[u8]| {
            let whole = read_pieces::<R>([bytes].into_iter(), &limits);
            assert_eq!(whole, read_pieces::<R>(bytes.chunks(1), &limits), "{}", bytes.escape_ascii());
        };
        for at in 0..usual.len() {
            let mut bytes = usual.to_vec();
            for byte in 0..=u8::MAX {
                bytes[at] = byte;
                compare(&bytes);
            }
            bytes.remove(at);
            compare(&bytes);
            compare(&usual[..at]);
        }
    }
    hold::<RequestReader>(b"GET /a?b=%20c HTTP/1.1\r\nHost: a.b:80\r\nX-Long-Name: d\r\n\r\nGET /");
    hold::<RequestReader>(b"POST / HTTP/1.1\r\nContent-Length: 12\r\nhost: [::1]\r\n\r\n");
    hold::<ResponseReader>(
        b"HTTP/1.1 200 OK\r\nServer: a\r\nX-A: b, c\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na:b c",
    );
    hold::<ResponseReader>(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n");
}

#[test]
fn a_refusal_comes_with_the_byte_that_causes_it() {
    // The number of bytes that were needed, from the start of the message.
    let table: &[(&[u8], usize)] = &[
        (b"\x16\x03\x01", 1),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 15),
        (b"GET / HTTP/1.0\r\nA: b\0cdefg\r\n\r\n", 21),
        (b"GET / HTTP/1.0\r\nA: b\ncdefg\r\n\r\n", 21),
        (b"GET / HTTP/1.0\r\nA : b\r\n\r\n", 19),
        (b"GET / HTTP/1.0\r\nA: b\r\n c\r\n\r\n", 23),
        (b"GET / HTTP/1.0\r\nA: b\rc\r\n\r\n", 22),
        (b"GET /a b HTTP/1.0\r\n\r\n", 8),
    ];
    for (bytes, needed) in table {
        assert_eq!(
            bytes_until_refusal::<RequestReader>(bytes, &Limits::default()),
            *needed,
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(bytes_until_refusal::<ResponseReader>(b"ICY 200 OK\r\n", &Limits::default()), 1);
}

#[test]
fn hosts() {
    let read: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "a.example:8080"),
        (b"GET / HTTP/1.1\r\nhOST:[::1]:80\r\n\r\n", "[::1]:80"),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "a"),
        // The authority of an absolute form wins, byte for byte.
        (b"GET http://A.example:80/x HTTP/1.1\r\nA: 1\r\nHost: b\r\nB: 2\r\n\r\n", "A.example:80"),
        (b"GET http://a/x HTTP/1.0\r\n\r\n", "a"),
    ];
    for (bytes, host) in read {
        let head = request_head(bytes);
        assert_eq!(head.fields().get_str(Known::Host), Some(*host));
        assert_eq!(head.authority(), Some(*host));
        assert_eq!(head.fields().count(Known::Host), 1);
    }
    let head = request_head(b"GET http://a/x HTTP/1.1\r\nA: 1\r\nHost: b\r\nB: 2\r\n\r\n");
    let names: Vec<_> = head.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["A", "Host", "B"]);
    assert_eq!(request_head(b"GET / HTTP/1.0\r\n\r\n").authority(), None);

    let refused: &[(&[u8], ProtocolError)] = &[
        (b"GET / HTTP/1.1\r\n\r\n", MissingHost),
        (b"GET / HTTP/1.9\r\n\r\n", MissingHost),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", MissingHost),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", RepeatedHost),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", RepeatedHost),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", RepeatedHost),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", RepeatedHost),
        (b"GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.0\r\nHost: a:b\r\n\r\n", InvalidHost),
    ];
    for (bytes, refusal) in refused {
        assert_eq!(request(bytes), Outcome::Refused(*refusal), "{}", bytes.escape_ascii());
    }
    for host in [
        "",
        "a:b",
        "[::1",
        "[::1]x",
        "a:80:90",
        "a:-1",
        "a:+1",
        "a:65536",
        "a:000080",
        "a:8 0",
        "a b",
        "a,b c",
        "a@b",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "<a>",
        "\"a\"",
        "[]",
        "[::g]",
        "[1.2.3.4]",
        "[::1%25eth0]",
        "[v1.a]",
        "::1",
        "a%2",
        "a%zz",
        ":80",
        "a\tb",
        "\u{e4}",
        "{a}",
        "a^",
        "a|b",
        "a`",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(request(bytes.as_bytes()), Outcome::Refused(InvalidHost), "{host}");
    }
}

#[test]
fn never_a_byte_past_the_end() {
    for behind in [&b"GET /2 HTTP/1.1\r\n"[..], b"body", b"\r\n", b"\n", b"\0"] {
        let head = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
        let bytes = [&head[..], behind].concat();
        match request(&bytes) {
            Outcome::Head(read, taken) => {
                assert_eq!(taken, head.len());
                assert_eq!(read.fields().len(), 2);
            }
            other => panic!("{other:?}"),
        }
        let head = b"HTTP/1.1 100 Continue\r\n\r\n";
        match response(&[&head[..], behind].concat()) {
            Outcome::Head(_, taken) => assert_eq!(taken, head.len()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pipelined_heads_come_one_by_one() {
    let mut reader = RequestReader::new();
    // An empty line before each: they are counted from head to head.
    let mut input = &b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3"[..];
    for target in ["/1", "/2"] {
        let head = reader.receive(&mut input, &Limits::default()).unwrap().unwrap();
        assert_eq!(head.target(), target);
    }
    assert_eq!(input, b"GET /3");
    assert_eq!(reader.receive(&mut input, &Limits::default()), Ok(None));
    assert!(input.is_empty() && reader.has_begun());
    assert_eq!(reader.finish(), Err(TruncatedHead));
}

#[test]
fn leading_newlines() {
    let rest = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for limit in [0, 1, 3] {
        let limits = Limits { max_leading_newlines: limit, ..Limits::default() };
        for count in 0..5 {
            let bytes = [b"\r\n".repeat(count), rest.to_vec()].concat();
            match read::<RequestReader>(&bytes, &limits) {
                Outcome::Head(_, taken) => assert!(count <= limit && taken == bytes.len()),
                outcome => {
                    assert!(count > limit);
                    assert_eq!(outcome, Outcome::Refused(TooManyLeadingNewlines { limit }));
                }
            }
        }
    }
    // They are no part of a head: neither for a deadline nor at the stream's end.
    let mut reader = RequestReader::new();
    for byte in b"\r\n" {
        assert_eq!(reader.receive(&mut &[*byte][..], &Limits::default()), Ok(None));
        assert!(!reader.has_begun());
        assert_eq!(reader.finish(), Ok(()));
    }
    assert_eq!(reader.receive(&mut &b"G"[..], &Limits::default()), Ok(None));
    assert!(reader.has_begun());
}

#[test]
fn nothing_is_no_head_and_no_error() {
    let (mut requests, mut responses) = (RequestReader::new(), ResponseReader::new());
    assert_eq!(requests.receive(&mut &b""[..], &Limits::default()), Ok(None));
    assert_eq!(responses.receive(&mut &b""[..], &Limits::default()), Ok(None));
    assert!(!requests.has_begun() && !responses.has_begun());
    assert_eq!((requests.finish(), responses.finish()), (Ok(()), Ok(())));
    assert_eq!(responses.receive(&mut &b"HTTP"[..], &Limits::default()), Ok(None));
    assert!(responses.has_begun());
    assert_eq!(responses.finish(), Err(TruncatedHead));
}

#[test]
fn bounds_are_exact() {
    let head = b"GET /1234 HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    let line = b"GET /1234 HTTP/1.1".len();
    let exact = Limits { max_head_bytes: head.len(), max_request_line_bytes: line, max_fields: 2, ..Limits::default() };
    assert!(matches!(read::<RequestReader>(head, &exact), Outcome::Head(..)));

    let table = [
        (Limits { max_head_bytes: head.len() - 1, ..exact }, HeadTooLarge { limit: head.len() - 1 }),
        (Limits { max_head_bytes: line + 1, ..exact }, HeadTooLarge { limit: line + 1 }),
        (Limits { max_head_bytes: 0, ..exact }, HeadTooLarge { limit: 0 }),
        (Limits { max_request_line_bytes: line - 1, ..exact }, RequestLineTooLong { limit: line - 1 }),
        (Limits { max_request_line_bytes: 0, ..exact }, RequestLineTooLong { limit: 0 }),
        (Limits { max_fields: 1, ..exact }, TooManyFields { limit: 1 }),
        (Limits { max_fields: 0, ..exact }, TooManyFields { limit: 0 }),
    ];
    for (limits, refusal) in table {
        assert_eq!(read::<RequestReader>(head, &limits), Outcome::Refused(refusal), "{limits:?}");
    }

    let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    let exact = Limits { max_head_bytes: head.len(), max_request_line_bytes: 1, max_fields: 1, ..Limits::default() };
    assert!(matches!(read::<ResponseReader>(head, &exact), Outcome::Head(..)));
    let short = Limits { max_head_bytes: head.len() - 1, ..exact };
    assert_eq!(read::<ResponseReader>(head, &short), Outcome::Refused(HeadTooLarge { limit: head.len() - 1 }));
}

#[test]
fn a_bound_is_met_before_memory_grows() {
    // No line end ever comes.
    for start in [&b"GET /"[..], b"GET / HTTP/1.1\r\nA: "] {
        let limits = Limits { max_head_bytes: 1000, max_request_line_bytes: 500, ..Limits::default() };
        let mut reader = RequestReader::new();
        let mut taken = start.len();
        assert_eq!(reader.receive(&mut &start[..], &limits), Ok(None));
        while reader.receive(&mut &[b'a'; 100][..], &limits).is_ok() {
            taken += 100;
            assert!(taken < 1100);
        }
    }
    // Values over the type's own bound count as that bound.
    let limits = Limits { max_head_bytes: usize::MAX, max_request_line_bytes: usize::MAX, ..Limits::default() };
    let target = "a".repeat(70_000);
    let bytes = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let whole = read_pieces::<RequestReader>([bytes.as_bytes()].into_iter(), &limits);
    assert_eq!(whole, Outcome::Refused(HeadTooLarge { limit: 65_535 }));
    assert_eq!(read_pieces::<RequestReader>(bytes.as_bytes().chunks(1000), &limits), whole);
}

#[test]
fn the_limits_of_the_first_byte_hold() {
    let tight = Limits { max_head_bytes: 4, max_request_line_bytes: 2, max_fields: 0, ..Limits::default() };
    let mut reader = RequestReader::new();
    assert_eq!(reader.receive(&mut &b"GET / HTTP/1.1\r\nHost"[..], &Limits::default()), Ok(None));
    assert!(reader.receive(&mut &b": a\r\nA: b\r\n\r\n"[..], &tight).unwrap().is_some());
    assert!(reader.receive(&mut &b"GET /"[..], &tight).is_err());
}

#[test]
fn the_largest_heads_are_read() {
    let limits = Limits { max_head_bytes: 65_535, ..Limits::default() };
    let value = "v".repeat(65_535 - "GET / HTTP/1.0\r\nA: \r\n\r\n".len());
    let bytes = format!("GET / HTTP/1.0\r\nA: {value}\r\n\r\n");
    for size in [1, 7, 4096, 65_535] {
        match read_pieces::<RequestReader>(bytes.as_bytes().chunks(size), &limits) {
            Outcome::Head(head, taken) => {
                assert_eq!(taken, 65_535);
                assert_eq!(head.fields().get_named("a"), Some(value.as_bytes()));
            }
            other => panic!("{other:?}"),
        }
    }
    let name = "n".repeat(65_535 - "GET / HTTP/1.0\r\n:\r\n\r\n".len());
    let bytes = format!("GET / HTTP/1.0\r\n{name}:\r\n\r\n");
    match read_pieces::<RequestReader>([bytes.as_bytes()].into_iter(), &limits) {
        Outcome::Head(head, _) => assert_eq!(head.fields().get_named(&name), Some(&b""[..])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_idle_reader_is_small() {
    assert!(size_of::<RequestReader>() <= 24);
    assert!(size_of::<ResponseReader>() <= 8);
}
