//! One line for each connection that did not end benignly, and for what keeps connections from coming to be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sheave_lifecycle::close::{CloseReason, Severity};
use sheave_lifecycle::errno::{Errno, IoFault};
use sheave_lifecycle::limit::Limit;
use sheave_lifecycle::observe::{Closed, HandshakeFailed, Observer};
use sheave_lifecycle::phase::Side;
use sheave_lifecycle::policy::{Action, Policy};
use tracing::{error, warn};

use crate::rate::Rate;

/// Lines a second in the long run about ends, for each worker.
const CLOSED_PER_SECOND: u32 = 10;
const CLOSED_BURST: u32 = 50;

/// Lines a second in the long run about trouble, for each kind of it.
const TROUBLE_PER_SECOND: u32 = 1;

/// Lines at once about trouble of which there may be several.
const TROUBLE_BURST: u32 = 5;

/// Logs ends that are worth a look. A client that goes away is not.
///
/// Each kind of line has a rate of its own, so that a storm of one does not hide another; the next line tells how many
/// were held back.
#[derive(Debug)]
pub(crate) struct LifecycleLog {
    began: Instant,
    policy: Policy,
    closed: Mutex<Rate>,
    trouble: Arc<Trouble>,
}

/// The rates of lines about trouble, which is the same for all workers of a process.
#[derive(Debug)]
struct Trouble {
    accept: Mutex<Rate>,
    connect: Mutex<Rate>,
    refused: Mutex<Rate>,
    held_back: Mutex<Rate>,
    /// Ends that the policy calls failures.
    failures: AtomicU64,
}

impl LifecycleLog {
    /// A log that begins with all its lines to spend.
    pub(crate) fn new(policy: Policy) -> Self {
        let rate = |burst| Mutex::new(Rate::new(TROUBLE_PER_SECOND, burst));
        let trouble = Trouble {
            accept: rate(1),
            connect: rate(TROUBLE_BURST),
            refused: rate(TROUBLE_BURST),
            held_back: rate(TROUBLE_BURST),
            failures: AtomicU64::new(0),
        };
        Self::sharing(Instant::now(), policy, Arc::new(trouble))
    }

    /// The log of another worker of the same process.
    pub(crate) fn of_another_worker(&self) -> Self {
        Self::sharing(self.began, self.policy, Arc::clone(&self.trouble))
    }

    /// How many connections of the process ended in a way that the policy calls a failure.
    pub(crate) fn failures(&self) -> u64 {
        self.trouble.failures.load(Ordering::Relaxed)
    }

    fn sharing(began: Instant, policy: Policy, trouble: Arc<Trouble>) -> Self {
        Self { began, policy, closed: Mutex::new(Rate::new(CLOSED_PER_SECOND, CLOSED_BURST)), trouble }
    }

    fn permit(&self, rate: &Mutex<Rate>) -> Option<u64> {
        rate.lock().unwrap_or_else(PoisonError::into_inner).permit(self.began.elapsed())
    }
}

/// Logs with a level that is known only at run time; the macros want it in the source.
macro_rules! log_as {
    ($severity:expr, $($fields:tt)*) => {
        match $severity {
            Severity::Benign | Severity::Peer => warn!($($fields)*),
            Severity::Local | Severity::Bug => error!($($fields)*),
        }
    };
}

impl Observer for LifecycleLog {
    fn closed(&self, end: &Closed) {
        let severity = end.reason.severity(end.side, end.phase);
        let suppressed = match self.policy.judge(end.reason, end.side, end.phase) {
            Action::Count => return,
            // A test reads every line.
            Action::Fail => {
                self.trouble.failures.fetch_add(1, Ordering::Relaxed);
                0
            }
            // Who is turned away is told of by itself.
            Action::Log if matches!(end.reason, CloseReason::Refused(_)) => return,
            Action::Log => match self.permit(&self.closed) {
                Some(suppressed) => suppressed,
                None => return,
            },
        };
        log_as!(
            severity,
            side = end.side.label(),
            id = end.id.0,
            peer = end.peer.map(tracing::field::display),
            reason = end.reason.label(),
            detail = end.reason.detail().map(tracing::field::display),
            severity = severity.label(),
            phase = end.phase.label(),
            age_ms = millis(end.age),
            exchanges = end.exchanges,
            bytes_in = end.bytes_in,
            bytes_out = end.bytes_out,
            last = %end.last,
            suppressed = some_if_any(suppressed),
            "connection ended"
        );
    }

    fn refused(&self, limit: &'static str) {
        let Some(suppressed) = self.permit(&self.trouble.refused) else { return };
        error!(limit, suppressed = some_if_any(suppressed), "a limit is reached: clients are turned away");
    }

    fn held_back(&self, limit: &'static str) {
        // The failure to accept has told of it, with its remedy.
        if limit == Limit::Descriptors.label() {
            return;
        }
        let Some(suppressed) = self.permit(&self.trouble.held_back) else { return };
        warn!(limit, suppressed = some_if_any(suppressed), "a limit is reached: clients wait in the backlog");
    }

    fn accept_failed(&self, fault: IoFault) {
        let Some(suppressed) = self.permit(&self.trouble.accept) else { return };
        let remedy = match fault.errno {
            Errno::EMFILE => Some("raise this process's descriptor limit (ulimit -Hn), or lower --max-connections"),
            Errno::ENFILE => Some("raise the machine's descriptor limit (sysctl fs.file-max)"),
            Errno::ENOBUFS | Errno::ENOMEM => Some("the kernel is out of memory for sockets: lower --max-connections"),
            Errno::EPERM | Errno::EACCES => Some("a rule of the system's (a firewall, seccomp) forbids it"),
            _ => None,
        };
        error!(fault = %fault, remedy, suppressed = some_if_any(suppressed), "cannot accept connections");
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        // A client's is told when its connection is closed.
        if failed.side == Side::Downstream {
            return;
        }
        let Some(suppressed) = self.permit(&self.trouble.connect) else { return };
        warn!(
            address = failed.peer.map(tracing::field::display),
            cause = failed.label,
            detail = failed.detail,
            suppressed = some_if_any(suppressed),
            "the handshake with an origin failed"
        );
    }

    fn connect_failed(&self, address: Option<SocketAddr>, reason: CloseReason) {
        // It has been told with what more is known.
        if matches!(reason, CloseReason::Handshake(_)) {
            return;
        }
        let Some(suppressed) = self.permit(&self.trouble.connect) else { return };
        let remedy = match reason {
            CloseReason::Local(IoFault { errno: Errno::EADDRNOTAVAIL, .. }) => {
                Some("local ports are used up: widen net.ipv4.ip_local_port_range, or keep more connections parked")
            }
            CloseReason::Local(IoFault { errno: Errno::EMFILE, .. }) => {
                Some("raise this process's descriptor limit (ulimit -Hn), or lower --max-connections")
            }
            _ => None,
        };
        warn!(
            address = address.map(tracing::field::display),
            reason = reason.label(),
            detail = reason.detail().map(tracing::field::display),
            remedy,
            suppressed = some_if_any(suppressed),
            "origin cannot be reached"
        );
    }
}

/// A field that is absent rather than zero.
fn some_if_any(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use sheave_lifecycle::errno::Op;
    use sheave_lifecycle::observe::ConnectionId;
    use sheave_lifecycle::phase::{Phase, Side};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(act: impl FnOnce(&LifecycleLog)) -> String {
        let kept = Kept::default();
        let into = kept.clone();
        let subscriber =
            tracing_subscriber::fmt().without_time().with_target(false).with_writer(move || into.clone()).finish();
        tracing::subscriber::with_default(subscriber, || act(&LifecycleLog::new(Policy::Production)));
        let bytes = kept.0.lock().expect("lock").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn closed(side: Side, reason: CloseReason) -> Closed {
        Closed {
            side,
            id: ConnectionId(9),
            peer: Some(([192, 0, 2, 1], 40_000).into()),
            reason,
            phase: Phase::Waiting,
            age: Duration::from_millis(1234),
            exchanges: 2,
            bytes_in: 10,
            bytes_out: 20,
            last: sheave_lifecycle::ring::Ring::new(),
        }
    }

    const fn fault(op: Op, errno: Errno) -> IoFault {
        IoFault { op, errno }
    }

    #[test]
    fn an_end_that_is_worth_a_look_is_one_line_with_all_fields() {
        let reset = CloseReason::PeerReset(fault(Op::Read, Errno::ECONNRESET));
        let text = logged(|log| log.closed(&closed(Side::Upstream, reset)));
        assert_eq!(
            text.trim(),
            "WARN connection ended side=\"upstream\" id=9 peer=192.0.2.1:40000 reason=\"peer-reset\" \
             detail=ECONNRESET in read severity=\"peer\" phase=\"waiting\" age_ms=1234 exchanges=2 bytes_in=10 \
             bytes_out=20 last=+0.0ms opened"
        );
        let text = logged(|log| log.closed(&closed(Side::Downstream, CloseReason::Bug("pump"))));
        assert!(text.contains("ERROR") && text.contains("detail=pump"), "{text}");
    }

    #[test]
    fn a_strict_log_writes_and_counts_every_end_that_is_not_benign() {
        let log = LifecycleLog::new(Policy::Strict);
        let other = log.of_another_worker();
        for _ in 0..1000 {
            log.closed(&closed(Side::Upstream, CloseReason::Truncated));
            other.closed(&closed(Side::Downstream, CloseReason::PeerClosed));
        }
        other.closed(&closed(Side::Downstream, CloseReason::Refused("max-connections-per-client")));
        assert_eq!((log.failures(), other.failures()), (1001, 1001));
        let production = LifecycleLog::new(Policy::Production);
        production.closed(&closed(Side::Upstream, CloseReason::Truncated));
        assert_eq!(production.failures(), 0);
    }

    #[test]
    fn a_client_that_leaves_is_no_line() {
        let reset = CloseReason::PeerReset(fault(Op::Write, Errno::EPIPE));
        for reason in [reset, CloseReason::PeerClosed, CloseReason::Agreed] {
            assert_eq!(logged(|log| log.closed(&closed(Side::Downstream, reason))), "");
        }
    }

    #[test]
    fn a_storm_is_bounded() {
        let end = closed(Side::Downstream, CloseReason::Protocol("bare-lf"));
        let text = logged(|log| (0..10_000).for_each(|_| log.closed(&end)));
        assert!((50..200).contains(&text.lines().count()), "{} lines", text.lines().count());
    }

    #[test]
    fn trouble_comes_with_a_remedy() {
        let text = logged(|log| {
            log.accept_failed(fault(Op::Accept, Errno::EMFILE));
            log.connect_failed(
                Some(([127, 0, 0, 1], 9).into()),
                CloseReason::Local(fault(Op::Connect, Errno::EADDRNOTAVAIL)),
            );
            log.refused("max-connections-per-client");
            log.held_back("max-connections");
        });
        for part in [
            "EMFILE in accept",
            "ulimit -Hn",
            "ip_local_port_range",
            "127.0.0.1:9",
            "max-connections-per-client",
            "\"max-connections\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn trouble_is_one_line_a_second_however_many_workers_have_it() {
        let text = logged(|log| {
            let other = log.of_another_worker();
            for log in [log, &other] {
                (0..1000).for_each(|_| log.accept_failed(fault(Op::Accept, Errno::EMFILE)));
                log.held_back("open-files");
            }
        });
        // One more where a second went by.
        assert!((1..5).contains(&text.lines().count()), "{text}");
    }
}
