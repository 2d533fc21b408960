//! How far a drain has come, as data: what is promised to whom in each phase.

use std::time::Duration;

use crate::time::Time;

/// How long each phase of a drain may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainPlan {
    /// How long connections are still accepted after the drain began. Default: zero.
    ///
    /// For load balancers that need to see readiness fail before they send elsewhere.
    pub announce: Duration,
    /// How long an idle connection stays readable before its FIN, so that a request already on its way is answered
    /// (with `Connection: close`) and not reset. Default: 200 ms.
    pub quiet: Duration,
    /// How long exchanges that are under way may take before they are reset. Default: 30 s.
    pub grace: Duration,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self { announce: Duration::ZERO, quiet: Duration::from_millis(200), grace: Duration::from_secs(30) }
    }
}

/// The phases of a drain, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DrainPhase {
    /// No drain.
    Running,
    /// Every response says `Connection: close`; new connections are still accepted.
    Announcing,
    /// The backlog is emptied and the listener closed; exchanges that are under way finish.
    Waiting,
    /// What is left is reset.
    Forcing,
}

impl DrainPhase {
    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Announcing => "announcing",
            Self::Waiting => "waiting",
            Self::Forcing => "forcing",
        }
    }
}

/// A drain that has begun: its plan and its first moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainClock {
    plan: DrainPlan,
    started: Time,
}

impl DrainClock {
    /// A drain that begins at `now`.
    pub const fn start(plan: DrainPlan, now: Time) -> Self {
        Self { plan, started: now }
    }

    /// The phase at `now`.
    pub fn phase(&self, now: Time) -> DrainPhase {
        if now < self.waiting_at() {
            DrainPhase::Announcing
        } else if now < self.forcing_at() {
            DrainPhase::Waiting
        } else {
            DrainPhase::Forcing
        }
    }

    /// When the listener is emptied and closed.
    pub fn waiting_at(&self) -> Time {
        self.started.after(self.plan.announce)
    }

    /// Until when connections that had begun before the listener refused new ones are accepted: a client that was told
    /// "connected" may not have been heard yet.
    pub fn listening_until(&self) -> Time {
        self.idle_until(self.started)
    }

    /// When what is left is reset: the grace begins once nothing new is accepted.
    pub fn forcing_at(&self) -> Time {
        self.waiting_at().after(self.plan.grace)
    }

    /// When a connection that is idle, and was last of use at `since`, gets its FIN.
    ///
    /// The quiet window begins when the listener closes or when the connection fell idle, whichever is later: until then
    /// the peer could not have known.
    pub fn idle_until(&self, since: Time) -> Time {
        self.waiting_at().max(since).after(self.plan.quiet).min(self.forcing_at())
    }
}

/// What became of the connections of a drain.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DrainReport {
    /// Connections that lived when the drain began, or were accepted during it.
    pub told: u64,
    /// Of these, ended by themselves or by agreement.
    pub finished: u64,
    /// Of these, idle until their FIN.
    pub waited: u64,
    /// Of these, reset when the grace was over.
    pub forced: u64,
    /// Exchanges that were cut off by that.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn runs_through_its_phases() {
        let plan = DrainPlan {
            announce: Duration::from_millis(100),
            quiet: Duration::from_millis(50),
            grace: Duration::from_millis(1000),
        };
        let drain = DrainClock::start(plan, ms(10));
        for (now, phase) in [
            (10, DrainPhase::Announcing),
            (109, DrainPhase::Announcing),
            (110, DrainPhase::Waiting),
            (1109, DrainPhase::Waiting),
            (1110, DrainPhase::Forcing),
        ] {
            assert_eq!(drain.phase(ms(now)), phase, "at {now} ms");
        }
        assert_eq!(drain.idle_until(ms(0)), ms(160), "idle before the drain: quiet from the end of the announcement");
        assert_eq!(drain.idle_until(ms(500)), ms(550), "fell idle during the drain: quiet from then");
        assert_eq!(drain.idle_until(ms(1100)), ms(1110), "never beyond the grace");
    }
}
