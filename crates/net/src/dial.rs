//! Connects to an origin by whichever of its addresses answers first, without waiting for those that do not.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sheave_lifecycle::errno::IoFault;
use tokio::time::sleep;

use crate::dial_error::{AttemptEnd, DialError, FailedAttempt};
use crate::dial_order::interleaved;
use crate::endpoint::Endpoint;
use crate::socket::Socket;

/// Makes connections.
pub trait Connect: Send + Sync {
    /// What is made.
    type Socket: Socket + 'static;

    /// A connection to `endpoint`. Dropped, the attempt ends and leaves nothing behind.
    ///
    /// What lies between TCP and HTTP is not begun here, so that slow handshakes do not lose the race against addresses
    /// that accept and say nothing: [`Socket::poll_handshake`] of the result does it.
    ///
    /// # Errors
    /// What the kernel said; `EPROTONOSUPPORT` for an endpoint that asks for what these sockets cannot do.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Self::Socket, IoFault>> + Send;
}

/// How an origin is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DialPlan {
    /// From one attempt to the next while nothing is heard. Zero tries all addresses at once. Default: 250 ms, as
    /// RFC 8305 §5 recommends (and 10 ms at the least).
    pub attempt_delay: Duration,
    /// For all attempts together. Zero fails whatever is not connected at once; it does not mean "no limit".
    /// Default: 5 s.
    pub connect_timeout: Duration,
}

impl Default for DialPlan {
    fn default() -> Self {
        Self { attempt_delay: Duration::from_millis(250), connect_timeout: Duration::from_secs(5) }
    }
}

/// A connection, and how it came to be.
#[derive(Debug)]
pub struct Dialed<S> {
    /// The connection.
    pub socket: S,
    /// The endpoint that answered.
    pub endpoint: Endpoint,
    /// Addresses that had failed until then.
    pub failed: Vec<FailedAttempt>,
}

/// Connects to the first of `endpoints` that answers.
///
/// Tries them one after the other, families taking turns: the next when [`DialPlan::attempt_delay`] is over, or as soon
/// as one has failed. Earlier attempts go on meanwhile; the first connection wins, and the others are dropped without a
/// byte sent. Runs in the caller's task. Costs one box for each attempt.
///
/// # Errors
/// [`DialError`] when all addresses failed, or [`DialPlan::connect_timeout`] was over.
///
/// # Cancel safety
/// Dropped, all attempts end; nothing is left.
pub async fn dial<C: Connect>(
    connector: &C,
    endpoints: &[Endpoint],
    plan: &DialPlan,
) -> Result<Dialed<C::Socket>, DialError> {
    let mut waiting = interleaved(endpoints).into_iter();
    let mut running = Vec::new();
    let mut failed = Vec::new();
    let mut timeout = pin!(sleep(plan.connect_timeout));
    let mut turn = pin!(sleep(plan.attempt_delay));
    let mut is_turn = true;
    poll_fn(|cx| {
        loop {
            if is_turn && let Some(endpoint) = waiting.next() {
                running.push((endpoint, Box::pin(connector.connect(endpoint))));
                turn.set(sleep(plan.attempt_delay));
            }
            is_turn = false;
            let mut index = 0;
            while let Some((endpoint, attempt)) = running.get_mut(index) {
                let endpoint: &Endpoint = endpoint;
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => index += 1,
                    Poll::Ready(Ok(socket)) => {
                        let (endpoint, failed) = (endpoint.clone(), std::mem::take(&mut failed));
                        return Poll::Ready(Ok(Dialed { socket, endpoint, failed }));
                    }
                    Poll::Ready(Err(fault)) => {
                        failed.push(FailedAttempt { address: endpoint.address(), end: AttemptEnd::Failed(fault) });
                        drop(running.remove(index));
                        is_turn = true;
                    }
                }
            }
            let is_over = running.is_empty() && waiting.len() == 0;
            if is_over || timeout.as_mut().poll(cx).is_ready() {
                let mut cut_off = |endpoint: &Endpoint, end| {
                    failed.push(FailedAttempt { address: endpoint.address(), end });
                };
                running.drain(..).for_each(|(endpoint, _)| cut_off(endpoint, AttemptEnd::TimedOut));
                waiting.by_ref().for_each(|endpoint| cut_off(endpoint, AttemptEnd::NotTried));
                let attempts = std::mem::take(&mut failed);
                return Poll::Ready(Err(DialError { attempts, connect_timeout: plan.connect_timeout }));
            }
            if waiting.len() == 0 {
                return Poll::Pending;
            }
            is_turn = is_turn || turn.as_mut().poll(cx).is_ready();
            if !is_turn {
                return Poll::Pending;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use sheave_lifecycle::errno::{Errno, Op};
    use tokio::net::UnixStream;
    use tokio::time::Instant;

    use super::*;

    /// What an address does: after how many milliseconds, and what.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        Answer(u64),
        Fail(u64, Errno),
        Hang,
    }
    use Does::{Answer, Fail, Hang};

    /// Acts as told, by the address's last byte, and keeps a diary.
    struct Script {
        does: Vec<Does>,
        began: Instant,
        diary: Diary,
    }

    /// `+a@0` is an attempt at the first address that begins, `-a@0` one that was dropped unfinished.
    type Diary = Arc<Mutex<Vec<String>>>;

    struct Unfinished {
        name: char,
        began: Instant,
        diary: Diary,
        is_finished: bool,
    }

    impl Drop for Unfinished {
        fn drop(&mut self) {
            if !self.is_finished {
                let at = self.began.elapsed().as_millis();
                self.diary.lock().unwrap().push(format!("-{}@{at}", self.name));
            }
        }
    }

    impl Connect for Script {
        type Socket = UnixStream;

        async fn connect(&self, endpoint: &Endpoint) -> Result<UnixStream, IoFault> {
            let index = match endpoint.address() {
                SocketAddr::V4(address) => address.ip().octets()[3],
                SocketAddr::V6(address) => address.ip().octets()[15],
            };
            let name = char::from(b'a' + index);
            self.diary.lock().unwrap().push(format!("+{name}@{}", self.began.elapsed().as_millis()));
            let mut guard = Unfinished { name, began: self.began, diary: self.diary.clone(), is_finished: false };
            let (after, end) = match self.does[usize::from(index)] {
                Answer(after) => (after, None),
                Fail(after, errno) => (after, Some(errno)),
                Hang => std::future::pending().await,
            };
            sleep(Duration::from_millis(after)).await;
            guard.is_finished = true;
            match end {
                None => Ok(UnixStream::pair().map_err(|error| IoFault::new(Op::Connect, &error))?.0),
                Some(errno) => Err(IoFault { op: Op::Connect, errno }),
            }
        }
    }

    /// Dials addresses whose families are given as digits; tells what happened, and how it ended and when.
    async fn run(families: &str, does: &[Does], plan: DialPlan) -> (String, String) {
        let began = Instant::now();
        let script = Script { does: does.to_vec(), began, diary: Diary::default() };
        let addresses: Vec<SocketAddr> = families
            .bytes()
            .zip(0..)
            .map(|(family, index)| {
                let text =
                    if family == b'4' { format!("192.0.2.{index}:80") } else { format!("[2001:db8::{index}]:80") };
                text.parse().unwrap()
            })
            .collect();
        let name = |address: SocketAddr| {
            addresses.iter().zip('a'..).find(|(it, _)| **it == address).map_or('?', |(_, name)| name)
        };
        let failures = |failed: &[FailedAttempt]| -> String {
            let each = failed.iter().map(|attempt| match attempt.end {
                AttemptEnd::Failed(fault) => format!(" {}:{}", name(attempt.address), fault.errno),
                AttemptEnd::TimedOut => format!(" {}:timeout", name(attempt.address)),
                AttemptEnd::NotTried => format!(" {}:untried", name(attempt.address)),
            });
            each.collect()
        };
        let endpoints: Vec<Endpoint> = addresses.iter().copied().map(Endpoint::from).collect();
        let end = match dial(&script, &endpoints, &plan).await {
            Ok(dialed) => format!("{}{}", name(dialed.endpoint.address()), failures(&dialed.failed)),
            Err(error) => format!("none{}", failures(&error.attempts)),
        };
        let diary = script.diary.lock().unwrap().join(" ");
        (diary, format!("{end} @{}", began.elapsed().as_millis()))
    }

    /// Under a paused clock: the moments are exact, up to the millisecond that the runtime's timer rounds up.
    #[tokio::test(start_paused = true)]
    async fn attempts_begin_and_end_as_the_table_says() {
        let refused = Errno::ECONNREFUSED;
        for (families, does, diary, end) in [
            // One address.
            ("4", &[Answer(7)][..], "+a@0", "a @7"),
            ("4", &[Answer(0)], "+a@0", "a @0"),
            ("4", &[Fail(3, refused)], "+a@0", "none a:ECONNREFUSED @3"),
            ("4", &[Hang], "+a@0 -a@5000", "none a:timeout @5000"),
            ("", &[], "", "none @0"),
            // The first is fast enough: nobody else is bothered.
            ("64", &[Answer(249), Answer(0)], "+a@0", "a @249"),
            // Families take turns.
            ("6644", &[Hang, Hang, Hang, Answer(1)], "+a@0 +c@250 +b@500 +d@750 -a@751 -c@751 -b@751", "d @751"),
            // The first is slow, and still wins.
            ("64", &[Answer(300), Answer(100)], "+a@0 +b@250 -b@300", "a @300"),
            // The first is slow, and loses.
            ("64", &[Answer(400), Answer(100)], "+a@0 +b@250 -a@350", "b @350"),
            // At once after a failure, and the delay begins anew.
            ("444", &[Fail(10, refused), Hang, Answer(5)], "+a@0 +b@10 +c@260 -b@265", "c a:ECONNREFUSED @265"),
            // An earlier attempt fails while a later one runs: the next begins at once, too.
            ("444", &[Fail(300, refused), Hang, Answer(5)], "+a@0 +b@250 +c@300 -b@305", "c a:ECONNREFUSED @305"),
            // All fail.
            (
                "464",
                &[Fail(0, refused), Fail(0, Errno::ENETUNREACH), Fail(20, refused)],
                "+a@0 +b@0 +c@0",
                "none a:ECONNREFUSED b:ENETUNREACH c:ECONNREFUSED @20",
            ),
            // The last ones are waited for, up to the time for all.
            ("44", &[Hang, Fail(0, refused)], "+a@0 +b@250 -a@5000", "none b:ECONNREFUSED a:timeout @5000"),
            ("44", &[Hang, Answer(4000)], "+a@0 +b@250 -a@4250", "b @4250"),
        ] {
            let happened = run(families, does, DialPlan::default()).await;
            assert_eq!(happened, (diary.to_owned(), end.to_owned()), "{families} {does:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_plan_can_be_shorter_or_all_at_once() {
        let short = DialPlan { connect_timeout: Duration::from_millis(400), ..DialPlan::default() };
        let (diary, end) = run("444", &[Hang, Hang, Hang], short).await;
        assert_eq!(diary, "+a@0 +b@250 -a@400 -b@400");
        assert_eq!(end, "none a:timeout b:timeout c:untried @400");
        let at_once = DialPlan { attempt_delay: Duration::ZERO, ..DialPlan::default() };
        let (diary, end) = run("644", &[Answer(9), Hang, Answer(8)], at_once).await;
        assert_eq!(diary, "+a@0 +b@0 +c@0 -a@8 -b@8");
        assert_eq!(end, "c @8");
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_it_leaves_nothing() {
        let script = Script { does: vec![Hang, Hang], began: Instant::now(), diary: Diary::default() };
        let endpoints = ["192.0.2.0:80", "192.0.2.1:80"].map(|text| text.parse::<SocketAddr>().unwrap().into());
        let plan = DialPlan::default();
        let dialing = dial(&script, &endpoints, &plan);
        let cut_off = tokio::time::timeout(Duration::from_millis(300), dialing).await;
        assert!(cut_off.is_err());
        assert_eq!(script.diary.lock().unwrap().join(" "), "+a@0 +b@250 -a@300 -b@300");
    }
}
