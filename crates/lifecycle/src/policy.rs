//! What becomes of an end: in production it is counted and perhaps logged, in a test it may be a failure.

use crate::close::{CloseReason, Severity};
use crate::phase::{Phase, Side};

/// How strictly ends are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Policy {
    /// Every end is counted; what is not benign is logged, at a bounded rate. Default.
    #[default]
    Production,
    /// Every end that is not benign is a failure: for tests, in which nobody should misbehave by accident.
    Strict,
}

/// What is done about an end, beyond counting it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// Nothing.
    Count,
    /// A line.
    Log,
    /// A line, and whoever asked for strictness is told that the run failed.
    Fail,
}

impl Policy {
    /// What is done about a connection that ended for `reason`, on this side, in this phase.
    pub const fn judge(self, reason: CloseReason, side: Side, phase: Phase) -> Action {
        match (self, reason.severity(side, phase)) {
            (_, Severity::Benign) => Action::Count,
            (Self::Production, _) => Action::Log,
            (Self::Strict, _) => Action::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::{Errno, IoFault, Op};

    #[test]
    fn a_client_that_leaves_passes_even_a_strict_test_and_an_origin_that_dies_does_not() {
        let gone = |op, errno| CloseReason::from_fault(IoFault { op, errno });
        for reason in [
            CloseReason::PeerClosed,
            gone(Op::Shutdown, Errno::ENOTCONN),
            gone(Op::Write, Errno::EPIPE),
            gone(Op::Read, Errno::ECONNRESET),
        ] {
            for phase in Phase::ALL {
                assert_eq!(
                    Policy::Strict.judge(reason, Side::Downstream, phase),
                    Action::Count,
                    "{reason} in {phase:?}"
                );
            }
            assert_eq!(Policy::Strict.judge(reason, Side::Upstream, Phase::Parked), Action::Count, "{reason}");
            assert_eq!(Policy::Strict.judge(reason, Side::Upstream, Phase::Response), Action::Fail, "{reason}");
            assert_eq!(Policy::Production.judge(reason, Side::Upstream, Phase::Response), Action::Log, "{reason}");
        }
        let exhausted = gone(Op::Connect, Errno::EADDRNOTAVAIL);
        assert_eq!(Policy::Strict.judge(exhausted, Side::Upstream, Phase::Connecting), Action::Fail);
        assert_eq!(Policy::Strict.judge(CloseReason::Bug("x"), Side::Downstream, Phase::Idle), Action::Fail);
    }
}
