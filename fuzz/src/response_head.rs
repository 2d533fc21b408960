//! A response's head: read in one way, and what we write is read as the same message.

use bytes::BytesMut;
use http::Method;
use sheave_proto::error::{Misuse, ProtocolError};
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::ResponseHead;
use sheave_proto::limits::Limits;
use sheave_proto::read_head::ResponseReader;
use sheave_proto::version::Version;
use sheave_proto::write_head::{ConnectionField, write_response_head};

use crate::fields::{copied, strips_clean};
use crate::pieces::{Outcome, whole_and_byte_by_byte};

/// # Panics
/// A law of the module's caption is broken.
pub fn holds(data: &[u8]) {
    read(data, &Limits { max_head_bytes: 96, max_fields: 4, ..Limits::default() });
    let Outcome::Whole(head, taken) = read(data, &Limits::default()) else { return };
    assert!(taken <= data.len());
    strips_clean(head.fields());
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        if let Ok(length) = framing::response_body(&head, &method) {
            is_read_as_it_was_written(&head, &method, length);
        }
    }
}

fn read(data: &[u8], limits: &Limits) -> Outcome<ResponseHead> {
    whole_and_byte_by_byte(data, ResponseReader::new, |reader, input| reader.receive(input, limits))
}

fn is_read_as_it_was_written(head: &ResponseHead, method: &Method, length: BodyLength) {
    for peer in [Version::Http10, Version::Http11] {
        let mut out = BytesMut::new();
        let effective = match write_response_head(&mut out, head, method, peer, length, ConnectionField::Omit) {
            Ok(effective) => effective,
            // RFC 9110 §15.2, §7.8: neither goes out by itself.
            Err(Misuse::InformationalToHttp10 | Misuse::SwitchWithoutUpgrade) => continue,
            Err(misuse) => panic!("{head:?} was read but cannot be written: {misuse}"),
        };
        let wide = Limits { max_head_bytes: 65_535, max_fields: 256, ..Limits::default() };
        let Outcome::Whole(again, taken) = read(&out, &wide) else { panic!("not read: {}", out.escape_ascii()) };
        assert_eq!(taken, out.len());
        assert_eq!((again.status(), again.reason()), (head.status(), head.reason()));
        assert_eq!(copied(again.fields()), copied(head.fields()));
        assert_eq!(framing::response_body(&again, method), Ok::<_, ProtocolError>(effective));
        if effective == BodyLength::UntilClose {
            // RFC 9112 §9.6: what ends with the connection says so.
            assert!(!framing::keeps_alive(again.version(), again.fields()));
        }
    }
}
