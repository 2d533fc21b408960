//! What follows a failed `accept`: on at once, after a pause, or never again.

use std::time::Duration;

use sheave_lifecycle::errno::{Errno, IoFault};
use sheave_lifecycle::time::Time;

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause: after it, the machine is asked again whether it has room.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Failures that are let pass one after the other without a pause.
const MAX_AT_ONCE: u32 = 1024;

// Of asm-generic/errno.h, those that only `accept` can meet: the network's error on a connection that was queued.
const ENONET: Errno = Errno(64);
const EPROTO: Errno = Errno(71);
const ENOPROTOOPT: Errno = Errno(92);
const EOPNOTSUPP: Errno = Errno(95);

/// What an accept loop does after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptNext {
    /// It accepts again: the failure was that of one connection, which is gone.
    AtOnce,
    /// It accepts again at this moment and not before: the machine has no room now.
    At(Time),
    /// It ends: the listener is not one any more.
    Never,
}

/// How an accept loop bears failure: it neither spins nor sleeps for ever.
///
/// - The connection's own end (`ECONNABORTED` and the like) took that connection out of the backlog: the next is asked
///   for at once.
/// - Exhaustion (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`), a refusal by the system's policy (`EPERM`, `EACCES`) and
///   whatever is not known left the connection in the backlog: asking again at once would spin. The pause is 5 ms,
///   doubles to 1 s, and begins anew after a success or a quiet time. Clients wait in the backlog meanwhile.
/// - `EBADF`, `ENOTSOCK` and `EINVAL` say that the listener is closed or shut down: it ends.
#[derive(Clone, Copy, Default, Debug)]
pub struct AcceptBackoff {
    paused: Option<Pause>,
    at_once: u32,
}

/// The last pause.
#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    until: Time,
}

impl AcceptBackoff {
    /// A connection was accepted: all is forgotten.
    pub const fn accepted(&mut self) {
        *self = Self { paused: None, at_once: 0 };
    }

    /// `accept` failed.
    pub fn failed(&mut self, fault: IoFault, now: Time) -> AcceptNext {
        match fault.errno {
            Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK => AcceptNext::Never,
            errno if is_of_one_connection(errno) && self.at_once < MAX_AT_ONCE => {
                self.at_once += 1;
                AcceptNext::AtOnce
            }
            // Also for more failures of connections in a row than a backlog holds: whatever it is, it must not spin.
            _ => AcceptNext::At(self.pause(now)),
        }
    }

    fn pause(&mut self, now: Time) -> Time {
        let length = match self.paused {
            Some(last) if now.since(last.until) < MAX_PAUSE => (last.length * 2).min(MAX_PAUSE),
            _ => FIRST_PAUSE,
        };
        let until = now.after(length);
        *self = Self { paused: Some(Pause { length, until }), at_once: 0 };
        until
    }
}

/// Whether the failure belongs to a connection that the kernel has taken out of the backlog with it.
///
/// Linux passes errors of the network that are pending on the new connection to `accept`; accept(2) wants them treated
/// as if there had been no connection.
const fn is_of_one_connection(errno: Errno) -> bool {
    errno.is_unreachable()
        || matches!(
            errno,
            Errno::ECONNABORTED | Errno::ECONNRESET | Errno::EINTR | ENONET | EPROTO | ENOPROTOOPT | EOPNOTSUPP
        )
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::errno::Op;

    use super::*;

    const fn fault(errno: Errno) -> IoFault {
        IoFault { op: Op::Accept, errno }
    }

    const fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn sorts_failures_by_what_they_leave_in_the_backlog() {
        let first = AcceptNext::At(ms(105));
        for (errno, next) in [
            (Errno::ECONNABORTED, AcceptNext::AtOnce),
            (Errno::EINTR, AcceptNext::AtOnce),
            (Errno::ENETDOWN, AcceptNext::AtOnce),
            (Errno::EHOSTUNREACH, AcceptNext::AtOnce),
            (EPROTO, AcceptNext::AtOnce),
            (EOPNOTSUPP, AcceptNext::AtOnce),
            (Errno::EMFILE, first),
            (Errno::ENFILE, first),
            (Errno::ENOBUFS, first),
            (Errno::ENOMEM, first),
            (Errno::EPERM, first),
            (Errno::EACCES, first),
            (Errno(4711), first),
            (Errno::NONE, first),
            (Errno::EBADF, AcceptNext::Never),
            (Errno::EINVAL, AcceptNext::Never),
            (Errno::ENOTSOCK, AcceptNext::Never),
        ] {
            assert_eq!(AcceptBackoff::default().failed(fault(errno), ms(100)), next, "{errno}");
        }
    }

    #[test]
    fn pauses_double_to_a_second_and_begin_anew_after_a_success() {
        let mut backoff = AcceptBackoff::default();
        let mut now = Time::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let AcceptNext::At(until) = backoff.failed(fault(Errno::EMFILE), now) else {
                panic!("exhaustion pauses");
            };
            pauses.push(until.since(now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.accepted();
        assert_eq!(backoff.failed(fault(Errno::EMFILE), now), AcceptNext::At(now.after(FIRST_PAUSE)));
    }

    #[test]
    fn a_quiet_second_after_the_pause_forgets_it() {
        let mut backoff = AcceptBackoff::default();
        assert_eq!(backoff.failed(fault(Errno::EMFILE), ms(0)), AcceptNext::At(ms(5)));
        assert_eq!(backoff.failed(fault(Errno::EMFILE), ms(1004)), AcceptNext::At(ms(1014)));
        assert_eq!(backoff.failed(fault(Errno::EMFILE), ms(2014)), AcceptNext::At(ms(2019)));
    }

    #[test]
    fn failures_of_connections_do_not_spin_either() {
        let mut backoff = AcceptBackoff::default();
        for _ in 0..MAX_AT_ONCE {
            assert_eq!(backoff.failed(fault(Errno::ECONNABORTED), ms(0)), AcceptNext::AtOnce);
        }
        assert_eq!(backoff.failed(fault(Errno::ECONNABORTED), ms(0)), AcceptNext::At(ms(5)));
        assert_eq!(backoff.failed(fault(Errno::ECONNABORTED), ms(5)), AcceptNext::AtOnce);
    }
}
