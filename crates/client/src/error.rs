//! Why an exchange with an origin failed, and what follows from it: for retries, for logs, and for whoever asked.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::retry::{Attempt, Evidence, Progress, RetryPolicy, Sent, Verdict, judge};
use sheave_net::dial_error::DialError;
use sheave_net::handshake::HandshakeError;
use sheave_proto::error::{Misuse, ProtocolError};
use sheave_proto::h2_code::ErrorCode;

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// As many connections exist as may, and as many requests wait for one as may.
    QueueFull,
    /// As many connections exist as may, and none came free in time.
    QueueTimedOut,
    /// No address could be connected to; or none is tried just now, because that failed a moment ago.
    Dial(DialError),
    /// An address was connected to, and the connection never became ready to carry HTTP; or its like did not a moment ago.
    Handshake(FailedHandshake),
}

/// A connection that never became ready to carry HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedHandshake {
    /// The address.
    pub address: SocketAddr,
    /// How it ended.
    pub end: HandshakeEnd,
}

/// How a handshake ended that brought no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandshakeEnd {
    /// It failed.
    Failed(HandshakeError),
    /// Its time was over: this long.
    TimedOut(Duration),
}

impl FailedHandshake {
    /// Why there is no connection.
    pub const fn reason(&self) -> CloseReason {
        match &self.end {
            HandshakeEnd::Failed(error) => error.close_reason(),
            HandshakeEnd::TimedOut(_) => CloseReason::TimedOut(Timer::Handshake),
        }
    }

    /// Whether this machine has run out of something, so that the origin is not to blame.
    pub const fn is_local_exhaustion(&self) -> bool {
        matches!(&self.end, HandshakeEnd::Failed(HandshakeError::Io(fault)) if fault.errno.is_exhaustion())
    }
}

/// Why an exchange on a connection failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The kernel said so.
    Io(IoFault),
    /// The origin broke a rule.
    Protocol(ProtocolError),
    /// The origin sent FIN before a byte of its response.
    Closed,
    /// A deadline passed.
    TimedOut(Timer),
    /// The request contradicts itself.
    Misuse(Misuse),
    /// The origin reset the stream that carried it.
    Reset(ErrorCode),
    /// The origin announced the end of its connection, and did not act on the stream that carried it.
    GoAway(ErrorCode),
    /// The connection that carried it, perhaps among others, ended for this reason.
    Ended(CloseReason),
}

/// Why an exchange with an origin failed, and how far it had come: all that can be known about whether to try again.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// There was no connection for it.
    Pool(PoolError),
    /// It had a connection, and came so far on it.
    Call(CallError, Progress),
}

impl ClientError {
    /// How far it had come.
    pub const fn progress(&self) -> Progress {
        match self {
            Self::Pool(error) => error.progress(),
            Self::Call(_, progress) => *progress,
        }
    }

    /// Whether the origin may have acted on the request.
    pub const fn request_was_sent(&self) -> Sent {
        self.progress().sent()
    }

    /// Why sending the request again cannot make an origin act on it twice, or may by the method's own promise
    /// (RFC 9110 §9.2.2); `None` where nothing says so.
    pub fn evidence(&self, method: &Method) -> Option<Evidence> {
        let attempt = Attempt {
            progress: self.progress(),
            is_idempotent: method.is_idempotent(),
            has_idempotency_key: false,
            is_replayable: true,
            made: 0,
        };
        match judge(&attempt, &RetryPolicy::default(), true) {
            Verdict::Retry(evidence) => Some(evidence),
            Verdict::Give(_) => None,
        }
    }

    /// Whether a request of this method may be sent again, as far as its connection's end says. Whether its body is still
    /// at hand, and whether it has been tried often enough, the caller knows.
    pub fn is_safe_to_retry(&self, method: &Method) -> bool {
        self.evidence(method).is_some()
    }

    /// Why the connection ended, or never came to be; `None` where none was tried.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self {
            Self::Pool(PoolError::Dial(error)) => Some(error.reason()),
            Self::Pool(PoolError::Handshake(failed)) => Some(failed.reason()),
            Self::Pool(PoolError::QueueFull | PoolError::QueueTimedOut) => None,
            Self::Call(error, _) => Some(error.close_reason()),
        }
    }

    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Pool(error) => error.label(),
            Self::Call(error, _) => error.label(),
        }
    }
}

impl PoolError {
    /// How far the exchange had come: not to a connection.
    pub const fn progress(&self) -> Progress {
        match self {
            Self::QueueFull | Self::QueueTimedOut => Progress::Queued,
            Self::Dial(_) | Self::Handshake(_) => Progress::Connecting,
        }
    }

    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub fn label(&self) -> &'static str {
        use sheave_lifecycle::errno::Errno;
        match self {
            Self::QueueFull => "upstream-queue-full",
            Self::QueueTimedOut => "upstream-queue-timeout",
            Self::Dial(error) => match (error.fault().map(|fault| fault.errno), error.reason()) {
                (Some(Errno::EADDRNOTAVAIL), _) if error.is_local_exhaustion() => "local-ports-exhausted",
                (Some(Errno::EMFILE | Errno::ENFILE), _) => "local-descriptors-exhausted",
                _ if error.is_local_exhaustion() => "local-memory-exhausted",
                (_, CloseReason::TimedOut(_)) => "upstream-connect-timeout",
                (_, CloseReason::PeerUnreachable(_)) => "upstream-unreachable",
                (Some(Errno::ECONNREFUSED), _) => "upstream-connect-refused",
                _ => "upstream-connect-failed",
            },
            Self::Handshake(failed) => match &failed.end {
                _ if failed.is_local_exhaustion() => "local-memory-exhausted",
                HandshakeEnd::Failed(error) => handshake_label(error),
                HandshakeEnd::TimedOut(_) => "upstream-tls-timeout",
            },
        }
    }
}

impl CallError {
    /// Why the connection ended.
    pub const fn close_reason(self) -> CloseReason {
        match self {
            Self::Io(fault) => CloseReason::from_fault(fault),
            Self::Protocol(ProtocolError::TruncatedHead | ProtocolError::TruncatedBody) => CloseReason::Truncated,
            Self::Protocol(ProtocolError::UnaskedBytes) => CloseReason::UnaskedBytes,
            Self::Protocol(error) => CloseReason::Protocol(error.label()),
            Self::Closed | Self::Reset(_) | Self::GoAway(_) => CloseReason::PeerClosed,
            Self::TimedOut(timer) => CloseReason::TimedOut(timer),
            Self::Misuse(_) => CloseReason::Cancelled,
            Self::Ended(reason) => reason,
        }
    }

    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub fn label(self) -> &'static str {
        match self {
            Self::Io(fault) if fault.errno.is_peer_gone() => "upstream-reset",
            Self::Io(fault) if fault.errno.is_unreachable() => "upstream-unreachable",
            Self::Io(_) => "upstream-io-error",
            Self::Protocol(ProtocolError::TruncatedHead | ProtocolError::TruncatedBody) => "upstream-truncated",
            Self::Protocol(_) => "upstream-protocol-error",
            Self::Closed => "upstream-closed",
            Self::TimedOut(Timer::Response) => "upstream-response-timeout",
            Self::TimedOut(Timer::BodyRead) => "upstream-body-timeout",
            Self::TimedOut(Timer::Write) => "upstream-write-timeout",
            Self::TimedOut(timer @ (Timer::TunnelIdle | Timer::TunnelAge)) => CloseReason::TimedOut(timer).label(),
            Self::TimedOut(_) => "upstream-timeout",
            Self::Misuse(_) => "upstream-misuse",
            Self::Reset(ErrorCode::RefusedStream) => "upstream-refused-stream",
            Self::Reset(ErrorCode::Http11Required) => "upstream-http-1-1-required",
            Self::Reset(_) => "upstream-stream-reset",
            Self::GoAway(_) => "upstream-goaway",
            Self::Ended(CloseReason::Tls(cause)) => tls_label(cause),
            Self::Ended(CloseReason::Protocol(_) | CloseReason::Flooded(_) | CloseReason::UnaskedBytes) => {
                "upstream-protocol-error"
            }
            Self::Ended(_) => "upstream-connection-ended",
        }
    }
}

macro_rules! causes {
    ($label:expr; $($cause:literal)*) => {
        match $label {
            $($cause => concat!("upstream-tls-", $cause),)*
            _ => "upstream-tls-failed",
        }
    };
}

/// The stable name of a handshake's failure, as seen from whoever wanted to send a request.
fn handshake_label(error: &HandshakeError) -> &'static str {
    match error {
        HandshakeError::Io(fault) if fault.errno.is_peer_gone() => "upstream-tls-reset",
        HandshakeError::Io(fault) if fault.errno.is_unreachable() => "upstream-unreachable",
        HandshakeError::Io(_) => "upstream-tls-io-error",
        HandshakeError::Closed => "upstream-tls-closed",
        error => tls_label(error.label()),
    }
}

/// The same of a failure of TLS, whenever it came.
fn tls_label(cause: &'static str) -> &'static str {
    causes! { cause;
            "certificate-expired" "certificate-not-yet-valid" "unknown-issuer" "name-mismatch" "bad-signature"
            "unsupported-signature" "certificate-revoked" "wrong-purpose" "bad-certificate" "alpn-mismatch"
            "no-common-protocol-version" "no-common-cipher" "not-tls" "protocol-violation" "handshake-failed"
            "peer-alert-close-notify" "peer-alert-unexpected-message" "peer-alert-bad-record-mac"
            "peer-alert-record-overflow" "peer-alert-handshake-failure" "peer-alert-bad-certificate"
            "peer-alert-unsupported-certificate" "peer-alert-certificate-revoked" "peer-alert-certificate-expired"
            "peer-alert-certificate-unknown" "peer-alert-illegal-parameter" "peer-alert-unknown-ca"
            "peer-alert-access-denied" "peer-alert-decode-error" "peer-alert-decrypt-error"
            "peer-alert-protocol-version" "peer-alert-insufficient-security" "peer-alert-internal-error"
            "peer-alert-inappropriate-fallback" "peer-alert-user-canceled" "peer-alert-no-renegotiation"
            "peer-alert-missing-extension" "peer-alert-unsupported-extension" "peer-alert-unrecognized-name"
            "peer-alert-certificate-required" "peer-alert-no-application-protocol" "peer-alert-other"
    }
}

impl From<PoolError> for ClientError {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("as many requests wait for a connection to the origin as may"),
            Self::QueueTimedOut => f.write_str("no connection to the origin came free in time"),
            Self::Dial(error) => error.fmt(f),
            Self::Handshake(failed) => failed.fmt(f),
        }
    }
}

impl fmt::Display for FailedHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the origin at {} was connected to, but ", self.address)?;
        match &self.end {
            HandshakeEnd::Failed(error) => error.fmt(f),
            HandshakeEnd::TimedOut(after) => write!(f, "its handshake was not over within {after:?}"),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(fault) => write!(f, "the connection to the origin failed: {fault}"),
            Self::Protocol(error) => write!(f, "the origin broke a rule: {}", error.label()),
            Self::Closed => f.write_str("the origin closed the connection instead of answering"),
            Self::TimedOut(timer) => write!(f, "the origin was too slow: {}", timer.label()),
            Self::Misuse(misuse) => write!(f, "the request contradicts itself: {misuse:?}"),
            Self::Reset(code) => write!(f, "the origin reset the stream: {}", code.label()),
            Self::GoAway(code) => {
                write!(f, "the origin ended the connection without a look at the request: {}", code.label())
            }
            Self::Ended(reason) => write!(f, "the connection to the origin ended: {reason}"),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f)?,
            Self::Call(error, _) => error.fmt(f)?,
        }
        write!(f, " (request sent: {})", self.request_was_sent().label())
    }
}

impl std::error::Error for PoolError {}
impl std::error::Error for FailedHandshake {}
impl std::error::Error for CallError {}
impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::errno::{Errno, Op};
    use sheave_net::dial_error::{AttemptEnd, FailedAttempt};

    use super::*;

    fn dial(errno: Errno) -> ClientError {
        let end = AttemptEnd::Failed(IoFault { op: Op::Connect, errno });
        let attempts = vec![FailedAttempt { address: ([192, 0, 2, 1], 80).into(), end }];
        PoolError::Dial(DialError { attempts, connect_timeout: Duration::from_secs(5) }).into()
    }

    fn handshake(end: HandshakeEnd) -> ClientError {
        PoolError::Handshake(FailedHandshake { address: ([192, 0, 2, 1], 443).into(), end }).into()
    }

    fn tls(label: &'static str) -> HandshakeEnd {
        HandshakeEnd::Failed(HandshakeError::Tls { label, detail: "as told".to_owned() })
    }

    #[test]
    fn handshakes_name_their_cause_and_are_evidence_that_nothing_was_sent() {
        let reset = HandshakeError::Io(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
        for (end, label, reason) in [
            (tls("certificate-expired"), "upstream-tls-certificate-expired", "handshake-failed"),
            (tls("peer-alert-unknown-ca"), "upstream-tls-peer-alert-unknown-ca", "handshake-failed"),
            (tls("of another age"), "upstream-tls-failed", "handshake-failed"),
            (HandshakeEnd::Failed(HandshakeError::Closed), "upstream-tls-closed", "peer-closed"),
            (HandshakeEnd::Failed(reset), "upstream-tls-reset", "peer-reset"),
            (HandshakeEnd::TimedOut(Duration::from_secs(10)), "upstream-tls-timeout", "timeout-handshake"),
        ] {
            let error = handshake(end);
            assert_eq!((error.label(), error.request_was_sent()), (label, Sent::No), "{error:?}");
            assert!(error.is_safe_to_retry(&Method::POST), "{error:?}");
            assert_eq!(error.close_reason().map(CloseReason::label), Some(reason));
            assert!(error.to_string().contains("192.0.2.1:443"), "{error}");
        }
    }

    #[test]
    fn says_what_is_known_of_the_request() {
        let reset = CallError::Io(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
        for (error, label, sent, get, post, reason) in [
            (PoolError::QueueFull.into(), "upstream-queue-full", Sent::No, true, true, None),
            (PoolError::QueueTimedOut.into(), "upstream-queue-timeout", Sent::No, true, true, None),
            (dial(Errno::ECONNREFUSED), "upstream-connect-refused", Sent::No, true, true, Some("peer-reset")),
            (dial(Errno::EHOSTUNREACH), "upstream-unreachable", Sent::No, true, true, Some("peer-unreachable")),
            (dial(Errno::EADDRNOTAVAIL), "local-ports-exhausted", Sent::No, true, true, Some("local-error")),
            (dial(Errno::EMFILE), "local-descriptors-exhausted", Sent::No, true, true, Some("local-error")),
            (dial(Errno::ENOBUFS), "local-memory-exhausted", Sent::No, true, true, Some("local-error")),
            (dial(Errno::EACCES), "upstream-connect-failed", Sent::No, true, true, Some("local-error")),
            (
                ClientError::Call(reset, Progress::FoundClosed),
                "upstream-reset",
                Sent::No,
                true,
                true,
                Some("peer-reset"),
            ),
            (
                ClientError::Call(reset, Progress::Written),
                "upstream-reset",
                Sent::Maybe,
                true,
                false,
                Some("peer-reset"),
            ),
            (
                ClientError::Call(CallError::Closed, Progress::Written),
                "upstream-closed",
                Sent::Maybe,
                true,
                false,
                Some("peer-closed"),
            ),
            (
                ClientError::Call(CallError::Protocol(ProtocolError::TruncatedBody), Progress::Answered),
                "upstream-truncated",
                Sent::Yes,
                false,
                false,
                Some("truncated"),
            ),
            (
                ClientError::Call(CallError::TimedOut(Timer::Response), Progress::Written),
                "upstream-response-timeout",
                Sent::Maybe,
                true,
                false,
                Some("timeout-response"),
            ),
        ] {
            assert_eq!((error.label(), error.request_was_sent()), (label, sent), "{error:?}");
            let again = [Method::GET, Method::POST].map(|method| error.is_safe_to_retry(&method));
            assert_eq!(again, [get, post], "{error:?}");
            assert_eq!(error.close_reason().map(CloseReason::label), reason, "{error:?}");
            assert!(error.to_string().ends_with(&format!("(request sent: {})", sent.label())), "{error}");
        }
    }
}
