//! The framing layer: how it is set up, and what its errors say.

use h2::Reason;
use h2::server::Builder;
use sheave_lifecycle::close::CloseReason;
use sheave_proto::config::ConnectionConfig;
use sheave_proto::h2_code::ErrorCode;

use crate::http2::stream::code_of;

/// The largest window. RFC 9113 §6.9.1
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// What each field counts for in SETTINGS_MAX_HEADER_LIST_SIZE beyond its bytes. RFC 9113 §6.5.2
const FIELD_OVERHEAD: usize = 32;

/// How the framing layer is set up for `config`.
///
/// Its own bounds are no tighter than ours, so that what is too much has our name, and is told by us.
pub(crate) fn builder(config: &ConnectionConfig) -> Builder {
    let http2 = &config.http2;
    let stream_window = http2.stream_window_bytes.min(MAX_WINDOW_BYTES);
    // Twice what a head may have: one that is a little too large gets its 431 from us, with a line in the log.
    let head = config.limits.max_head_bytes.saturating_add(config.limits.max_fields.saturating_mul(FIELD_OVERHEAD));
    let mut builder = Builder::new();
    builder
        .initial_window_size(stream_window)
        .initial_connection_window_size(http2.connection_window_bytes.clamp(stream_window, MAX_WINDOW_BYTES))
        .max_frame_size(http2.max_frame_bytes.clamp(1 << 14, (1 << 24) - 1))
        .max_header_list_size(u32::try_from(head.saturating_mul(2)).unwrap_or(u32::MAX))
        .max_concurrent_streams(http2.max_concurrent_streams)
        .max_send_buffer_size(http2.max_send_buffer_bytes.min(u32::MAX as usize))
        // Streams that were reset before we have looked at them: one read can bring as many as are allowed at once.
        .max_pending_accept_reset_streams(http2.floods.resets.burst.get() as usize);
    if http2.allows_extended_connect {
        builder.enable_connect_protocol();
    }
    builder
}

/// What the framing layer ended the connection for, where it was its own verdict. What its GOAWAY said more of that, the
/// machine has seen.
pub(crate) fn verdict(error: &h2::Error) -> Option<CloseReason> {
    if !error.is_go_away() || !error.is_library() {
        return None;
    }
    let code = code_of(error.reason().unwrap_or(Reason::PROTOCOL_ERROR));
    Some(match code {
        ErrorCode::EnhanceYourCalm => CloseReason::Flooded(code.label()),
        code => CloseReason::Protocol(code.label()),
    })
}
