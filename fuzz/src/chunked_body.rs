//! A chunked body: read in one way, never past its end, and what we write is read as the same content.

use bytes::BytesMut;
use sheave_proto::body::{BodyEvent, BodyReader, BodyWriter};
use sheave_proto::error::ProtocolError;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::limits::Limits;

use crate::pieces::{Outcome, whole_and_byte_by_byte};

/// Content and trailers.
#[derive(Debug, Default, PartialEq)]
struct Body {
    content: Vec<u8>,
    trailers: Option<Fields>,
}

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    let tight = Limits {
        max_chunk_extension_bytes: 8,
        max_trailer_bytes: 48,
        max_fields: 2,
        max_body_bytes: Some(64),
        ..Limits::default()
    };
    if let Outcome::Whole(body, _) = read(data, &tight) {
        assert!(body.content.len() <= 64);
    }
    let Outcome::Whole(body, taken) = read(data, &Limits::default()) else { return };
    assert!(data[..taken].ends_with(b"\r\n"), "a chunked body ends with an empty line and nothing behind it");
    for frame_len in [1, 7, usize::MAX] {
        is_read_as_it_was_written(&body, frame_len);
    }
}

fn read(data: &[u8], limits: &Limits) -> Outcome<Body> {
    let fresh = || {
        let reader = BodyReader::new(BodyLength::Chunked, limits).expect("a chunked body declares no length");
        (reader, Vec::new())
    };
    whole_and_byte_by_byte(data, fresh, |(reader, content), input| receive(reader, content, input))
}

fn receive(reader: &mut BodyReader, content: &mut Vec<u8>, input: &mut &[u8]) -> Result<Option<Body>, ProtocolError> {
    loop {
        match reader.receive(input)? {
            Some(BodyEvent::Data(data)) => {
                assert!(!data.is_empty(), "data is never empty");
                content.extend_from_slice(data);
            }
            Some(BodyEvent::End(trailers)) => {
                return Ok(Some(Body { content: std::mem::take(content), trailers }));
            }
            None => return Ok(None),
        }
    }
}

fn is_read_as_it_was_written(body: &Body, frame_len: usize) {
    let mut writer = BodyWriter::new(BodyLength::Chunked);
    let mut out = BytesMut::new();
    for part in body.content.chunks(frame_len) {
        let frame = writer.frame(part.len()).expect("a chunked body has no length to exceed");
        for bytes in [&*frame.prefix, part, frame.suffix] {
            out.extend_from_slice(bytes);
        }
    }
    writer.finish(body.trailers.as_ref(), &mut out).expect("what was read as a trailer can be written as one");
    let wide = Limits { max_trailer_bytes: 65_535, ..Limits::default() };
    let Outcome::Whole(again, taken) = read(&out, &wide) else { panic!("not read: {}", out.escape_ascii()) };
    assert_eq!(taken, out.len());
    assert_eq!(&again, body);
}
