//! Responses of our own: a status, a stable cause, and a short body in the form that the client asked for.

use http::StatusCode;
use sheave_lifecycle::limit::Limit;
use sheave_lifecycle::retry::{Evidence, GiveUp, Sent};
use sheave_proto::error::ProtocolError;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::known::Known;

/// After how many seconds a client that was turned away may try again: soon, as places come free all the time.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An answer of our own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The stable, machine-readable cause: the value of the `Sheave-Error` field.
    pub cause: &'static str,
    /// Whether an origin may have acted on the request, where that is worth saying.
    pub sent: Option<Sent>,
    /// How many attempts were made upstream, where any were.
    pub attempts: u32,
    /// The evidence on which the last of several attempts was made.
    pub evidence: Option<Evidence>,
    /// Why there was no further attempt.
    pub gave_up: Option<GiveUp>,
    /// Seconds after which the client may try again.
    pub retry_after: Option<u32>,
}

impl Answer {
    /// An answer that says a status and its cause.
    pub const fn new(status: StatusCode, cause: &'static str) -> Self {
        Self { status, cause, sent: None, attempts: 0, evidence: None, gave_up: None, retry_after: None }
    }

    /// The answer to a request that breaks a rule.
    pub const fn to_error(error: ProtocolError) -> Self {
        Self::new(error.status(), error.label())
    }

    /// The answer to a request for which a limit leaves no room. It was not looked at, let alone passed on.
    pub const fn over(limit: Limit) -> Self {
        let answer = Self::new(StatusCode::SERVICE_UNAVAILABLE, limit.label());
        Self { sent: Some(Sent::No), retry_after: Some(RETRY_AFTER_SECONDS), ..answer }
    }

    /// One sentence for people. It says nothing of the inside: no address, no name, no version.
    pub fn sentence(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "The request cannot be read in exactly one way.",
            StatusCode::REQUEST_TIMEOUT => "The request did not arrive in time.",
            StatusCode::PAYLOAD_TOO_LARGE => "The request's content is larger than is accepted here.",
            StatusCode::URI_TOO_LONG => "The request line is longer than is accepted here.",
            StatusCode::EXPECTATION_FAILED => "The request expects something that is not supported here.",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The request's fields are larger than is accepted here.",
            StatusCode::INTERNAL_SERVER_ERROR => "The request could not be handled.",
            StatusCode::NOT_IMPLEMENTED => "The request asks for something that is not supported here.",
            StatusCode::BAD_GATEWAY => "The origin could not be reached, or its response could not be read.",
            StatusCode::SERVICE_UNAVAILABLE => "The service cannot take the request now.",
            StatusCode::GATEWAY_TIMEOUT => "The origin did not answer in time.",
            StatusCode::HTTP_VERSION_NOT_SUPPORTED => "This version of HTTP is not supported here.",
            StatusCode::LOOP_DETECTED => "The request came back to where it had been.",
            _ => "The request was not answered as asked.",
        }
    }

    /// The head and the body, JSON if `request` prefers it over plain text.
    pub fn render(&self, request: Option<&RequestHead>) -> (ResponseHead, String) {
        let is_json = request.is_some_and(prefers_json);
        let reason = self.status.canonical_reason().unwrap_or("Error");
        let sent = self.sent.map(Sent::label);
        let body = if is_json {
            let sent = sent.map_or(String::new(), |sent| format!(",\"request_sent\":\"{sent}\""));
            format!(
                "{{\"status\":{},\"error\":\"{}\",\"message\":\"{}\"{sent}}}\n",
                self.status.as_u16(),
                self.cause,
                self.sentence()
            )
        } else {
            format!("{} {reason}\n{}\ncause: {}\n", self.status.as_u16(), self.sentence(), self.cause)
        };
        let mut head = ResponseHead::new(self.status);
        let content_type: &[u8] = if is_json { b"application/json" } else { b"text/plain; charset=utf-8" };
        let error = self.machine_readable();
        let fields = head.fields_mut();
        // Labels and numbers hold no byte that a field could not; were one to, the answer would go without that field.
        let _ = fields.push(Known::ContentType, content_type);
        let _ = fields.push(Known::SheaveError, error.as_bytes());
        let _ = fields.push(Known::CacheControl, b"no-store");
        if let Some(seconds) = self.retry_after {
            let _ = fields.push(Known::RetryAfter, seconds.to_string().as_bytes());
        }
        (head, body)
    }
}

impl Answer {
    /// The cause and what is known beside it: `upstream-closed; request-sent=maybe; attempts=1; gave-up=no-evidence`.
    fn machine_readable(&self) -> String {
        let mut text = self.cause.to_owned();
        let attempts = (self.attempts > 0).then(|| self.attempts.to_string());
        let facts = [
            ("request-sent", self.sent.map(Sent::label)),
            ("attempts", attempts.as_deref()),
            ("evidence", self.evidence.map(Evidence::label)),
            ("gave-up", self.gave_up.map(GiveUp::label)),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                text.extend(["; ", name, "=", value]);
            }
        }
        text
    }
}

/// Whether the client would rather have JSON: it names a JSON type, and neither HTML nor plain text before it.
fn prefers_json(request: &RequestHead) -> bool {
    for range in request.fields().list(Known::Accept) {
        let range = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
        if range.eq_ignore_ascii_case(b"application/json") || range.to_ascii_lowercase().ends_with(b"+json") {
            return true;
        }
        if range.len() >= 5 && range[..5].eq_ignore_ascii_case(b"text/") {
            return false;
        }
    }
    false
}
