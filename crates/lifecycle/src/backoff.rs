//! When an address that cannot be connected to is tried again.

use std::time::Duration;

use crate::time::Time;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(10);

/// The longest wait; a twentieth of a second more or less is nobody's patience, and an origin that comes back is found.
const LONGEST: Duration = Duration::from_secs(1);

/// How attempts to connect to one address have gone of late.
///
/// ```text
///  answers ──failed──► waits (10 ms, 20 ms, … 1 s; the upper half of it drawn) ──time──► one may try
///     ▲                  ▲                                                                 │    │
///     │                  └──────────────────────────── failed ─────────────────────────────┘    │
///     └──────────────────────────────────── connected ──────────────────────────────────────────┘
/// ```
///
/// While an address answers, attempts are not held back. Attempts that ran side by side and failed together are one
/// failure: a burst does not make the wait longest at once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Backoff {
    failures: u32,
    failed_at: Option<Time>,
    until: Option<Time>,
    is_tried: bool,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// As many as one likes: the address answers, as far as is known.
    Free,
    /// This one, which decides how it goes on: whoever makes it says [`Backoff::is_let_go`] if it comes to no end.
    Trial,
    /// None: the last failure is the answer.
    Denied,
}

impl Backoff {
    /// Whether an attempt may be made at `now`, without making one.
    pub fn asks(&self, now: Time) -> Admission {
        match self.until {
            None => Admission::Free,
            Some(until) if until <= now && !self.is_tried => Admission::Trial,
            Some(_) => Admission::Denied,
        }
    }

    /// Makes an attempt at `now`, if one may be made.
    pub fn admit(&mut self, now: Time) -> Admission {
        let admission = self.asks(now);
        self.is_tried |= admission == Admission::Trial;
        admission
    }

    /// The trial was given up before it had an end; another may be made.
    pub fn is_let_go(&mut self) {
        self.is_tried = false;
    }

    /// An attempt brought a connection.
    pub fn connected(&mut self) {
        *self = Self::default();
    }

    /// An attempt that began at `began` failed at `now`. `drawn` is between 0 and 1, and decides where in the upper half
    /// of its interval the wait lies.
    pub fn failed(&mut self, began: Time, now: Time, drawn: f64) {
        if self.failed_at.is_some_and(|failed_at| began < failed_at) {
            return;
        }
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        self.until = Some(now.after(whole.mul_f64(0.5 + drawn.clamp(0.0, 1.0) / 2.0)));
        self.is_tried = false;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long no attempt is made from `now` on; zero when one may be.
    pub fn left(&self, now: Time) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn waits_double_up_to_a_second_and_lie_in_the_upper_half() {
        for (drawn, waits) in [
            (1.0, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000, 1000]),
            (0.0, [5, 10, 20, 40, 80, 160, 320, 500, 500, 500, 500, 500]),
            (-7.0, [5, 10, 20, 40, 80, 160, 320, 500, 500, 500, 500, 500]),
        ] {
            let mut backoff = Backoff::default();
            let mut now = at(0);
            for (round, wait) in waits.into_iter().enumerate() {
                backoff.failed(now, now, drawn);
                assert_eq!(backoff.left(now), Duration::from_millis(wait), "round {round}");
                now = now.after(Duration::from_millis(wait));
                assert_eq!(backoff.left(now), Duration::ZERO);
            }
            assert_eq!(backoff.failures(), 12);
        }
        let mut backoff = Backoff { failures: u32::MAX, ..Backoff::default() };
        backoff.failed(at(0), at(0), 1.0);
        assert_eq!(backoff.left(at(0)), LONGEST);
    }

    #[test]
    fn one_may_try_when_the_wait_is_over() {
        let mut backoff = Backoff::default();
        assert_eq!([backoff.admit(at(0)), backoff.admit(at(0))], [Admission::Free; 2]);
        backoff.failed(at(0), at(1), 1.0);
        assert_eq!(backoff.admit(at(10)), Admission::Denied);
        assert_eq!(backoff.asks(at(11)), Admission::Trial);
        assert_eq!([backoff.admit(at(11)), backoff.admit(at(11))], [Admission::Trial, Admission::Denied]);
        backoff.is_let_go();
        assert_eq!(backoff.admit(at(12)), Admission::Trial, "the one before was given up");
        backoff.failed(at(12), at(13), 1.0);
        assert_eq!((backoff.admit(at(32)), backoff.admit(at(33))), (Admission::Denied, Admission::Trial));
        backoff.connected();
        assert_eq!((backoff, backoff.admit(at(34))), (Backoff::default(), Admission::Free));
    }

    #[test]
    fn a_burst_that_fails_together_is_one_failure() {
        let mut backoff = Backoff::default();
        for later in 0..100 {
            backoff.failed(at(0), at(5 + later), 1.0);
        }
        assert_eq!((backoff.failures(), backoff.left(at(5))), (1, Duration::from_millis(10)));
    }
}
