//! WebSocket's frames through the proxy, byte for byte: whatever they say, and however they come cut.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client;
use h2::ext::Protocol;
use http::Request;
use kit::message::Framing;
use kit::origin::{Accepted, Origin};
use kit::rig::{Rig, Setup};
use kit::run::run;
use kit::wire::{End, Reader, Writer};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::phase::Side;
use tokio::net::TcpStream;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Numbers that are the same in every run.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[1]).collect()
    }
}

/// How a frame's length is written: as short as it can be, or longer.
#[derive(Clone, Copy)]
enum Length {
    Shortest,
    In16,
    In64,
}

/// One side's frames. RFC 6455 §5.2
struct Frames {
    bytes: Vec<u8>,
    numbers: Numbers,
    masks: bool,
}

impl Frames {
    /// A frame whose first byte is `first`: FIN, three reserved bits, and the opcode.
    fn push(&mut self, first: u8, length: Length, payload: &[u8]) {
        let mask = if self.masks { 0x80 } else { 0 };
        self.bytes.push(first);
        match (length, payload.len()) {
            (Length::Shortest, len @ 0..=125) => self.bytes.push(mask | u8::try_from(len).unwrap()),
            (Length::Shortest, len @ 126..=0xffff) | (Length::In16, len) => {
                self.bytes.push(mask | 126);
                self.bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            (Length::Shortest | Length::In64, len) => {
                self.bytes.push(mask | 127);
                self.bytes.extend((len as u64).to_be_bytes());
            }
        }
        let key = if self.masks { self.numbers.bytes(4) } else { vec![0; 4] };
        if self.masks {
            self.bytes.extend(&key);
        }
        self.bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }

    fn push_random(&mut self, first: u8, len: usize) {
        let payload = self.numbers.bytes(len);
        self.push(first, Length::Shortest, &payload);
    }

    /// All that Autobahn's suite sends, and what no peer should.
    fn of(seed: u32, masks: bool) -> Vec<u8> {
        let mut frames = Self { bytes: Vec::new(), numbers: Numbers(seed), masks };
        // Every opcode, the reserved ones too, with every combination of FIN and reserved bits.
        for first in 0..=u8::MAX {
            frames.push_random(first, usize::from(first) % 9);
        }
        // Where the length's form changes, text and binary.
        for len in [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1_000_003] {
            frames.push_random(0x81, len);
            frames.push_random(0x82, len);
        }
        // Fragments, empty ones too, with control frames between them: RFC 6455 §5.4
        for len in [0, 1, 126, 70_000] {
            frames.push_random(0x01, len);
            frames.push_random(0x89, 125);
            frames.push_random(0x00, len);
            frames.push_random(0x8a, 0);
            frames.push_random(0x00, 0);
            frames.push_random(0x89, 4);
            frames.push_random(0x80, len);
        }
        // Lengths that are not written as short as they can be; control frames that are too long or in fragments.
        frames.push(0x82, Length::In16, b"long");
        frames.push(0x82, Length::In64, b"longer");
        frames.push_random(0x89, 126);
        frames.push_random(0x09, 3);
        // Text that is no UTF-8, and text that looks like HTTP's own.
        frames.push(0x81, Length::Shortest, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited");
        let (masks, http) =
            (std::mem::take(&mut frames.masks), b"0\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
        frames.push(0x81, Length::Shortest, http);
        // A mask where there should be none, and none where there should be one.
        frames.masks = !masks;
        frames.push_random(0x82, 10);
        frames.masks = masks;
        // Goodbye with a code, with half a code and without one; and more behind it.
        for payload in [&b"\x03\xe8bye"[..], b"\x03", b"", b"\x00\x00", b"\xff\xff"] {
            frames.push(0x88, Length::Shortest, payload);
        }
        frames.push_random(0x82, 300);
        // A frame that promises more than anybody could send, and ends.
        frames.bytes.extend(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0cut off");
        frames.bytes
    }
}

/// How a side's bytes are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    /// The first few thousand one by one, then the rest.
    Bytewise,
    Randomly,
}

async fn send(writer: &Writer, mut bytes: &[u8], cut: Cut) {
    let mut numbers = Numbers(7);
    let mut pieces = 0;
    while !bytes.is_empty() {
        let len = match cut {
            Cut::Bytewise if pieces < 4000 => 1,
            Cut::Whole | Cut::Bytewise => bytes.len(),
            Cut::Randomly => 1 + numbers.next() as usize % 20_000,
        };
        pieces += 1;
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        writer.send_all(piece).await.unwrap();
        tokio::task::yield_now().await;
        bytes = rest;
    }
    writer.fin();
}

async fn heard(reader: &mut Reader) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.content(Framing::UntilClose, |piece| bytes.extend_from_slice(piece)).await.unwrap();
    bytes
}

/// Both sides speak at once, each its own frames; what each hears is what the other said.
#[test]
fn frames_cross_as_they_are_both_ways_at_once() {
    run(async {
        let (to_origin, to_client) = (Frames::of(1, true), Frames::of(2, false));
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let cuts = [(Cut::Whole, Cut::Randomly), (Cut::Randomly, Cut::Whole), (Cut::Bytewise, Cut::Bytewise)];
        let (says, hears) = (to_client.clone(), arrived.clone());
        let origin = Origin::start(move |mut connection: Accepted| {
            let (says, hears) = (says.clone(), hears.clone());
            async move {
                let (_, cut) = cuts[connection.number];
                connection.must_request().await;
                // The first frames are in one segment with the head.
                let (first, rest) = says.split_at(1000);
                connection.send([SWITCH.as_bytes(), first].concat()).await;
                let wire = &mut connection.wire;
                let ((), all) = tokio::join!(send(&wire.writer, rest, cut), heard(&mut wire.reader));
                hears.lock().unwrap().push(all);
            }
        })
        .await;
        let rig = Rig::usual(origin.address);
        for (cut, theirs) in cuts {
            let mut client = rig.client().await;
            client.send(ASK).await;
            assert_eq!(client.head().await.unwrap().status(), 101);
            let ((), all) = tokio::join!(send(&client.writer, &to_origin, cut), heard(&mut client.reader));
            assert!(all == to_client, "{theirs:?}: {} of {} bytes", all.len(), to_client.len());
            assert_eq!(client.end().await, End::Fin);
        }
        let ended = rig.recorder.until_ended(cuts.len()).await;
        assert_eq!((ended.request_bytes, ended.response_bytes), (to_origin.len() as u64, to_client.len() as u64));
        let (_, recorder) = rig.finish().await;
        for side in Side::ALL {
            assert_eq!(recorder.log().reasons(side), [CloseReason::Upgraded; 3], "{side:?}");
        }
        let arrived = arrived.lock().unwrap();
        assert_eq!(arrived.len(), cuts.len());
        for (all, (cut, _)) in arrived.iter().zip(cuts) {
            assert!(*all == to_origin, "{cut:?}: {} of {} bytes", all.len(), to_origin.len());
        }
    });
}

/// The same from a client of HTTP/2, whose frames are in DATA. RFC 8441
#[test]
fn frames_cross_from_a_stream_as_they_are() {
    run(async {
        let to_origin = Frames::of(3, true);
        let origin = Origin::start(async |mut connection: Accepted| {
            let request = connection.must_request().await;
            let key = request.field("Sec-WebSocket-Key").unwrap();
            let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
            connection.send(SWITCH.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept)).await;
            while let Ok(bytes) = connection.wire.take().await {
                connection.send(bytes).await;
            }
            connection.wire.fin();
        })
        .await;
        let mut setup = Setup::default();
        setup.server.connection.http2.allows_extended_connect = true;
        let rig = Rig::start(&[origin.address], setup);
        let (mut client, connection) = client::handshake(TcpStream::connect(rig.address).await.unwrap()).await.unwrap();
        tokio::spawn(connection);
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = Request::connect("http://a/chat")
            .version(http::Version::HTTP_2)
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"));
        let (response, mut sending) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        // The engine keeps what the windows do not let out yet.
        sending.send_data(Bytes::from(to_origin.clone()), true).unwrap();
        let (mut body, mut echoed) = (response.into_body(), Vec::new());
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            echoed.extend_from_slice(&data);
        }
        assert!(echoed == to_origin, "{} of {} bytes", echoed.len(), to_origin.len());
        drop((client, sending, body));
        rig.finish().await;
    });
}
