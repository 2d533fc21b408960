//! An exchange as a JSON object on one line. Fields are added at the end and never renamed.

use sheave_lifecycle::observe::{ExchangeEnd, Outcome};

use crate::calendar::Moment;
use crate::json::Object;

/// Appends the line. Durations are in microseconds; what is not known is absent, not null.
pub(crate) fn write(out: &mut Vec<u8>, began: Moment, end: &ExchangeEnd<'_>) {
    let mut line = Object::begin(out);
    let time = line.key("time");
    time.push(b'"');
    began.rfc3339(time);
    time.push(b'"');
    if let Some(peer) = end.peer {
        line.shown("client", peer);
    }
    line.text("method", end.method)
        .text("target", end.target)
        .text("version", end.version)
        .optional_text("host", end.words.host())
        .optional_text("user_agent", end.words.user_agent())
        .optional_text("referer", end.words.referer())
        .number("status", end.status.into());
    match end.outcome {
        Outcome::Answered(by) => line.text("outcome", "answered").text("made_by", by.label()),
        Outcome::Reset => line.text("outcome", "reset"),
    };
    line.optional_text("error", end.error)
        .text("sent", end.sent.label())
        .number("request_bytes", end.request_bytes)
        .number("response_bytes", end.response_bytes)
        .number("took_us", micros(end.took))
        .number("connection", end.connection.0)
        .number("exchange", end.number)
        .number("attempts", end.attempts.into())
        .optional_text("retried", end.retried.map(|evidence| evidence.label()));
    if let Some(upstream) = &end.upstream {
        line.shown("upstream", upstream.address)
            .number("upstream_connection", upstream.connection.0)
            .truth("upstream_reused", upstream.is_reused);
        if let Some(after) = upstream.response_after {
            line.number("upstream_response_us", micros(after));
        }
    }
    if let Some(tls) = &end.encryption {
        line.text("tls", tls.version)
            .text("tls_cipher", tls.cipher)
            .truth("tls_resumed", tls.is_resumed)
            .optional_text("alpn", tls.alpn)
            .optional_text("sni", tls.server_name);
    }
    line.end();
    out.push(b'\n');
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
