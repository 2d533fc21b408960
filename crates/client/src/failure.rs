//! Why there is no response, or not all of it: for the caller, for logs, and for whoever decides whether to try again.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use http::{Method, StatusCode, Uri};
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::retry::{Attempt, Evidence, GiveUp, Progress, RetryPolicy, Sent, Verdict, judge};
use sheave_net::resolve::ResolveError;
use sheave_net::tls::server::SettingsError;

use crate::content::BoxError;
use crate::error::{CallError, ClientError, PoolError};
use crate::redirect::RedirectFault;
use crate::url::UrlFault;

/// Why there is no response, or not all of it. One pointer; cheap to pass on.
///
/// ```no_run
/// # async fn example(client: sheave_client::client::Client) {
/// match client.post("http://127.0.0.1:9000/orders").body("one").send().await {
///     Ok(response) => println!("{}", response.status()),
///     Err(error) if error.is_safe_to_retry() => println!("nothing happened there: {error}"),
///     Err(error) => println!("{} (was it sent? {})", error.label(), error.request_was_sent().label()),
/// }
/// # }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    method: Method,
    url: Option<Uri>,
    attempts: u32,
    gave_up: Option<GiveUp>,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL is none that can be asked.
    Url(UrlFault),
    /// The request cannot be sent as it was put together: a header that is none, a length that contradicts the content.
    Request(BoxError),
    /// The host's name could not be resolved.
    Resolve(ResolveError),
    /// There is no TLS to be had: no issuer whom this machine believes, for instance.
    Tls(SettingsError),
    /// There was no connection, or the exchange failed on it.
    Exchange(ClientError),
    /// The time for the whole exchange was over, when it had come so far.
    TimedOut(Progress),
    /// The stream that makes the request's content failed.
    Content(BoxError, Progress),
    /// A redirect could not be followed.
    Redirect(RedirectFault),
    /// The response is larger than it may become in memory: so many bytes.
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The response's content is not what its `Content-Encoding` says.
    Decode(io::Error),
    /// The response's content is not the JSON that was asked for.
    Json(BoxError),
    /// The response has a status of failure, which was asked to be an error.
    Status(StatusCode),
    /// The origin has not switched to another protocol, or before the request's content was sent.
    NotUpgraded,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, method: &Method, url: Option<&Uri>) -> Self {
        Self(Box::new(Inner { kind, method: method.clone(), url: url.cloned(), attempts: 0, gave_up: None }))
    }

    pub(crate) fn after(mut self, attempts: u32, gave_up: Option<GiveUp>) -> Self {
        (self.0.attempts, self.0.gave_up) = (attempts, gave_up);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What was asked; after redirects, where the last led. Without credentials. `None` where it was no URL.
    pub fn url(&self) -> Option<&Uri> {
        self.0.url.as_ref()
    }

    /// The method of the last request; after some redirects that is GET.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// How many attempts were made for the last request, the failed one included; zero where it did not come to one.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Why no other attempt was made, where the client thought of one.
    pub fn gave_up(&self) -> Option<GiveUp> {
        self.0.gave_up
    }

    fn progress(&self) -> Progress {
        match &self.0.kind {
            ErrorKind::Url(_) | ErrorKind::Request(_) | ErrorKind::Tls(_) | ErrorKind::Resolve(_) => {
                Progress::Connecting
            }
            ErrorKind::Exchange(error) => error.progress(),
            ErrorKind::TimedOut(progress) | ErrorKind::Content(_, progress) => *progress,
            ErrorKind::Redirect(_)
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Decode(_)
            | ErrorKind::Json(_)
            | ErrorKind::NotUpgraded
            | ErrorKind::Status(_) => Progress::Answered,
        }
    }

    /// Whether the origin may have acted on the request.
    pub fn request_was_sent(&self) -> Sent {
        self.progress().sent()
    }

    /// Why sending the request again cannot make an origin act on it twice, or may by the method's own promise
    /// (RFC 9110 §9.2.2); `None` where nothing says so, and where it would only fail again.
    pub fn evidence(&self) -> Option<Evidence> {
        if matches!(self.0.kind, ErrorKind::Url(_) | ErrorKind::Request(_)) {
            return None;
        }
        let attempt = Attempt {
            progress: self.progress(),
            is_idempotent: self.0.method.is_idempotent(),
            has_idempotency_key: false,
            is_replayable: true,
            made: 0,
        };
        match judge(&attempt, &RetryPolicy::default(), true) {
            Verdict::Retry(evidence) => Some(evidence),
            Verdict::Give(_) => None,
        }
    }

    /// Whether the request may be sent again, as far as its connection's end says. Whether its content is still at hand the
    /// caller knows.
    pub fn is_safe_to_retry(&self) -> bool {
        self.evidence().is_some()
    }

    /// Why the connection ended, or never came to be; `None` where none was tried, or it is not to blame.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match &self.0.kind {
            ErrorKind::Exchange(error) => error.close_reason(),
            ErrorKind::TimedOut(progress) if *progress != Progress::Queued => {
                Some(CloseReason::TimedOut(Timer::Exchange))
            }
            ErrorKind::Content(..) => Some(CloseReason::Cancelled),
            _ => None,
        }
    }

    /// Whether a deadline passed, of whichever phase.
    pub fn is_timeout(&self) -> bool {
        match &self.0.kind {
            ErrorKind::TimedOut(_) | ErrorKind::Exchange(ClientError::Call(CallError::TimedOut(_), _)) => true,
            ErrorKind::Exchange(ClientError::Pool(PoolError::QueueTimedOut)) => true,
            ErrorKind::Exchange(error) => matches!(error.close_reason(), Some(CloseReason::TimedOut(_))),
            ErrorKind::Resolve(error) => error.kind.label() == "lookup-timeout",
            _ => false,
        }
    }

    /// Whether there was no connection: the name, the address, the handshake, or the pool's bounds.
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Resolve(_) | ErrorKind::Tls(_) | ErrorKind::Exchange(ClientError::Pool(_)))
    }

    /// Whether the request was never one that could be sent.
    pub fn is_builder(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Url(_) | ErrorKind::Request(_))
    }

    /// Whether a redirect could not be followed.
    pub fn is_redirect(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Redirect(_))
    }

    /// Whether the response came, and its content was not what it should be.
    pub fn is_decode(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Decode(_) | ErrorKind::Json(_))
    }

    /// The status, where that is the error.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.0.kind {
            ErrorKind::Status(status) => Some(*status),
            _ => None,
        }
    }

    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub fn label(&self) -> &'static str {
        match &self.0.kind {
            ErrorKind::Url(_) => "invalid-url",
            ErrorKind::Request(_) => "invalid-request",
            ErrorKind::Resolve(error) => error.kind.label(),
            ErrorKind::Tls(_) => "tls-settings",
            ErrorKind::Exchange(error) => error.label(),
            ErrorKind::TimedOut(_) => "timeout",
            ErrorKind::Content(..) => "content-failed",
            ErrorKind::Redirect(fault) => fault.label(),
            ErrorKind::TooLarge { .. } => "response-too-large",
            ErrorKind::Decode(_) => "response-encoding",
            ErrorKind::Json(_) => "response-json",
            ErrorKind::Status(_) => "response-status",
            ErrorKind::NotUpgraded => "not-upgraded",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.method)?;
        if let Some(url) = &self.0.url {
            write!(f, " {url}")?;
        }
        f.write_str(": ")?;
        match &self.0.kind {
            ErrorKind::Url(fault) => write!(f, "the URL cannot be asked: {fault}"),
            ErrorKind::Request(_) => f.write_str("the request cannot be sent as it is"),
            ErrorKind::Resolve(error) => error.fmt(f),
            ErrorKind::Tls(error) => error.fmt(f),
            ErrorKind::Exchange(error) => error.fmt(f),
            ErrorKind::TimedOut(progress) => {
                write!(f, "it took longer than it may (request sent: {})", progress.sent().label())
            }
            ErrorKind::Content(..) => f.write_str("the request's content failed"),
            ErrorKind::Redirect(fault) => fault.fmt(f),
            ErrorKind::TooLarge { max_bytes } => write!(f, "the response has more than {max_bytes} bytes"),
            ErrorKind::Decode(_) => f.write_str("the response's content is not encoded as it says"),
            ErrorKind::Json(_) => f.write_str("the response's content is not the JSON that was asked for"),
            ErrorKind::Status(status) => write!(f, "the answer is {status}"),
            ErrorKind::NotUpgraded => f.write_str("the origin has not switched to another protocol"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Error");
        text.field("kind", &self.0.kind).field("method", &self.0.method).field("url", &self.0.url);
        text.field("attempts", &self.0.attempts).field("gave_up", &self.0.gave_up).finish()
    }
}

impl StdError for Error {
    /// What is behind it, where the text does not say it already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            ErrorKind::Request(error) | ErrorKind::Content(error, _) | ErrorKind::Json(error) => Some(&**error),
            ErrorKind::Resolve(error) => error.source(),
            ErrorKind::Decode(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::errno::{Errno, IoFault, Op};

    use super::*;

    #[test]
    fn says_what_is_known() {
        let reset = CallError::Io(IoFault { op: Op::Read, errno: Errno::ECONNRESET });
        let broken = || BoxError::from("broken");
        let exchange = |error: ClientError| ErrorKind::Exchange(error);
        let slow = CallError::TimedOut(Timer::Response);
        for (kind, label, sent, again, timeout, connect) in [
            (ErrorKind::Url(UrlFault::Scheme), "invalid-url", Sent::No, [false; 2], false, false),
            (ErrorKind::Request(broken()), "invalid-request", Sent::No, [false; 2], false, false),
            (exchange(PoolError::QueueTimedOut.into()), "upstream-queue-timeout", Sent::No, [true; 2], true, true),
            (
                exchange(ClientError::Call(reset, Progress::Written)),
                "upstream-reset",
                Sent::Maybe,
                [true, false],
                false,
                false,
            ),
            (
                exchange(ClientError::Call(slow, Progress::Written)),
                "upstream-response-timeout",
                Sent::Maybe,
                [true, false],
                true,
                false,
            ),
            (ErrorKind::TimedOut(Progress::Queued), "timeout", Sent::No, [true; 2], true, false),
            (ErrorKind::TimedOut(Progress::Answered), "timeout", Sent::Yes, [false; 2], true, false),
            (
                ErrorKind::Content(broken(), Progress::Written),
                "content-failed",
                Sent::Maybe,
                [true, false],
                false,
                false,
            ),
            (ErrorKind::Redirect(RedirectFault::TooMany), "redirect-too-many", Sent::Yes, [false; 2], false, false),
            (ErrorKind::Status(StatusCode::NOT_FOUND), "response-status", Sent::Yes, [false; 2], false, false),
            (ErrorKind::NotUpgraded, "not-upgraded", Sent::Yes, [false; 2], false, false),
        ] {
            let text = format!("{kind:?}");
            let url = Uri::from_static("http://a/b");
            let error = Error::new(kind, &Method::POST, Some(&url)).after(2, Some(GiveUp::NoEvidence));
            assert_eq!((error.label(), error.request_was_sent()), (label, sent), "{text}");
            assert_eq!((error.is_timeout(), error.is_connect()), (timeout, connect), "{text}");
            assert!(error.to_string().starts_with("POST http://a/b: "), "{error}");
            assert_eq!((error.attempts(), error.gave_up()), (2, Some(GiveUp::NoEvidence)));
            let post = error.is_safe_to_retry();
            let get = Error(Box::new(Inner { method: Method::GET, ..*error.0 })).is_safe_to_retry();
            assert_eq!([get, post], again, "{text}");
        }
    }

    #[test]
    fn its_source_is_what_its_text_does_not_say() {
        let of = |kind| {
            let error = Error::new(kind, &Method::GET, None);
            error.source().map(ToString::to_string)
        };
        assert_eq!(of(ErrorKind::Content("broken".into(), Progress::Written)), Some("broken".to_owned()));
        assert_eq!(of(ErrorKind::Decode(io::Error::other("no gzip"))), Some("no gzip".to_owned()));
        assert_eq!(of(ErrorKind::Exchange(PoolError::QueueFull.into())), None);
        assert!(size_of::<Error>() == size_of::<usize>());
    }
}
