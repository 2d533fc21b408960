//! What is written is read as the same message.

use bytes::BytesMut;
use http::{Method, StatusCode};
use proptest::prelude::*;
use sheave_proto::body::{BodyEvent, BodyReader, BodyWriter};
use sheave_proto::fields::Fields;
use sheave_proto::framing::{self, BodyLength};
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::hop;
use sheave_proto::known::Known;
use sheave_proto::limits::Limits;
use sheave_proto::read_head::{RequestReader, ResponseReader};
use sheave_proto::version::Version;
use sheave_proto::write_head::{ConnectionField, write_request_head, write_response_head};

/// Names that the writer takes as they are, in any case.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
        prop::sample::select(vec!["Via", "ACCEPT", "x-forwarded-for", "Set-Cookie", "content-type", "Expect"])
            .prop_map(str::to_owned),
    ]
    .prop_filter("the writer leaves these out, or adds to them", |name| {
        !matches!(
            Known::from_bytes(name.as_bytes()),
            Some(
                Known::Connection
                    | Known::KeepAlive
                    | Known::ProxyConnection
                    | Known::TransferEncoding
                    | Known::ContentLength
                    | Known::Upgrade
                    | Known::Host
                    | Known::Te
            )
        )
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8], 0..30)
}

fn lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::vec((name(), value()), 0..20)
}

fn fields(lines: &[(String, Vec<u8>)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push_named(name, value).expect("the strategies make what can be sent");
    }
    fields
}

fn length() -> impl Strategy<Value = BodyLength> {
    prop_oneof![
        Just(BodyLength::None),
        any::<u64>().prop_map(BodyLength::Known),
        Just(BodyLength::Chunked),
        Just(BodyLength::UntilClose),
    ]
}

/// Reads a body that is all there, and says how many bytes are left over.
fn read_body(length: BodyLength, mut input: &[u8]) -> (Vec<u8>, Option<Fields>, usize) {
    let mut reader = BodyReader::new(length, &Limits::default()).expect("no limit by default");
    let mut content = Vec::new();
    loop {
        match reader.receive(&mut input).expect("what was written can be read") {
            Some(BodyEvent::Data(data)) => content.extend_from_slice(data),
            Some(BodyEvent::End(trailers)) => return (content, trailers, input.len()),
            None => {
                assert_eq!(reader.receive_end(), Ok(BodyEvent::End(None)));
                return (content, None, 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests(
        method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
        target in "/[!\"$-~]{0,100}",
        lines in lines(),
        length in length().prop_filter("never in a request", |length| *length != BodyLength::UntilClose),
        close in any::<bool>(),
    ) {
        prop_assume!(method != "CONNECT");
        let mut head = RequestHead::new(Method::from_bytes(method.as_bytes()).unwrap(), &target).unwrap();
        *head.fields_mut() = fields(&lines);
        head.fields_mut().push(Known::Host, b"a.example:8080").unwrap();
        let connection = if close { ConnectionField::Close } else { ConnectionField::Omit };
        let mut out = BytesMut::new();
        write_request_head(&mut out, &head, head.path_and_query(), length, connection).unwrap();

        let mut input = &out[..];
        let mut read = RequestReader::new().receive(&mut input, &Limits::default()).unwrap().unwrap();
        assert!(input.is_empty());
        assert_eq!(framing::request_body(&read), Ok(length));
        assert_eq!(framing::keeps_alive(read.version(), read.fields()), !close);
        // What was added is framing and Connection, and nothing else.
        for ours in [Known::ContentLength, Known::TransferEncoding, Known::Connection] {
            assert!(read.fields_mut().remove(ours) <= 1);
        }
        assert_eq!(read, head);
    }

    #[test]
    fn responses(
        status in 200..600u16,
        reason in prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8], 0..40),
        lines in lines(),
        length in length(),
        method in prop::sample::select(vec![Method::GET, Method::HEAD, Method::CONNECT]),
        close in any::<bool>(),
        peer in prop::sample::select(vec![Version::Http10, Version::Http11]),
    ) {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        *head.fields_mut() = fields(&lines);
        head.set_reason(&reason).unwrap();
        let connection = if close { ConnectionField::Close } else { ConnectionField::KeepAlive };
        let mut out = BytesMut::new();
        let written = write_response_head(&mut out, &head, &method, peer, length, connection).unwrap();

        let mut input = &out[..];
        let mut read = ResponseReader::new().receive(&mut input, &Limits::default()).unwrap().unwrap();
        assert!(input.is_empty());
        // The reader expects what the writer was told to write.
        assert_eq!(framing::response_body(&read, &method), Ok(written));
        if close || written == BodyLength::UntilClose {
            assert!(!framing::keeps_alive(read.version(), read.fields()));
        }
        for ours in [Known::ContentLength, Known::TransferEncoding, Known::Connection] {
            assert!(read.fields_mut().remove(ours) <= 1);
        }
        assert_eq!(read, head);
    }

    #[test]
    fn bodies(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
        trailers in lines(),
        behind in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let content = frames.concat();
        for length in [BodyLength::Chunked, BodyLength::Known(content.len() as u64), BodyLength::UntilClose] {
            let trailers = fields(&trailers);
            let trailers = (length == BodyLength::Chunked && !trailers.is_empty()).then_some(trailers);
            let mut writer = BodyWriter::new(length);
            let mut out = BytesMut::new();
            for frame in &frames {
                let around = writer.frame(frame.len()).unwrap();
                for part in [&around.prefix, &frame[..], around.suffix] {
                    out.extend_from_slice(part);
                }
            }
            writer.finish(trailers.as_ref(), &mut out).unwrap();
            let behind = if length == BodyLength::UntilClose { &[][..] } else { &behind };
            out.extend_from_slice(behind);
            assert_eq!(read_body(length, &out), (content.clone(), trailers, behind.len()));
        }
    }

    /// What a proxy does: read, strip, write, read. Nothing of the hop is left, and nothing else is lost.
    #[test]
    fn through_a_hop(lines in lines(), named in prop::collection::vec("[a-z-]{1,8}", 0..5)) {
        let mut head = RequestHead::new(Method::POST, "/").unwrap();
        *head.fields_mut() = fields(&lines);
        let fields = head.fields_mut();
        fields.push(Known::Host, b"a").unwrap();
        for name in &named {
            fields.push_named(name, b"hop").unwrap();
        }
        fields.push(Known::Connection, named.join(", ").as_bytes()).unwrap();
        fields.push(Known::TransferEncoding, b"chunked").unwrap();
        hop::strip_hop_by_hop(fields).unwrap();
        for name in &named {
            // Some names stay whoever names them.
            assert!(matches!(name.as_str(), "close" | "host" | "via") || fields.get_named(name).is_none());
        }
        assert!(!fields.contains(Known::Connection) && !fields.contains(Known::TransferEncoding));
        let kept = lines.iter().filter(|(name, _)| !named.iter().any(|named| named.eq_ignore_ascii_case(name)));
        for (name, _) in kept {
            if !matches!(Known::from_bytes(name.as_bytes()), Some(Known::Te | Known::KeepAlive)) {
                assert!(head.fields().get_named(name).is_some(), "{name}");
            }
        }
        let mut out = BytesMut::new();
        write_request_head(&mut out, &head, "/", BodyLength::Chunked, ConnectionField::Omit).unwrap();
        let read = RequestReader::new().receive(&mut &out[..], &Limits::default()).unwrap().unwrap();
        assert_eq!(framing::request_body(&read), Ok(BodyLength::Chunked));
    }
}
