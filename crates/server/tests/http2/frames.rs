//! Frames written and read by hand: what no good client does, and what a server says to it. RFC 9113 §4, §6

use sheave_net::socket::{Liveness, Socket};
use sheave_sim::socket::SimSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number at this place of the payload.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field section, each field as a literal that is never indexed. RFC 7541 §6.2.3
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            let len = text.len();
            if len < 127 {
                block.push(u8::try_from(len).unwrap());
            } else {
                block.push(127);
                let mut rest = len - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap() | 0x80);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap());
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The field section of a request.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "o")])
}

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path))
}

pub(crate) fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path))
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A client that writes frames by hand, and answers only what it is told to.
pub(crate) struct Raw<S = SimSocket> {
    pub(crate) socket: S,
    read: Vec<u8>,
}

impl<S: Socket> Raw<S> {
    /// One that has said that it speaks HTTP/2, with these settings.
    pub(crate) async fn begin(socket: S, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(socket);
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        raw.write(PREFACE).await;
        raw.write(&frame(SETTINGS, 0, 0, &settings)).await;
        raw
    }

    /// One that has said nothing.
    pub(crate) fn silent(socket: S) -> Self {
        Self { socket, read: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end, whether it is FIN or RST.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, s0, s1, s2, s3, ..] = self.read[..] {
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                if self.read.len() >= 9 + len {
                    let stream = u32::from_be_bytes([s0, s1, s2, s3]);
                    let payload = self.read[9..9 + len].to_vec();
                    self.read.drain(..9 + len);
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => {
                    assert!(self.read.is_empty(), "a frame was cut off");
                    return None;
                }
                Ok(len) => self.read.extend_from_slice(&buffer[..len]),
            }
        }
    }

    /// The next frame of this kind; those before it are passed over.
    pub(crate) async fn until(&mut self, kind: u8) -> Frame {
        loop {
            match self.next().await {
                Some(frame) if frame.kind == kind => return frame,
                Some(_) => {}
                None => panic!("the connection ended before a frame of type {kind}"),
            }
        }
    }

    /// All frames up to the end.
    pub(crate) async fn all(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Acknowledges what has to be, until the settings of both sides are.
    pub(crate) async fn settle(&mut self) {
        let (mut is_ours, mut is_theirs) = (false, false);
        while !is_ours || !is_theirs {
            let settings = self.until(SETTINGS).await;
            if settings.flags & ACK != 0 {
                is_ours = true;
            } else {
                self.write(&frame(SETTINGS, ACK, 0, &[])).await;
                is_theirs = true;
            }
        }
    }

    /// Answers a PING.
    pub(crate) async fn pong(&mut self, ping: &Frame) {
        self.write(&frame(PING, ACK, 0, &ping.payload)).await;
    }

    /// Whether something is here to be read.
    pub(crate) fn has_more(&mut self) -> bool {
        !self.read.is_empty() || self.socket.probe() == Liveness::Unasked
    }
}
