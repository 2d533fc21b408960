//! A request's head: read in one way, and what we write is read as the same message.

use bytes::BytesMut;
use sheave_proto::error::{Misuse, ProtocolError};
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::RequestHead;
use sheave_proto::known::Known;
use sheave_proto::limits::Limits;
use sheave_proto::read_head::RequestReader;
use sheave_proto::version::Version;
use sheave_proto::write_head::{ConnectionField, write_request_head};

use crate::fields::{copied, strips_clean};
use crate::pieces::{Outcome, whole_and_byte_by_byte};

/// Tight limits, which even small inputs reach.
const TIGHT: fn() -> Limits = || Limits {
    max_head_bytes: 96,
    max_request_line_bytes: 32,
    max_fields: 4,
    max_leading_newlines: 0,
    ..Limits::default()
};

/// Limits that a head within the default ones cannot reach when it is written anew: blanks and lines may be added.
const WIDE: fn() -> Limits =
    || Limits { max_head_bytes: 65_535, max_request_line_bytes: 65_535, max_fields: 256, ..Limits::default() };

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    read(data, &TIGHT());
    let Outcome::Whole(head, taken) = read(data, &Limits::default()) else { return };
    assert!(taken <= data.len());
    strips_clean(head.fields());
    assert!(!framing::expects_continue(&head) || head.fields().contains(Known::Expect));
    assert!(framing::upgrade(&head).is_none() || head.fields().contains(Known::Upgrade));
    if let Ok(length) = framing::request_body(&head) {
        is_read_as_it_was_written(&head, length);
    }
}

fn read(data: &[u8], limits: &Limits) -> Outcome<RequestHead> {
    whole_and_byte_by_byte(data, RequestReader::new, |reader, input| reader.receive(input, limits))
}

fn is_read_as_it_was_written(head: &RequestHead, length: BodyLength) {
    for connection in [ConnectionField::Omit, ConnectionField::Close] {
        let mut out = BytesMut::new();
        match write_request_head(&mut out, head, head.target(), length, connection) {
            Ok(()) => {}
            // Only HTTP/1.0 may come without Host; it goes on once Host was added.
            Err(Misuse::MissingHost) if head.version() == Version::Http10 => return,
            Err(misuse) => panic!("{head:?} was read but cannot be written: {misuse}"),
        }
        let Outcome::Whole(again, taken) = read(&out, &WIDE()) else { panic!("not read: {}", out.escape_ascii()) };
        assert_eq!(taken, out.len());
        assert_eq!((again.method(), again.target(), again.version()), (head.method(), head.target(), Version::Http11));
        assert_eq!(copied(again.fields()), copied(head.fields()));
        assert_eq!(framing::request_body(&again), Ok::<_, ProtocolError>(length));
        let closes = connection == ConnectionField::Close;
        assert_eq!(framing::keeps_alive(again.version(), again.fields()), !closes);
        assert!(again.fields().count(Known::Connection) <= 1);
    }
}
