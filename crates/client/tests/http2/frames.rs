//! An origin that speaks frame by frame, as told.

use std::net::SocketAddr;

use sheave_sim::listener::SimListener;
use sheave_sim::net::SimNet;
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub const INITIAL_WINDOW_SIZE: u16 = 0x4;

pub const NO_ERROR: u32 = 0x0;
pub const INTERNAL_ERROR: u32 = 0x2;
pub const REFUSED_STREAM: u32 = 0x7;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;
pub const HTTP_1_1_REQUIRED: u32 = 0xd;

/// `:status: 200`, by its number in the static table. RFC 7541 §A
pub const OK: &[u8] = &[0x88];

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// An address at which connections are taken one by one.
pub struct Script(SimListener);

impl Script {
    pub fn at(net: &SimNet, at: SocketAddr) -> Self {
        Self(net.listen(at))
    }

    /// The next connection, up to our SETTINGS.
    pub async fn accept(&mut self, settings: &[(u16, u32)]) -> Peer {
        let mut peer = Peer(self.0.accept().await);
        let mut preface = [0; 24];
        peer.0.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        peer.settings(settings).await;
        peer
    }
}

/// The origin's end of a connection.
pub struct Peer(pub SimSocket);

impl Peer {
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    pub async fn settings(&mut self, settings: &[(u16, u32)]) {
        let one = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        self.send(SETTINGS, 0, 0, &settings.iter().flat_map(one).collect::<Vec<_>>()).await;
    }

    pub async fn goaway(&mut self, last: u32, code: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    pub async fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// A whole response.
    pub async fn answer(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, OK).await;
        self.send(DATA, END_STREAM, stream, b"hello").await;
    }

    /// The next frame, if one comes.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of a kind.
    pub async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("it goes on");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The numbers of the next requests.
    pub async fn requests(&mut self, count: usize) -> Vec<u32> {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(self.until(HEADERS).await.stream);
        }
        streams
    }

    /// Reads until the other side ends it; the frames.
    pub async fn drain(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}
