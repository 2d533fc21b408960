//! How far a drain has come, as data: what is promised to whom in each phase.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::close::CloseReason;
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
    /// How long tunnels may go on before they are reset, counted as [`Self::grace`] is: tunnels have no end of their own
    /// to wait for, and cannot be told to end. May be longer than that, or shorter. Default: `None`, which is as long.
    pub tunnel_grace: Option<Duration>,
    /// Who serves the connections that nobody has accepted yet. Default: we do.
    pub backlog: Backlog,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self {
            announce: Duration::ZERO,
            quiet: Duration::from_millis(200),
            grace: Duration::from_secs(30),
            tunnel_grace: None,
            backlog: Backlog::Ours,
        }
    }
}

impl DrainPlan {
    /// The plan for a drain whose listening sockets a successor accepts from already: there is nothing to announce, since
    /// the address goes on being served, and the backlog is the successor's.
    pub const fn handed_over(self) -> Self {
        Self { announce: Duration::ZERO, backlog: Backlog::Others, ..self }
    }
}

/// Who serves the connections that the kernel holds, and those whose handshake is under way, when a listener ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backlog {
    /// We do: nobody listens after us. New handshakes are refused, those under way are finished, the backlog is emptied.
    Ours,
    /// Somebody else does, who listens on the same socket: a successor, or whoever activated us and will start another.
    /// The socket is left as it is; to refuse on it would deafen them.
    Others,
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
    /// What is left is reset; tunnels, when their own grace is over.
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

    /// What it goes by.
    pub const fn plan(&self) -> &DrainPlan {
        &self.plan
    }

    /// When it began.
    pub const fn started(&self) -> Time {
        self.started
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
    /// "connected" may not have been heard yet. Where the backlog is others', until the listener refuses new ones.
    pub fn listening_until(&self) -> Time {
        match self.plan.backlog {
            Backlog::Ours => self.idle_until(self.started),
            Backlog::Others => self.waiting_at(),
        }
    }

    /// When what is left is reset: the grace begins once nothing new is accepted.
    pub fn forcing_at(&self) -> Time {
        self.waiting_at().after(self.plan.grace)
    }

    /// When tunnels that are left are reset.
    pub fn tunnels_forced_at(&self) -> Time {
        self.waiting_at().after(self.plan.tunnel_grace.unwrap_or(self.plan.grace))
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
    /// Connections that lived when the drain began, or were accepted during it, and have ended.
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

impl DrainReport {
    /// Counts one connection.
    pub const fn count(&mut self, fate: Fate) {
        self.told += 1;
        match fate {
            Fate::Finished => self.finished += 1,
            Fate::Waited => self.waited += 1,
            Fate::Forced { is_lost } => {
                self.forced += 1;
                self.lost += is_lost as u64;
            }
        }
    }

    /// Adds another report, of other connections.
    pub const fn add(&mut self, other: Self) {
        self.told += other.told;
        self.finished += other.finished;
        self.waited += other.waited;
        self.forced += other.forced;
        self.lost += other.lost;
    }
}

/// What became of one connection in a drain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It ended by itself or by agreement.
    Finished,
    /// It was idle until its FIN.
    Waited,
    /// It was reset when the grace was over.
    Forced {
        /// An exchange was cut off by that.
        is_lost: bool,
    },
}

impl Fate {
    /// The fate of a connection that ended for `reason`, with an exchange in flight if it `was_busy`.
    pub const fn of(reason: CloseReason, was_busy: bool) -> Self {
        match reason {
            CloseReason::Drained if !was_busy => Self::Waited,
            CloseReason::DrainForced => Self::Forced { is_lost: was_busy },
            _ => Self::Finished,
        }
    }
}

/// When a connection's responses begin to say `Connection: close`, once a drain has begun.
///
/// With the first response, unless requests that had already arrived wait behind it (pipelined). RFC 9112 §9.6: whoever
/// says `close` must not process what follows, so that only the last of them says it. Bounded: what arrives after the
/// first question is not waited for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Farewell {
    /// How far the peer's bytes reached when the drain was first noticed, and one more: every connection has one of these.
    arrived: Option<NonZeroU64>,
}

impl Farewell {
    /// Whether the response whose head is about to be written is the last.
    ///
    /// `received` counts the connection's bytes, `unread` those of them that belong to no request that was begun;
    /// `is_more_here` asks whether the kernel holds more. It is asked once at most.
    pub fn is_due(&mut self, received: u64, unread: u64, is_more_here: impl FnOnce() -> bool) -> bool {
        let one_more = |arrived| NonZeroU64::MIN.saturating_add(arrived);
        let arrived = *self.arrived.get_or_insert_with(|| one_more(received + u64::from(is_more_here())));
        one_more(received.saturating_sub(unread)) >= arrived
    }
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
            ..DrainPlan::default()
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
        assert_eq!(drain.listening_until(), ms(160), "a handshake may be under way");
        assert_eq!(drain.tunnels_forced_at(), drain.forcing_at(), "as long as everybody, unless it is said");
        for tunnel_grace in [0, 400, 90_000] {
            let plan = DrainPlan { tunnel_grace: Some(Duration::from_millis(tunnel_grace)), ..plan };
            let drain = DrainClock::start(plan, ms(10));
            assert_eq!((drain.tunnels_forced_at(), drain.forcing_at()), (ms(110 + tunnel_grace), ms(1110)));
        }
        let others = DrainClock::start(DrainPlan { backlog: Backlog::Others, ..plan }, ms(10));
        assert_eq!(others.listening_until(), ms(110), "what is in the backlog is not ours");
        assert_eq!(drain.idle_until(ms(0)), ms(160), "idle before the drain: quiet from the end of the announcement");
        assert_eq!(drain.idle_until(ms(500)), ms(550), "fell idle during the drain: quiet from then");
        assert_eq!(drain.idle_until(ms(1100)), ms(1110), "never beyond the grace");
    }

    #[test]
    fn a_successor_needs_no_announcement_and_keeps_the_backlog() {
        let plan = DrainPlan { announce: Duration::from_secs(5), ..DrainPlan::default() };
        assert_eq!(plan.handed_over(), DrainPlan { backlog: Backlog::Others, ..DrainPlan::default() });
    }

    #[test]
    fn counts_each_connection_once_by_its_fate() {
        let mut report = DrainReport::default();
        for (reason, was_busy, fate) in [
            (CloseReason::Drained, false, Fate::Waited),
            (CloseReason::Drained, true, Fate::Finished),
            (CloseReason::Agreed, false, Fate::Finished),
            (CloseReason::PeerClosed, true, Fate::Finished),
            (CloseReason::DrainForced, false, Fate::Forced { is_lost: false }),
            (CloseReason::DrainForced, true, Fate::Forced { is_lost: true }),
        ] {
            assert_eq!(Fate::of(reason, was_busy), fate, "{reason} {was_busy}");
            report.count(fate);
        }
        let counted = DrainReport { told: 6, finished: 3, waited: 1, forced: 2, lost: 1 };
        assert_eq!(report, counted);
        report.add(counted);
        assert_eq!(report, DrainReport { told: 12, finished: 6, waited: 2, forced: 4, lost: 2 });
    }

    #[test]
    fn close_is_said_when_what_had_arrived_is_answered() {
        // Received, unread, whether the kernel holds more; due?
        for (title, asked) in [
            ("one request", &[(100, 0, false, true)][..]),
            ("two were pipelined", &[(100, 50, false, false), (100, 0, false, true)]),
            ("half a head waits behind", &[(60, 10, false, false), (100, 0, false, true)]),
            ("the kernel holds another", &[(50, 0, true, false), (100, 0, true, true)]),
            ("what comes later is not waited for", &[(100, 50, false, false), (900, 800, true, true)]),
        ] {
            let mut farewell = Farewell::default();
            for (received, unread, is_more, due) in asked {
                assert_eq!(farewell.is_due(*received, *unread, || *is_more), *due, "{title}");
            }
        }
    }
}
