//! How HTTP/2 is spoken with clients.

use std::time::Duration;

use clap::Args;

use super::sockets::Switch;
use crate::duration::parse_timeout;
use crate::limit::{parse_frame_size, parse_window};

/// How HTTP/2 is spoken with clients.
#[derive(Args, Debug)]
#[command(next_help_heading = "HTTP/2 towards clients")]
pub(crate) struct ClientHttp2 {
    /// Whether HTTP/2 is spoken: behind TLS with whom ALPN agrees on it, without TLS with whoever begins with it.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) http2: Switch,

    /// Streams that a connection may have open at a time; what it opens beyond them is refused, and can be sent again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value = "100")]
    pub(crate) http2_max_streams: u32,

    /// Bytes that may come in one stream before they have been passed on. A stream comes no faster than this in each round
    /// trip.
    #[arg(long, value_name = "SIZE", value_parser = parse_window, default_value = "256k")]
    pub(crate) http2_window: u32,

    /// Bytes that may come in all streams of a connection before they have been passed on: what it can make us hold.
    #[arg(long, value_name = "SIZE", value_parser = parse_window, default_value = "1m")]
    pub(crate) http2_connection_window: u32,

    /// Bytes of one frame, from 16k to 16m.
    #[arg(long, value_name = "SIZE", value_parser = parse_frame_size, default_value = "16k")]
    pub(crate) http2_max_frame: u32,

    /// How long a stream may wait for its client to open its window; then it is reset, and its connection lives.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "30s")]
    pub(crate) http2_window_timeout: Duration,

    /// Without a byte from a client that has streams open; then a PING asks whether it is there.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "30s")]
    pub(crate) http2_ping_interval: Duration,

    /// From a PING to the next byte; then the connection is reset.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "20s")]
    pub(crate) http2_ping_timeout: Duration,
}
