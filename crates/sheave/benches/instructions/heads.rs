//! Heads: taken apart, edited for the next hop, and written.

use std::hint::black_box;

use bytes::BytesMut;
use http::Method;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::hop::{self, ViaEntry};
use sheave_proto::limits::Limits;
use sheave_proto::read_head::{RequestReader, ResponseReader};
use sheave_proto::version::Version;
use sheave_proto::write_head::{ConnectionField, write_request_head, write_response_head};

use crate::typical::{REQUEST, RESPONSE};

fn request() -> RequestHead {
    RequestReader::new().receive(&mut black_box(REQUEST), &Limits::default()).unwrap().unwrap()
}

fn response() -> ResponseHead {
    ResponseReader::new().receive(&mut black_box(RESPONSE), &Limits::default()).unwrap().unwrap()
}

pub(crate) fn parse_request(rounds: u64) {
    for _ in 0..rounds {
        black_box(request());
    }
}

pub(crate) fn parse_response(rounds: u64) {
    for _ in 0..rounds {
        black_box(response());
    }
}

pub(crate) fn write_request(rounds: u64) {
    let (head, mut out) = (request(), BytesMut::with_capacity(4096));
    for _ in 0..rounds {
        let target = head.path_and_query();
        write_request_head(&mut out, black_box(&head), target, BodyLength::None, ConnectionField::Omit).unwrap();
        black_box(&out);
        out.clear();
    }
}

pub(crate) fn write_response(rounds: u64) {
    let (head, mut out) = (response(), BytesMut::with_capacity(4096));
    for _ in 0..rounds {
        let body = BodyLength::Known(10_240);
        let (get, version) = (Method::GET, Version::Http11);
        write_response_head(&mut out, black_box(&head), &get, version, body, ConnectionField::Omit).unwrap();
        black_box(&out);
        out.clear();
    }
}

/// What ends here goes, what we are called is added. The head that is edited is copied before each time: that counts, too.
pub(crate) fn hop_edits(rounds: u64) {
    let (head, via) = (request(), ViaEntry::new("sheave-bench").unwrap());
    for _ in 0..rounds {
        let mut head = black_box(&head).clone();
        assert!(!via.is_in(head.fields()));
        hop::strip_hop_by_hop(head.fields_mut()).unwrap();
        via.append_to(head.fields_mut(), Version::Http11);
        black_box(head);
    }
}
