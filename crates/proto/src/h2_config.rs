//! What an HTTP/2 connection of either role is held to, beyond what holds for every connection.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::limits::{Limits, MAX_SECTION_BYTES};

/// So many of something at once, and so many a second in the long run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many may come at once, on a connection that has been quiet for long enough.
    pub burst: NonZeroU32,
    /// How many a second come back.
    pub per_second: NonZeroU32,
}

impl Rate {
    /// A rate; zero counts as one.
    pub const fn new(burst: u32, per_second: u32) -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            match NonZeroU32::new(number) {
                Some(number) => number,
                None => NonZeroU32::MIN,
            }
        }
        Self { burst: at_least_one(burst), per_second: at_least_one(per_second) }
    }
}

/// How much of what costs us something, and the peer little, a peer may send before its connection is ended with
/// ENHANCE_YOUR_CALM. RFC 9113 §10.5
///
/// Each is a [`Rate`] and, where the same frame is of use as well, is earned back by the use: what an honest peer sends grows
/// with the work that it gets done, and what an attacker sends does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FloodBounds {
    /// Server: RST_STREAM from the peer. Each stream that we answer to its end earns one back. Default: 500, and 50 a second.
    ///
    /// Rapid reset (CVE-2023-44487) resets every stream at once. A browser that leaves a page cancels as many as it may have
    /// open, which is a hundred here. nghttp2: 1000 and 33 a second; Envoy: 500 early ones in all; h2: 20 that were not yet
    /// accepted; Go, Caddy: none.
    pub resets: Rate,
    /// Server: RST_STREAM that we send because of what the peer did wrong in a stream. Default: 100, and 10 a second.
    ///
    /// MadeYouReset (CVE-2025-8671) is rapid reset by our own hand. h2: 1024 in all.
    pub provoked_resets: Rate,
    /// Server: streams that we refuse, since there were too many. Default: 1000, and 100 a second.
    ///
    /// A peer that has not heard yet how many it may have can open many more at once, and is not to blame.
    pub refused_streams: Rate,
    /// CONTINUATION frames of one head. Default: 8, as nghttp2; with frames of 16 KiB that is four times what a head may have.
    pub max_continuations: u32,
    /// Bytes of one head as it is compressed, all its frames together. Default: 128 KiB.
    ///
    /// Beyond a head's own bound and less than this it is answered with 431.
    pub max_head_block_bytes: u32,
    /// SETTINGS. Default: 50, and 2 a second.
    ///
    /// Peers send them once; some raise their windows as they measure the path, about ten times.
    pub settings: Rate,
    /// PING. Each DATA frame that we send earns one back. Default: 200, and 20 a second.
    ///
    /// gRPC measures the path with a PING for each round trip in which it received something.
    pub pings: Rate,
    /// PRIORITY, PRIORITY_UPDATE (RFC 9218). Each stream that the peer opens earns four back. Default: 200, and 20 a second.
    ///
    /// Envoy: 100 for each stream; nginx: two for each stream that may be open; nobody else has a bound.
    pub priorities: Rate,
    /// DATA without a byte of content that does not end its stream, padding not counted. Default: 100, and 10 a second.
    ///
    /// Envoy: one in a row; h2: a fixed number in all.
    pub empty_frames: Rate,
    /// WINDOW_UPDATE. Each DATA frame that we send and that is worth its header earns ten back (Envoy's factor), each stream
    /// that the peer opens four. Default: 1000, and 100 a second.
    ///
    /// Worth its header is a frame of 16 bytes or more, or one that ends its stream: a peer that opens its window byte by
    /// byte (CVE-2019-9511) earns nothing with the frames that it makes us send.
    pub window_updates: Rate,
    /// Frames of types that are not known, and GOAWAY. Each stream that the peer opens earns two back: some peers send such
    /// frames on purpose, to keep the protocol open. Default: 100, and 10 a second.
    pub unknown_frames: Rate,
    /// PING and SETTINGS that we have not acknowledged on the wire, since the peer does not read. Default: 500; Envoy and
    /// nghttp2: 1000, Go: 10,000.
    ///
    /// It is for a framing layer that goes on reading meanwhile. The h2 crate does not: before it reads on, it writes the one
    /// answer that it owes. There the write deadline ends a peer that reads nothing.
    pub max_unanswered: u32,
}

impl Default for FloodBounds {
    fn default() -> Self {
        Self {
            resets: Rate::new(500, 50),
            provoked_resets: Rate::new(100, 10),
            refused_streams: Rate::new(1000, 100),
            max_continuations: 8,
            max_head_block_bytes: 128 * 1024,
            settings: Rate::new(50, 2),
            pings: Rate::new(200, 20),
            priorities: Rate::new(200, 20),
            empty_frames: Rate::new(100, 10),
            window_updates: Rate::new(1000, 100),
            unknown_frames: Rate::new(100, 10),
            max_unanswered: 500,
        }
    }
}

/// What an HTTP/2 connection is held to. Every bound is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Http2Config {
    /// Streams that may be open at once (SETTINGS_MAX_CONCURRENT_STREAMS for peers that open them). Default: 100, the least
    /// that RFC 9113 §6.5.2 recommends.
    pub max_concurrent_streams: u32,
    /// Bytes that a peer may send in one stream before we have passed them on (SETTINGS_INITIAL_WINDOW_SIZE), up to
    /// 2^31-1. Default: 256 KiB.
    ///
    /// A stream comes no faster than this in each round trip. It is memory only while what came is not taken.
    pub stream_window_bytes: u32,
    /// Bytes that a peer may send in all streams together before we have passed them on, up to 2^31-1. Default: 1 MiB; less
    /// than [`Self::stream_window_bytes`] counts as that.
    ///
    /// It bounds what a connection can make us hold.
    pub connection_window_bytes: u32,
    /// Bytes of one frame (SETTINGS_MAX_FRAME_SIZE), from 16,384 to 16,777,215. Default: 16 KiB: a larger one keeps the other
    /// streams waiting for longer.
    pub max_frame_bytes: u32,
    /// Bytes of our send buffer for each stream, in which waits what the peer's windows do not let out. Default: 64 KiB.
    pub max_send_buffer_bytes: usize,
    /// Without a received byte while a stream is open: then a PING asks whether the peer is there. Default: 30 s;
    /// [`Self::towards_origins`]: 5 min.
    ///
    /// gRPC servers allow a client a PING in five minutes without data, and end the connection at the third that comes
    /// sooner; clients bear any. A connection without streams is left to its idle deadline, so that nobody is woken for it.
    pub ping_interval: Duration,
    /// From a PING to the next byte from the peer. Default: 20 s, as in gRPC.
    pub ping_timeout: Duration,
    /// How long a stream may wait for the peer to open its window. Default: 30 s. It is to a stream what the write deadline is
    /// to a socket.
    pub window_timeout: Duration,
    /// How long the first of two GOAWAYs is given to reach the peer, and what the peer sent before, to reach us; then the
    /// second follows. Default: 2 s; a PING that is answered makes it shorter. RFC 9113 §6.8
    pub goaway_timeout: Duration,
    /// Server: whether clients may ask for tunnels in streams (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441). Default: false.
    pub allows_extended_connect: bool,
    /// How much more than that is a flood.
    pub floods: FloodBounds,
}

impl Http2Config {
    /// The defaults for connections to origins.
    pub fn towards_origins() -> Self {
        Self { ping_interval: Duration::from_secs(300), ..Self::default() }
    }

    /// What a peer is told of how large a head may be (SETTINGS_MAX_HEADER_LIST_SIZE): as large as one of HTTP/1 may be,
    /// counted as HTTP/2 counts, with 32 bytes more for each field (RFC 9113 §6.5.2).
    pub fn header_list_bytes(limits: &Limits) -> u32 {
        let bytes = limits.max_head_bytes.min(MAX_SECTION_BYTES).saturating_add(limits.max_fields.saturating_mul(32));
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 100,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            max_frame_bytes: 16 * 1024,
            max_send_buffer_bytes: 64 * 1024,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            window_timeout: Duration::from_secs(30),
            goaway_timeout: Duration::from_secs(2),
            allows_extended_connect: false,
            floods: FloodBounds::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        let config = Http2Config::default();
        let floods = config.floods;
        assert!(config.connection_window_bytes >= config.stream_window_bytes);
        assert!((16_384..1 << 24).contains(&config.max_frame_bytes), "RFC 9113 §4.2");
        assert!(config.stream_window_bytes < 1 << 31 && config.connection_window_bytes < 1 << 31, "RFC 9113 §6.5.2");
        // A head that is only too large is answered before it is a flood.
        assert!(floods.max_head_block_bytes as usize >= 2 * Limits::default().max_head_bytes);
        assert!(floods.max_continuations * config.max_frame_bytes >= floods.max_head_block_bytes);
        // Whoever leaves a page is no attacker, nor who has not heard how many streams there may be.
        assert!(floods.resets.burst.get() >= 4 * config.max_concurrent_streams);
        assert!(floods.refused_streams.burst.get() >= 4 * config.max_concurrent_streams);
        // One read can bring as many PINGs and SETTINGS as are allowed at once, before any of them can be answered.
        assert!(floods.max_unanswered > floods.pings.burst.get() + floods.settings.burst.get());
        assert!(config.ping_timeout < config.ping_interval);
        assert_eq!(Rate::new(0, 0), Rate::new(1, 1));
        let limits = Limits::default();
        assert_eq!(Http2Config::header_list_bytes(&limits), 32 * 1024 + 128 * 32);
        let endless = Limits { max_head_bytes: usize::MAX, max_fields: usize::MAX, ..limits };
        assert_eq!(Http2Config::header_list_bytes(&endless), u32::MAX);
    }
}
