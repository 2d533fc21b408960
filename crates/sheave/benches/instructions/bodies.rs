//! Chunked bodies: read where they lie, and written around the bytes of others.

use std::hint::black_box;

use bytes::BytesMut;
use sheave_proto::body::{BodyEvent, BodyReader, BodyWriter};
use sheave_proto::framing::BodyLength;
use sheave_proto::limits::Limits;

use crate::typical;

/// 100 KiB in chunks of 8 KiB, in reads of 64 KiB.
pub(crate) fn read_chunked(rounds: u64) {
    let input = typical::chunked(&typical::body(100 << 10));
    for _ in 0..rounds {
        let mut reader = BodyReader::new(BodyLength::Chunked, &Limits::default()).unwrap();
        let mut len = 0;
        for mut read in black_box(&input).chunks(64 << 10) {
            while let Some(event) = reader.receive(&mut read).unwrap() {
                if let BodyEvent::Data(data) = black_box(event) {
                    len += data.len();
                }
            }
        }
        black_box(len);
    }
}

/// 100 KiB in pieces of 8 KiB: a frame around each, and the end.
pub(crate) fn write_chunked(rounds: u64) {
    let mut out = BytesMut::with_capacity(64);
    for _ in 0..rounds {
        let mut writer = BodyWriter::new(BodyLength::Chunked);
        for _ in 0..black_box(13) {
            black_box(writer.frame(black_box(8 << 10)).unwrap());
        }
        writer.finish(None, &mut out).unwrap();
        black_box(&out);
        out.clear();
    }
}
