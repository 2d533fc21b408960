//! Whatever a peer sends: nothing panics, pieces change nothing, and what we read another parser reads alike.

use http::Method;
use proptest::prelude::*;
use sheave_proto::body::{BodyEvent, BodyReader};
use sheave_proto::error::ProtocolError;
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::hop;
use sheave_proto::limits::Limits;
use sheave_proto::read_head::{RequestReader, ResponseReader};

/// Pieces of messages, right ones and wrong ones: random bytes alone would seldom get behind the first.
const FRAGMENTS: &[&str] = &[
    "/{|}\"<>^`\\'",
    "GET ",
    "POST ",
    "CONNECT ",
    "OPTIONS ",
    "/",
    "*",
    "/a?b=c",
    "http://a",
    "https://[::1]:8",
    "a:80",
    "?",
    "#",
    "%41",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/1.9",
    " HTTP/2.0",
    " http/1.1",
    "HTTP/1.1 200 OK",
    "HTTP/1.0 404 ",
    "HTTP/1.1 304",
    "HTTP/1.1 ",
    "101",
    "600",
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    "\x7f",
    " ",
    "\t",
    ":",
    ": ",
    ",",
    ";",
    "=",
    "\"",
    "\\",
    "Host: a\r\n",
    "Host: a\r\n",
    "Host:",
    "hOST",
    "Content-Length: 3\r\n",
    "Content-Length: 03",
    "Content-Length",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding",
    "chunked",
    "gzip",
    "Connection: close\r\n",
    "Connection: a, ",
    "keep-alive",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
    "X-Long-Name: ",
    "value",
    "0",
    "1",
    "3",
    "a",
    "A",
    "f",
    "F",
    "abc",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "1;a=b\r\n",
    "\u{e4}",
    "-",
    "_",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        20 => prop::sample::select(FRAGMENTS).prop_map(|text| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(fragment, 0..24).prop_map(|fragments| fragments.concat())
}

/// A message that is right, with up to three bytes changed, added or removed.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let messages: &[&[u8]] = &[
        b"POST /a/b?c=d HTTP/1.1\r\nHost: a.example:80\r\nUser-Agent: x/1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"GET http://a/b HTTP/1.1\r\nHost: b\r\nConnection: close, x-y\r\nX-Y:z\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.0 200\r\n\r\nabc",
    ];
    let edit = (any::<prop::sample::Index>(), prop::sample::select(b"\r\n\0 \t:;,a0\x7f\x80\xff".to_vec()), 0..3u8);
    (prop::sample::select(messages), prop::collection::vec(edit, 0..4)).prop_map(|(message, edits)| {
        let mut bytes = message.to_vec();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let tight = (0..120usize, 0..40usize, 0..4usize, 0..6usize, 0..20usize, 0..3usize, prop::option::of(0..5u64))
        .prop_map(|(head, line, fields, extension, trailer, newlines, body)| Limits {
            max_head_bytes: head,
            max_request_line_bytes: line,
            max_fields: fields,
            max_chunk_extension_bytes: extension,
            max_trailer_bytes: trailer,
            max_leading_newlines: newlines,
            max_body_bytes: body,
            ..Limits::default()
        });
    prop_oneof![3 => Just(Limits::default()), 1 => tight]
}

/// What all readers made of the bytes of one connection.
#[derive(Debug, PartialEq)]
enum Read {
    Request(RequestHead),
    Response(ResponseHead),
    Body(BodyLength, Vec<u8>, bool),
    Refused(ProtocolError),
}

/// The bytes that have come and were not taken yet.
struct Inbox<'a> {
    pieces: Vec<&'a [u8]>,
    now: &'a [u8],
}

impl Inbox<'_> {
    fn next_piece(&mut self) -> bool {
        assert!(self.now.is_empty(), "a reader that asks for more takes all");
        match self.pieces.pop() {
            Some(piece) => {
                self.now = piece;
                true
            }
            None => false,
        }
    }
}

/// Reads requests or responses with their bodies, one after the other, until the bytes end or are refused.
fn read(pieces: &[&[u8]], limits: &Limits, is_server: bool) -> Vec<Read> {
    let mut inbox = Inbox { pieces: pieces.iter().rev().copied().collect(), now: b"" };
    let mut seen = Vec::new();
    let (mut requests, mut responses) = (RequestReader::new(), ResponseReader::new());
    let via = hop::ViaEntry::new("a").expect("is a token");
    loop {
        let length = if is_server {
            match requests.receive(&mut inbox.now, limits) {
                Err(refusal) => Err(refusal),
                Ok(None) if inbox.next_piece() => continue,
                Ok(None) => return seen,
                Ok(Some(head)) => {
                    let length = framing::request_body(&head);
                    // These must stand any head.
                    let _ = (framing::expectation(&head), framing::upgrade(&head), hop::max_forwards(&head));
                    let _ = (framing::keeps_alive(head.version(), head.fields()), via.is_in(head.fields()));
                    let _ = hop::strip_hop_by_hop(head.clone().fields_mut());
                    assert!(format!("{head:?}").len() > 10);
                    seen.push(Read::Request(head));
                    length
                }
            }
        } else {
            match responses.receive(&mut inbox.now, limits) {
                Err(refusal) => Err(refusal),
                Ok(None) if inbox.next_piece() => continue,
                Ok(None) => return seen,
                Ok(Some(head)) => {
                    let length = framing::response_body(&head, &Method::GET);
                    seen.push(Read::Response(head));
                    length
                }
            }
        };
        let reader = length.and_then(|length| Ok((length, BodyReader::new(length, limits)?)));
        let (length, mut body) = match reader {
            Ok(reader) => reader,
            Err(refusal) => {
                seen.push(Read::Refused(refusal));
                return seen;
            }
        };
        let mut content = Vec::new();
        loop {
            match body.receive(&mut inbox.now) {
                Err(refusal) => {
                    seen.extend([Read::Body(length, content, false), Read::Refused(refusal)]);
                    return seen;
                }
                Ok(Some(BodyEvent::Data(data))) => content.extend_from_slice(data),
                Ok(Some(BodyEvent::End(_))) => break,
                Ok(None) if inbox.next_piece() => {}
                Ok(None) => {
                    let ends = body.receive_end().is_ok();
                    seen.push(Read::Body(length, content, ends));
                    return seen;
                }
            }
        }
        seen.push(Read::Body(length, content, true));
    }
}

fn assert_pieces_change_nothing(bytes: &[u8], cuts: &[prop::sample::Index], limits: &Limits) {
    for is_server in [true, false] {
        let whole = read(&[bytes], limits, is_server);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&bytes[start..cut]);
            start = cut;
        }
        pieces.push(&bytes[start..]);
        assert_eq!(read(&pieces, limits, is_server), whole);
        assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>(), limits, is_server), whole);
    }
}

/// What we read, httparse reads alike. It reads more: that is why we have a parser of our own.
fn assert_httparse_agrees(bytes: &[u8]) {
    let mut input = bytes;
    if let Ok(Some(head)) = RequestReader::new().receive(&mut input, &Limits::default()) {
        let taken = bytes.len() - input.len();
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut theirs = httparse::Request::new(&mut lines);
        // They know no minor version over 1.
        let known = bytes[..taken].windows(9).any(|text| text == b"HTTP/1.1\r" || text == b"HTTP/1.0\r");
        if known {
            assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(taken)));
            assert_eq!(theirs.method, Some(head.method().as_str()));
            assert_eq!(theirs.path, Some(head.target()));
            // Host may have been rewritten from an absolute form; all else is as it came.
            let is_host = |name: &str| name.eq_ignore_ascii_case("host");
            let ours: Vec<_> = head.fields().iter().map(|field| (field.name(), field.value())).collect();
            let ours = ours.iter().filter(|line| !is_host(line.0)).copied();
            let theirs = theirs.headers.iter().map(|line| (line.name, line.value)).filter(|line| !is_host(line.0));
            assert!(ours.eq(theirs));
        }
    }
    let mut input = bytes;
    if let Ok(Some(head)) = ResponseReader::new().receive(&mut input, &Limits::default()) {
        let taken = bytes.len() - input.len();
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut theirs = httparse::Response::new(&mut lines);
        if bytes.starts_with(b"HTTP/1.1") || bytes.starts_with(b"HTTP/1.0") {
            assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(taken)));
            assert_eq!(theirs.code, Some(head.status().as_u16()));
            if head.reason().is_ascii() {
                assert_eq!(theirs.reason.map(str::as_bytes), Some(head.reason()));
            }
            let ours = head.fields().iter().map(|field| (field.name(), field.value()));
            assert!(ours.eq(theirs.headers.iter().map(|line| (line.name, line.value))));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fragments_in_any_order(
        bytes in bytes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        limits in limits(),
    ) {
        assert_pieces_change_nothing(&bytes, &cuts, &limits);
        assert_httparse_agrees(&bytes);
    }

    #[test]
    fn messages_that_are_nearly_right(
        bytes in nearly_right(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        limits in limits(),
    ) {
        assert_pieces_change_nothing(&bytes, &cuts, &limits);
        assert_httparse_agrees(&bytes);
    }

    #[test]
    fn bytes_at_random(bytes in prop::collection::vec(any::<u8>(), 0..200), limits in limits()) {
        assert_pieces_change_nothing(&bytes, &[], &limits);
        assert_httparse_agrees(&bytes);
    }

    #[test]
    fn chunks_from_fragments(bytes in bytes(), limits in limits()) {
        let with_head = [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
        assert_pieces_change_nothing(&with_head, &[], &Limits { max_head_bytes: 1000, max_request_line_bytes: 100, max_fields: 9, ..limits });
    }
}

#[test]
fn the_messages_that_are_nearly_right_are_right() {
    // Guards the generator above: without edits, all is read to the end.
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let seen = read(&[bytes], &Limits::default(), true);
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert_eq!(seen[1], Read::Body(BodyLength::Chunked, b"abc".to_vec(), true));
    let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.0 200\r\n\r\nabc";
    let seen = read(&[bytes], &Limits::default(), false);
    assert_eq!(seen[3..], [Read::Body(BodyLength::UntilClose, b"abc".to_vec(), true)]);
}
