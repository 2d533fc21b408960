//! Why an origin could not be connected to: each address with its end, and the one that says most.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::errno::{Errno, IoFault, Op};

/// Addresses that an error's text names; it counts the others.
const MAX_NAMED: usize = 4;

/// An address that could not be connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedAttempt {
    /// The address.
    pub address: SocketAddr,
    /// How the attempt ended.
    pub end: AttemptEnd,
}

/// How an attempt to connect ended that brought no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptEnd {
    /// The kernel said no.
    Failed(IoFault),
    /// The time for all attempts was over, and nothing had been heard.
    TimedOut,
    /// The time for all attempts was over before its turn came.
    NotTried,
}

/// No address of an origin could be connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialError {
    /// The addresses in the order in which they failed; then those that time cut off. Empty when there was none to try.
    pub attempts: Vec<FailedAttempt>,
    /// The time that all attempts had together.
    pub connect_timeout: Duration,
}

impl DialError {
    /// The attempt that says most about what is wrong: this machine's own trouble first, then an origin that refuses,
    /// then silence, then a network or a family that is not there. The earliest of equals.
    pub fn most_telling(&self) -> Option<&FailedAttempt> {
        // `max_by_key` gives the last of equals.
        self.attempts.iter().rev().max_by_key(|attempt| telling(attempt))
    }

    /// What the kernel said in the most telling attempt; `None` when that timed out, or there was none.
    pub fn fault(&self) -> Option<IoFault> {
        match self.most_telling()?.end {
            AttemptEnd::Failed(fault) => Some(fault),
            AttemptEnd::TimedOut | AttemptEnd::NotTried => None,
        }
    }

    /// The reason for the connection that did not come to be.
    pub fn reason(&self) -> CloseReason {
        match self.most_telling().map(|attempt| attempt.end) {
            Some(AttemptEnd::Failed(fault)) if fault.errno == Errno::ECONNREFUSED => CloseReason::PeerReset(fault),
            Some(AttemptEnd::Failed(fault)) => CloseReason::from_fault(fault),
            Some(AttemptEnd::TimedOut | AttemptEnd::NotTried) => CloseReason::TimedOut(Timer::Connect),
            None => CloseReason::Local(IoFault { op: Op::Connect, errno: Errno::NONE }),
        }
    }

    /// Whether this machine has run out of something (descriptors, memory, ports), so that the origin is not to blame.
    pub fn is_local_exhaustion(&self) -> bool {
        self.fault().is_some_and(|fault| fault.errno.is_exhaustion())
    }
}

/// How much an attempt says about what is wrong; the more the higher.
fn telling(attempt: &FailedAttempt) -> u8 {
    let errno = match attempt.end {
        AttemptEnd::Failed(fault) => fault.errno,
        AttemptEnd::TimedOut => Errno::ETIMEDOUT,
        AttemptEnd::NotTried => return 0,
    };
    match errno {
        // Where IPv6 is switched off, ::1 gives EADDRNOTAVAIL and every other address ENETUNREACH: a family that is not
        // there, beside which the other one tells the story.
        Errno::ENETUNREACH | Errno::EAFNOSUPPORT => 1,
        Errno::EADDRNOTAVAIL if attempt.address.is_ipv6() => 1,
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN => 2,
        Errno::ETIMEDOUT => 3,
        Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ECONNABORTED => 5,
        errno if errno.is_exhaustion() => 6,
        // EACCES, EPERM and the like: this machine's policy, and what is not known.
        _ => 4,
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("the origin has no address to connect to");
        }
        f.write_str("the origin cannot be connected to: ")?;
        for (index, attempt) in self.attempts.iter().take(MAX_NAMED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} (", attempt.address)?;
            match attempt.end {
                AttemptEnd::Failed(fault) => write!(f, "{fault})")?,
                AttemptEnd::TimedOut => write!(f, "no answer within {:?})", self.connect_timeout)?,
                AttemptEnd::NotTried => f.write_str("not tried in time)")?,
            }
        }
        if let Some(more) = self.attempts.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            write!(f, " and {more} more")?;
        }
        match advice(self.fault().map(|fault| fault.errno)) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

fn advice(errno: Option<Errno>) -> Option<&'static str> {
    match errno {
        None => Some("check the address, and firewalls on the way"),
        Some(Errno::ECONNREFUSED) => Some("nothing listens there: check that the origin runs, and its port"),
        Some(Errno::EADDRNOTAVAIL) => Some(
            "no local port is free, or the local address is none of this machine's: reuse more connections, widen \
             net.ipv4.ip_local_port_range, or check the local address",
        ),
        Some(Errno::EMFILE) => Some("raise the limit on open files (ulimit -n)"),
        Some(Errno::ENFILE) => Some("raise the system's limit on open files (fs.file-max)"),
        Some(Errno::EACCES | Errno::EPERM) => Some("this machine's firewall or policy forbids it"),
        Some(Errno::EAFNOSUPPORT | Errno::ENETUNREACH) => Some("this machine has no route to that network"),
        Some(_) => None,
    }
}

impl std::error::Error for DialError {}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMED_OUT: Errno = Errno(-1);
    const NOT_TRIED: Errno = Errno(-2);

    fn error(attempts: &[(&str, Errno)]) -> DialError {
        let attempts = attempts.iter().map(|(address, errno)| FailedAttempt {
            address: address.parse().unwrap(),
            end: match *errno {
                TIMED_OUT => AttemptEnd::TimedOut,
                NOT_TRIED => AttemptEnd::NotTried,
                errno => AttemptEnd::Failed(IoFault { op: Op::Connect, errno }),
            },
        });
        DialError { attempts: attempts.collect(), connect_timeout: Duration::from_secs(5) }
    }

    #[test]
    fn the_most_telling_attempt_gives_the_reason() {
        const A: &str = "192.0.2.1:80";
        const B: &str = "192.0.2.2:80";
        const SIX: &str = "[::1]:80";
        for (attempts, label, is_exhaustion) in [
            (&[(A, Errno::ECONNREFUSED)][..], "peer-reset (ECONNREFUSED in connect)", false),
            (&[(A, Errno::ETIMEDOUT)], "peer-unreachable (ETIMEDOUT in connect)", false),
            (&[(A, TIMED_OUT), (B, NOT_TRIED)], "timeout-connect", false),
            (&[(A, TIMED_OUT), (B, Errno::ECONNREFUSED)], "peer-reset (ECONNREFUSED in connect)", false),
            (&[(SIX, Errno::ENETUNREACH), (A, TIMED_OUT)], "timeout-connect", false),
            (&[(SIX, Errno::EADDRNOTAVAIL), (A, Errno::ECONNREFUSED)], "peer-reset (ECONNREFUSED in connect)", false),
            (&[(SIX, Errno::EADDRNOTAVAIL), (A, TIMED_OUT)], "timeout-connect", false),
            (&[(SIX, Errno::EADDRNOTAVAIL)], "local-error (EADDRNOTAVAIL in connect)", true),
            (&[(A, Errno::EADDRNOTAVAIL), (B, Errno::ECONNREFUSED)], "local-error (EADDRNOTAVAIL in connect)", true),
            (&[(A, Errno::ECONNREFUSED), (B, Errno::EMFILE)], "local-error (EMFILE in connect)", true),
            (&[(A, Errno::EHOSTUNREACH), (B, Errno::EACCES)], "local-error (EACCES in connect)", false),
            (&[(A, Errno::EHOSTUNREACH), (B, Errno::ENETUNREACH)], "peer-unreachable (EHOSTUNREACH in connect)", false),
            (&[], "local-error (errno 0 in connect)", false),
        ] {
            let error = error(attempts);
            assert_eq!(error.reason().to_string(), label, "{attempts:?}");
            assert_eq!(error.is_local_exhaustion(), is_exhaustion, "{attempts:?}");
        }
        let equals = error(&[(A, Errno::ECONNREFUSED), (B, Errno::ECONNREFUSED)]);
        assert_eq!(equals.most_telling().map(|attempt| attempt.address.to_string()).as_deref(), Some(A));
    }

    #[test]
    fn says_each_address_and_what_to_do() {
        let refused = Errno::ECONNREFUSED;
        for (attempts, text) in [
            (&[][..], "the origin has no address to connect to"),
            (
                &[("[::1]:80", Errno::EADDRNOTAVAIL), ("127.0.0.1:80", refused)],
                "the origin cannot be connected to: [::1]:80 (EADDRNOTAVAIL in connect), \
                 127.0.0.1:80 (ECONNREFUSED in connect); nothing listens there: check that the origin runs, and its port",
            ),
            (
                &[("192.0.2.1:80", TIMED_OUT), ("192.0.2.2:80", NOT_TRIED)],
                "the origin cannot be connected to: 192.0.2.1:80 (no answer within 5s), \
                 192.0.2.2:80 (not tried in time); check the address, and firewalls on the way",
            ),
            (
                &[("192.0.2.1:80", Errno::EHOSTDOWN); 6],
                "the origin cannot be connected to: 192.0.2.1:80 (EHOSTDOWN in connect), \
                 192.0.2.1:80 (EHOSTDOWN in connect), 192.0.2.1:80 (EHOSTDOWN in connect), \
                 192.0.2.1:80 (EHOSTDOWN in connect) and 2 more",
            ),
        ] {
            assert_eq!(error(attempts).to_string(), text);
        }
    }
}
