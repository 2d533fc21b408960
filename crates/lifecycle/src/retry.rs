//! Whether a request may be sent again: only on evidence, under a budget, judged by one pure function.

use std::time::Duration;

use crate::time::Time;

/// Why sending a request again cannot make an origin act on it twice, or may by the method's own promise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Evidence {
    /// Not one byte of the request was given to the kernel.
    NotWritten,
    /// The connection never came to be.
    ConnectFailed,
    /// The origin's FIN or RST was in the kernel before our first byte.
    ClosedBeforeWrite,
    /// The origin refused the stream, and says so that it did nothing with it. RFC 9113 §8.7
    RefusedStream,
    /// The origin's GOAWAY names a stream below this one as the last that it acts on. RFC 9113 §6.8
    GoAwayAbove,
    /// The method is idempotent, and no byte of a response came. RFC 9110 §9.2.2.
    Idempotent,
    /// The operator lets `Idempotency-Key` vouch, and no byte of a response came.
    IdempotencyKey,
}

impl Evidence {
    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotWritten => "not-written",
            Self::ConnectFailed => "connect-failed",
            Self::ClosedBeforeWrite => "closed-before-write",
            Self::RefusedStream => "refused-stream",
            Self::GoAwayAbove => "goaway-above",
            Self::Idempotent => "idempotent",
            Self::IdempotencyKey => "idempotency-key",
        }
    }
}

/// Why a request is not sent again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum GiveUp {
    /// Part of a response came: the origin acted, and the client may have seen it.
    ResponseBegun,
    /// The origin may have acted on it, and nothing says that doing so twice is safe.
    NoEvidence,
    /// Part of the body is gone: it was passed on and not kept.
    BodyGone,
    /// As many attempts were made as are allowed.
    Attempts,
    /// The origin could not be reached, and there is no other: to ask it again at once would meet the same.
    NoOther,
    /// Too large a share of requests is being retried already.
    Budget,
    /// The exchange's deadline leaves no time.
    Deadline,
}

impl GiveUp {
    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ResponseBegun => "response-begun",
            Self::NoEvidence => "no-evidence",
            Self::BodyGone => "body-gone",
            Self::Attempts => "attempts-exhausted",
            Self::NoOther => "no-other-origin",
            Self::Budget => "budget-exhausted",
            Self::Deadline => "deadline",
        }
    }
}

/// Whether an origin may have acted on a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sent {
    /// Certainly not.
    No,
    /// It cannot be known.
    Maybe,
    /// Certainly: part of a response came.
    Yes,
}

impl Sent {
    /// A name that stays stable for ever: for metrics, logs and error fields.
    pub const fn label(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

/// How far an attempt had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There was no connection to be had: as many exist as may, and none came free.
    Queued,
    /// The connection was not established.
    Connecting,
    /// The connection stood; no byte of the request was given to the kernel.
    Connected,
    /// The first write failed because the peer had ended the connection before; no byte was taken.
    FoundClosed,
    /// The origin refused the stream that carried it: RST_STREAM with REFUSED_STREAM.
    RefusedStream,
    /// The origin's GOAWAY says that it did not act on the stream that carried it.
    GoAwayAbove,
    /// At least one byte of the request was given to the kernel.
    Written,
    /// At least one byte of a response came.
    Answered,
}

impl Progress {
    /// Whether an origin may have acted on the request.
    pub const fn sent(self) -> Sent {
        match self {
            Self::Queued
            | Self::Connecting
            | Self::Connected
            | Self::FoundClosed
            | Self::RefusedStream
            | Self::GoAwayAbove => Sent::No,
            Self::Written => Sent::Maybe,
            Self::Answered => Sent::Yes,
        }
    }
}

/// What is known of a request whose attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// How far it had come.
    pub progress: Progress,
    /// Whether its method is idempotent: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
    pub is_idempotent: bool,
    /// Whether it carries an `Idempotency-Key` that the operator lets vouch.
    pub has_idempotency_key: bool,
    /// Whether all of the body that was taken from the client is still at hand.
    pub is_replayable: bool,
    /// How many attempts were made, this one included.
    pub made: u32,
}

/// How many attempts a request may have, and what share of all requests may be retries.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RetryPolicy {
    /// Attempts per request, the first included; 1 switches retries off. Default: 3.
    pub max_attempts: u32,
    /// Retries per request that began, as a share. Default: 0.2.
    pub budget_share: f64,
    /// Retries per second that are allowed beyond the share, so that a quiet proxy can retry at all. Default: 10.
    pub budget_per_second: u32,
    /// The wait before the second attempt that has no other address to go to; it doubles with each further one, and is
    /// drawn from its upper half. Default: 25 ms.
    pub backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 3, budget_share: 0.2, budget_per_second: 10, backoff: Duration::from_millis(25) }
    }
}

/// What becomes of a request whose attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is sent again, on a fresh connection.
    Retry(Evidence),
    /// The client gets an error.
    Give(GiveUp),
}

/// Judges whether a request may be sent again.
///
/// "It was a reused connection" and "the origin reset it" are not evidence: the origin may have acted first.
pub const fn judge(attempt: &Attempt, policy: &RetryPolicy, has_budget: bool) -> Verdict {
    let evidence = match attempt.progress {
        Progress::Connecting => Evidence::ConnectFailed,
        Progress::Queued | Progress::Connected => Evidence::NotWritten,
        Progress::FoundClosed => Evidence::ClosedBeforeWrite,
        Progress::RefusedStream => Evidence::RefusedStream,
        Progress::GoAwayAbove => Evidence::GoAwayAbove,
        Progress::Written if attempt.is_idempotent => Evidence::Idempotent,
        Progress::Written if attempt.has_idempotency_key => Evidence::IdempotencyKey,
        Progress::Written => return Verdict::Give(GiveUp::NoEvidence),
        Progress::Answered => return Verdict::Give(GiveUp::ResponseBegun),
    };
    if !attempt.is_replayable {
        Verdict::Give(GiveUp::BodyGone)
    } else if attempt.made >= policy.max_attempts {
        Verdict::Give(GiveUp::Attempts)
    } else if !has_budget {
        Verdict::Give(GiveUp::Budget)
    } else {
        Verdict::Retry(evidence)
    }
}

/// How many retries may be made: a share of requests, plus a few each second.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    share: f64,
    per_second: f64,
    tokens: f64,
    max_tokens: f64,
    refilled: Time,
}

impl Budget {
    /// A budget that begins with one second's constant allowance and never saves up more than ten.
    pub fn new(policy: &RetryPolicy, now: Time) -> Self {
        let per_second = f64::from(policy.budget_per_second);
        let max_tokens = (per_second * 10.0).max(10.0);
        Self { share: policy.budget_share, per_second, tokens: per_second, max_tokens, refilled: now }
    }

    /// A request began.
    pub fn request_began(&mut self) {
        self.requests_began(1);
    }

    /// So many requests began since this, or anything else, was asked last.
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the budget is full, whatever the share")]
    pub fn requests_began(&mut self, count: u64) {
        self.tokens = (self.tokens + self.share * count as f64).min(self.max_tokens);
    }

    /// Whether there is one for another retry.
    pub fn has_token(&mut self, now: Time) -> bool {
        let seconds = now.since(self.refilled).as_secs_f64();
        self.refilled = self.refilled.max(now);
        self.tokens = (self.tokens + seconds * self.per_second).min(self.max_tokens);
        self.tokens >= 1.0
    }

    /// A retry is made.
    pub fn spend(&mut self) {
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_by_evidence_alone() {
        use Progress::{Answered, Connected, Connecting, FoundClosed, GoAwayAbove, Queued, RefusedStream, Written};
        let table = [
            // progress, idempotent, key, verdict
            (Queued, false, false, Verdict::Retry(Evidence::NotWritten)),
            (Connecting, false, false, Verdict::Retry(Evidence::ConnectFailed)),
            (Connected, false, false, Verdict::Retry(Evidence::NotWritten)),
            (FoundClosed, false, false, Verdict::Retry(Evidence::ClosedBeforeWrite)),
            (RefusedStream, false, false, Verdict::Retry(Evidence::RefusedStream)),
            (GoAwayAbove, false, false, Verdict::Retry(Evidence::GoAwayAbove)),
            (Written, true, false, Verdict::Retry(Evidence::Idempotent)),
            (Written, true, true, Verdict::Retry(Evidence::Idempotent)),
            (Written, false, true, Verdict::Retry(Evidence::IdempotencyKey)),
            (Written, false, false, Verdict::Give(GiveUp::NoEvidence)),
            (Answered, true, true, Verdict::Give(GiveUp::ResponseBegun)),
            (Answered, false, false, Verdict::Give(GiveUp::ResponseBegun)),
        ];
        for (progress, is_idempotent, has_idempotency_key, verdict) in table {
            let attempt = Attempt { progress, is_idempotent, has_idempotency_key, is_replayable: true, made: 1 };
            assert_eq!(judge(&attempt, &RetryPolicy::default(), true), verdict, "{attempt:?}");
        }
    }

    #[test]
    fn evidence_is_not_enough_without_body_attempts_and_budget() {
        let policy = RetryPolicy::default();
        let attempt = Attempt {
            progress: Progress::Connecting,
            is_idempotent: true,
            has_idempotency_key: false,
            is_replayable: true,
            made: 1,
        };
        let gone = Attempt { is_replayable: false, ..attempt };
        assert_eq!(judge(&gone, &policy, true), Verdict::Give(GiveUp::BodyGone));
        let last = Attempt { made: policy.max_attempts, ..attempt };
        assert_eq!(judge(&last, &policy, true), Verdict::Give(GiveUp::Attempts));
        assert_eq!(judge(&attempt, &policy, false), Verdict::Give(GiveUp::Budget));
    }

    #[test]
    fn a_budget_is_a_share_of_requests_and_a_few_each_second() {
        let policy = RetryPolicy { budget_per_second: 1, ..RetryPolicy::default() };
        let mut budget = Budget::new(&policy, Time::ZERO);
        assert!(budget.has_token(Time::ZERO));
        budget.spend();
        assert!(!budget.has_token(Time::ZERO));
        for _ in 0..5 {
            budget.request_began();
        }
        assert!(budget.has_token(Time::ZERO), "five requests at a share of 0.2 earn one");
        budget.spend();
        budget.requests_began(4);
        assert!(!budget.has_token(Time::ZERO));
        budget.requests_began(1);
        assert!(budget.has_token(Time::ZERO), "whether they are told one by one or together");
        budget.spend();
        assert!(!budget.has_token(Time::from_micros(500_000)));
        assert!(budget.has_token(Time::from_micros(1_000_000)), "a second earns one");
        budget.has_token(Time::from_micros(1_000_000_000));
        let saved = (0..100).take_while(|_| {
            budget.has_token(Time::from_micros(1_000_000_000)) && {
                budget.spend();
                true
            }
        });
        assert_eq!(saved.count(), 10, "no more than ten are saved up");
    }
}
