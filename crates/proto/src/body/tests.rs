//! Tables of bodies: what is read, what is refused, that pieces change nothing, and what is written.

use bytes::BytesMut;

use crate::body::{BodyEvent, BodyReader, BodyWriter};
use crate::error::Misuse;
use crate::error::ProtocolError::{self, *};
use crate::fields::Fields;
use crate::framing::BodyLength;
use crate::known::Known;
use crate::limits::Limits;

/// What a reader made of some bytes and, perhaps, the stream's end.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// The content and the trailers, from so many bytes.
    End(Vec<u8>, Option<Fields>, usize),
    /// This content, and it asked for more.
    More(Vec<u8>),
    /// This content, and then the refusal.
    Refused(Vec<u8>, ProtocolError),
}

fn read_pieces<'a>(length: BodyLength, pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Outcome {
    let mut content = Vec::new();
    let mut reader = match BodyReader::new(length, limits) {
        Ok(reader) => reader,
        Err(refusal) => return Outcome::Refused(content, refusal),
    };
    let mut taken = 0;
    for piece in pieces {
        let mut input = piece;
        loop {
            match reader.receive(&mut input) {
                Err(refusal) => return Outcome::Refused(content, refusal),
                Ok(Some(BodyEvent::Data(data))) => {
                    assert!(!data.is_empty());
                    content.extend_from_slice(data);
                }
                Ok(Some(BodyEvent::End(trailers))) => {
                    assert!(reader.is_done());
                    let left = input;
                    assert_eq!(reader.receive(&mut input), Ok(None), "the end comes once");
                    assert_eq!(input, left, "nothing is taken behind the end");
                    assert_eq!(reader.receive_end(), Err(TruncatedBody), "the end comes once");
                    return Outcome::End(content, trailers, taken + piece.len() - input.len());
                }
                Ok(None) => break,
            }
            assert!(!reader.is_done());
        }
        assert!(input.is_empty(), "a reader that asks for more takes all");
        taken += piece.len();
    }
    Outcome::More(content)
}

/// Whole = byte by byte = split anywhere = in pieces of any one size.
fn read(length: BodyLength, bytes: &[u8], limits: &Limits) -> Outcome {
    let whole = read_pieces(length, [bytes].into_iter(), limits);
    for size in 1..bytes.len().min(20) {
        let pieces = read_pieces(length, bytes.chunks(size), limits);
        assert_eq!(pieces, whole, "{size} at a time: {}", bytes.escape_ascii());
    }
    for at in 0..=bytes.len() {
        let (one, two) = bytes.split_at(at);
        let pieces = read_pieces(length, [one, two].into_iter(), limits);
        assert_eq!(pieces, whole, "split at {at}: {}", bytes.escape_ascii());
    }
    whole
}

fn chunked(bytes: &[u8]) -> Outcome {
    read(BodyLength::Chunked, bytes, &Limits::default())
}

fn refusal(outcome: &Outcome) -> Option<ProtocolError> {
    match outcome {
        Outcome::Refused(_, refusal) => Some(*refusal),
        _ => None,
    }
}

#[test]
fn counted_bodies() {
    let limits = Limits::default();
    for behind in [&b""[..], b"GET", b"\r\n"] {
        for (length, content) in
            [(BodyLength::None, &b""[..]), (BodyLength::Known(0), b""), (BodyLength::Known(4), b"abcd")]
        {
            let bytes = [content, behind].concat();
            assert_eq!(read(length, &bytes, &limits), Outcome::End(content.to_vec(), None, content.len()));
        }
    }
    assert_eq!(read(BodyLength::Known(5), b"abcd", &limits), Outcome::More(b"abcd".to_vec()));
    assert_eq!(read(BodyLength::Known(u64::MAX), b"abcd", &limits), Outcome::More(b"abcd".to_vec()));
}

#[test]
fn the_end_of_the_stream_ends_only_a_body_until_close() {
    let limits = Limits::default();
    let table: [(BodyLength, &[u8], bool); 8] = [
        (BodyLength::UntilClose, b"", true),
        (BodyLength::UntilClose, b"abc", true),
        (BodyLength::None, b"", true),
        (BodyLength::Known(3), b"ab", false),
        (BodyLength::Chunked, b"", false),
        (BodyLength::Chunked, b"3\r\nabc\r\n", false),
        (BodyLength::Chunked, b"3\r\nabc\r\n0\r\n", false),
        (BodyLength::Chunked, b"3\r\nabc\r\n0\r\nA: b\r\n\r", false),
    ];
    for (length, bytes, ends) in table {
        let mut reader = BodyReader::new(length, &limits).unwrap();
        let mut input = bytes;
        while !input.is_empty() {
            reader.receive(&mut input).unwrap();
        }
        let expected = if ends { Ok(BodyEvent::End(None)) } else { Err(TruncatedBody) };
        assert_eq!(reader.receive_end(), expected, "{length:?} {}", bytes.escape_ascii());
        assert_eq!(reader.is_done(), ends);
    }
}

#[test]
fn chunked_bodies_that_are_read() {
    let table: &[(&[u8], &[u8])] = &[
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"1\r\na\r\n0\r\n\r\n", b"a"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
        (b"0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n", b"abc"),
        (b"3\r\n\r\n\0\r\n0\r\n\r\n", b"\r\n\0"),
        // Extensions: read, checked and forgotten.
        (b"1;a\r\na\r\n0;b=c;d=\"e\"\r\n\r\n", b"a"),
        (b"1;a=b\r\na\r\n0\r\n\r\n", b"a"),
        (b"1; a = b ; c ;d\r\na\r\n0\r\n\r\n", b"a"),
        (b"1;a=\" ;\\\"\\\\\t\xff\"\r\na\r\n0\r\n\r\n", b"a"),
        (b"1;a=\"\"\r\na\r\n0\r\n\r\n", b"a"),
        (b"1;a=\"b\" ;c\r\na\r\n0\r\n\r\n", b"a"),
    ];
    for (bytes, content) in table {
        for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\r\n", b"0"] {
            let expected = Outcome::End(content.to_vec(), None, bytes.len());
            assert_eq!(chunked(&[bytes, behind].concat()), expected, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn chunked_bodies_that_are_refused() {
    let table: &[(&[u8], ProtocolError)] = &[
        // Sizes.
        (b"\r\n", InvalidChunkSize { byte: b'\r' }),
        (b"g\r\n", InvalidChunkSize { byte: b'g' }),
        (b"0x1\r\na\r\n", InvalidChunkSize { byte: b'x' }),
        (b"+1\r\na\r\n", InvalidChunkSize { byte: b'+' }),
        (b"-1\r\na\r\n", InvalidChunkSize { byte: b'-' }),
        (b" 1\r\na\r\n", InvalidChunkSize { byte: b' ' }),
        (b"1 \r\na\r\n", InvalidChunkSize { byte: b' ' }),
        (b"1\t\r\na\r\n", InvalidChunkSize { byte: b'\t' }),
        (b"1 ;a\r\na\r\n", InvalidChunkSize { byte: b' ' }),
        (b"1\0\r\na\r\n", InvalidChunkSize { byte: 0 }),
        (b"1_0\r\na\r\n", InvalidChunkSize { byte: b'_' }),
        (b"1,1\r\na\r\n", InvalidChunkSize { byte: b',' }),
        (b";a\r\n", InvalidChunkSize { byte: b';' }),
        (b"00000000000000001\r\na\r\n", ChunkSizeOverflow),
        (b"10000000000000000\r\n", ChunkSizeOverflow),
        (b"fffffffffffffffff\r\n", ChunkSizeOverflow),
        // Line ends.
        (b"1\na\r\n", BareLf),
        (b"1;a\na\r\n", BareLf),
        (b"1;a=\"\n\"\r\n", BareLf),
        (b"1\ra\r\n", BareCr),
        (b"1\r\ra\r\n", BareCr),
        (b"1;a\rb\r\na\r\n", BareCr),
        (b"\n", BareLf),
        // Extensions.
        (b"1;\r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1; \r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1;;a\r\na\r\n", InvalidChunkExtension { byte: b';' }),
        (b"1;=a\r\na\r\n", InvalidChunkExtension { byte: b'=' }),
        (b"1;a=\r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1;a=;b\r\na\r\n", InvalidChunkExtension { byte: b';' }),
        (b"1;a==b\r\na\r\n", InvalidChunkExtension { byte: b'=' }),
        (b"1;a=b=c\r\na\r\n", InvalidChunkExtension { byte: b'=' }),
        (b"1;a \r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1;a=b \r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1;a b\r\na\r\n", InvalidChunkExtension { byte: b'b' }),
        (b"1;a=b c\r\na\r\n", InvalidChunkExtension { byte: b'c' }),
        (b"1;a=\"b\r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1;a=\"b\\\r\na\r\n", InvalidChunkExtension { byte: b'\r' }),
        (b"1;a=\"b\"c\r\na\r\n", InvalidChunkExtension { byte: b'c' }),
        (b"1;a=b\"c\"\r\na\r\n", InvalidChunkExtension { byte: b'"' }),
        (b"1;\"a\"\r\na\r\n", InvalidChunkExtension { byte: b'"' }),
        (b"1;\0\r\na\r\n", InvalidChunkExtension { byte: 0 }),
        (b"1;a=\"\0\"\r\na\r\n", InvalidChunkExtension { byte: 0 }),
        (b"1;a=\"\x7f\"\r\na\r\n", InvalidChunkExtension { byte: 0x7f }),
        (b"1;\xe4\r\na\r\n", InvalidChunkExtension { byte: 0xe4 }),
        // Behind the data.
        (b"1\r\nab\r\n0\r\n\r\n", MissingChunkCrlf),
        (b"1\r\na\n0\r\n\r\n", MissingChunkCrlf),
        (b"1\r\na\r0\r\n\r\n", MissingChunkCrlf),
        (b"1\r\na0\r\n\r\n", MissingChunkCrlf),
        (b"1\r\na\r\r\n0\r\n\r\n", MissingChunkCrlf),
        (b"2\r\na\r\n0\r\n\r\n", MissingChunkCrlf),
        // Trailers. `0 CRLF LF` must not make trailers of the next request.
        (b"0\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        (b"0\r\n\rG", BareCr),
        (b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidFieldName { byte: b' ' }),
        (b"0\r\nA: b\n\r\n", BareLf),
        (b"0\r\nA: b\r\n\n", BareLf),
        (b"0\r\nA\0: b\r\n\r\n", InvalidFieldName { byte: 0 }),
        (b"0\r\nA: b\0\r\n\r\n", ControlByte { byte: 0 }),
        (b"0\r\nA : b\r\n\r\n", SpaceBeforeColon),
        (b"0\r\nA\r\n\r\n", MissingColon),
        (b"0\r\n A: b\r\n\r\n", IndentedFirstLine),
        (b"0\r\nA: b\r\n c\r\n\r\n", ObsFold),
        (b"0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
        (b"0\r\ntransfer-encoding: chunked\r\n\r\n", ForbiddenTrailer),
        (b"0\r\nA: b\r\nHost: a\r\n\r\n", ForbiddenTrailer),
        (b"0\r\nConnection: close\r\n\r\n", ForbiddenTrailer),
    ];
    for (bytes, expected) in table {
        assert_eq!(refusal(&chunked(bytes)), Some(*expected), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_largest_chunk_size_is_read_and_nothing_wraps() {
    let outcome = chunked(b"ffffffffffffffff\r\nabc");
    assert_eq!(outcome, Outcome::More(b"abc".to_vec()));
    // Two chunks whose sizes exceed 64 bits together.
    let outcome = chunked(b"1\r\na\r\nffffffffffffffff\r\nabc");
    assert_eq!(outcome, Outcome::Refused(b"a".to_vec(), BodyTooLarge { limit: u64::MAX }));
}

#[test]
fn trailers_come_with_the_end() {
    let bytes = b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum:2 \r\nGrpc-Status: 0\r\n\r\n";
    match chunked(bytes) {
        Outcome::End(content, Some(trailers), taken) => {
            assert_eq!((&content[..], taken), (&b"a"[..], bytes.len()));
            let lines: Vec<_> = trailers.iter().map(|field| (field.name(), field.value())).collect();
            assert_eq!(lines, [("X-Sum", &b"1"[..]), ("x-sum", b"2"), ("Grpc-Status", b"0")]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn limits_on_chunked_bodies() {
    let extensions = |max_chunk_extension_bytes| Limits { max_chunk_extension_bytes, ..Limits::default() };
    // `;ab` and `;c` are five bytes, over two chunks.
    let bytes = b"1;ab\r\na\r\n0;c\r\n\r\n";
    assert!(matches!(read(BodyLength::Chunked, bytes, &extensions(5)), Outcome::End(..)));
    for limit in [0, 2, 4] {
        let outcome = read(BodyLength::Chunked, bytes, &extensions(limit));
        assert_eq!(refusal(&outcome), Some(ChunkExtensionsTooLong { limit }));
    }

    let bytes = b"0\r\nA: b\r\nC: d\r\n\r\n";
    let trailers = |max_trailer_bytes, max_fields| Limits { max_trailer_bytes, max_fields, ..Limits::default() };
    assert!(matches!(read(BodyLength::Chunked, bytes, &trailers(14, 2)), Outcome::End(..)));
    for limit in [0, 1, 5, 13] {
        let outcome = read(BodyLength::Chunked, bytes, &trailers(limit, 2));
        assert_eq!(refusal(&outcome), Some(TrailersTooLarge { limit }));
    }
    for limit in [0, 1] {
        let outcome = read(BodyLength::Chunked, bytes, &trailers(14, limit));
        assert_eq!(refusal(&outcome), Some(TooManyFields { limit }));
    }
    assert!(matches!(read(BodyLength::Chunked, b"0\r\n\r\n", &trailers(2, 0)), Outcome::End(..)));
    assert_eq!(refusal(&read(BodyLength::Chunked, b"0\r\n\r\n", &trailers(1, 0))), Some(TrailersTooLarge { limit: 1 }));
}

#[test]
fn a_body_over_the_limit_is_refused_at_once() {
    let limits = Limits { max_body_bytes: Some(4), ..Limits::default() };
    let too_large = BodyTooLarge { limit: 4 };
    let table: [(BodyLength, &[u8], Option<ProtocolError>); 9] = [
        (BodyLength::Known(4), b"abcd", None),
        (BodyLength::Known(5), b"", Some(too_large)),
        (BodyLength::Known(u64::MAX), b"", Some(too_large)),
        (BodyLength::Chunked, b"4\r\nabcd\r\n0\r\n\r\n", None),
        (BodyLength::Chunked, b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", None),
        // The size line is enough.
        (BodyLength::Chunked, b"5\r\n", Some(too_large)),
        (BodyLength::Chunked, b"3\r\nabc\r\n2\r\n", Some(too_large)),
        (BodyLength::UntilClose, b"abcd", None),
        (BodyLength::UntilClose, b"abcde", Some(too_large)),
    ];
    for (length, bytes, expected) in table {
        assert_eq!(refusal(&read(length, bytes, &limits)), expected, "{length:?} {}", bytes.escape_ascii());
    }
}

#[test]
fn frames_of_chunked_bodies() {
    let mut writer = BodyWriter::new(BodyLength::Chunked);
    let table: [(usize, &[u8], &[u8]); 6] = [
        (1, b"1\r\n", b"\r\n"),
        (0, b"", b""),
        (15, b"f\r\n", b"\r\n"),
        (16, b"10\r\n", b"\r\n"),
        (65_536, b"10000\r\n", b"\r\n"),
        (usize::MAX, b"ffffffffffffffff\r\n", b"\r\n"),
    ];
    for (len, prefix, suffix) in table {
        let frame = writer.frame(len).unwrap();
        assert_eq!((&*frame.prefix, frame.suffix), (prefix, suffix));
        assert_eq!(writer.remaining(), None);
    }
    assert!(!writer.is_done());
    let mut out = BytesMut::new();
    writer.finish(None, &mut out).unwrap();
    assert_eq!(&out[..], b"0\r\n\r\n");
    assert!(writer.is_done());
    assert_eq!(writer.finish(None, &mut out), Err(Misuse::BodyEnded));
    assert_eq!(writer.frame(1).unwrap_err(), Misuse::BodyEnded);
    assert_eq!(writer.frame(0).unwrap_err(), Misuse::BodyEnded);
    assert_eq!(&out[..], b"0\r\n\r\n");
}

#[test]
fn written_trailers() {
    let mut trailers = Fields::new();
    trailers.push_named("X-Sum", b"1").unwrap();
    let mut out = BytesMut::new();
    BodyWriter::new(BodyLength::Chunked).finish(Some(&trailers), &mut out).unwrap();
    assert_eq!(&out[..], b"0\r\nX-Sum: 1\r\n\r\n");

    out.clear();
    for length in [BodyLength::None, BodyLength::Known(0), BodyLength::UntilClose] {
        let mut writer = BodyWriter::new(length);
        assert_eq!(writer.finish(Some(&trailers), &mut out), Err(Misuse::TrailersWithoutChunked));
        assert!(!writer.is_done());
        // An empty section is none.
        assert_eq!(writer.finish(Some(&Fields::new()), &mut out), Ok(()));
    }
    trailers.push(Known::ContentLength, b"1").unwrap();
    let mut writer = BodyWriter::new(BodyLength::Chunked);
    assert_eq!(writer.finish(Some(&trailers), &mut out), Err(Misuse::ForbiddenTrailer));
    assert!(!writer.is_done() && out.is_empty());
}

#[test]
fn a_declared_length_is_kept() {
    let mut out = BytesMut::new();
    let mut writer = BodyWriter::new(BodyLength::Known(10));
    assert_eq!(writer.remaining(), Some(10));
    let frame = writer.frame(4).unwrap();
    assert!(frame.prefix.is_empty() && frame.suffix.is_empty());
    assert_eq!(writer.frame(7).unwrap_err(), Misuse::BodyTooLong { excess: 1 });
    assert_eq!(writer.remaining(), Some(6));
    assert_eq!(writer.finish(None, &mut out), Err(Misuse::BodyTooShort { missing: 6 }));
    assert!(!writer.is_done());
    writer.frame(6).unwrap();
    assert_eq!(writer.finish(None, &mut out), Ok(()));
    assert!(writer.is_done() && out.is_empty());

    let mut writer = BodyWriter::new(BodyLength::None);
    assert_eq!(writer.remaining(), Some(0));
    assert_eq!(writer.frame(1).unwrap_err(), Misuse::ContentNotAllowed);
    writer.frame(0).unwrap();
    assert_eq!(writer.finish(None, &mut out), Ok(()));

    let mut writer = BodyWriter::new(BodyLength::UntilClose);
    assert!(writer.frame(usize::MAX).unwrap().prefix.is_empty());
    assert_eq!(writer.remaining(), None);
    assert_eq!(writer.finish(None, &mut out), Ok(()));
    assert!(out.is_empty());
}

#[test]
fn readers_and_writers_are_small() {
    assert!(size_of::<BodyReader>() <= 56, "{}", size_of::<BodyReader>());
    assert!(size_of::<BodyWriter>() <= 16);
}
