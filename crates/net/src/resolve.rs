//! An origin's addresses, looked up again as time goes by and never on a request's path.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::host_port::HostPort;
use crate::lookup::Lookup;

/// When names are looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResolvePlan {
    /// From the end of a lookup that succeeded to the next. Default: 30 s.
    pub interval: Duration,
    /// From the end of a lookup that failed to the next; doubles with each failure in a row, up to `interval`.
    /// Default: 1 s.
    pub retry: Duration,
    /// From the end of a lookup to the earliest next one that [`Resolved::refresh_soon`] can bring about. Default: 1 s.
    pub min_interval: Duration,
    /// How long a lookup may take before it counts as failed. It is not stopped, and no other is begun beside it; what
    /// it still brings is taken. Default: 5 s.
    pub timeout: Duration,
}

impl Default for ResolvePlan {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            min_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    }
}

impl ResolvePlan {
    /// The wait after `failures` lookups in a row that failed; none for zero.
    fn wait(&self, failures: u32) -> Duration {
        match failures {
            0 => self.interval,
            _ => self.retry.saturating_mul(1 << (failures - 1).min(16)).min(self.interval),
        }
    }
}

/// Why there are no addresses, or no new ones.
#[derive(Clone, Debug)]
pub struct ResolveError {
    /// The name.
    pub name: HostPort,
    /// What went wrong with it.
    pub kind: ResolveErrorKind,
}

/// What goes wrong with names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ResolveErrorKind {
    /// The resolver failed, or does not know the name.
    Failed(Arc<io::Error>),
    /// The name exists and has no addresses.
    Empty,
    /// The resolver did not answer in time; it is still being waited for.
    TimedOut(Duration),
    /// The [`Refresher`] was dropped before its first lookup had ended.
    Stopped,
}

impl ResolveErrorKind {
    /// A name that stays stable for ever: for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Failed(_) => "lookup-failed",
            Self::Empty => "lookup-empty",
            Self::TimedOut(_) => "lookup-timeout",
            Self::Stopped => "lookup-stopped",
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.host();
        match &self.kind {
            ResolveErrorKind::Failed(_) => write!(
                f,
                "the name {name} cannot be resolved; check its spelling, and that this machine knows it (getent hosts {name})"
            ),
            ResolveErrorKind::Empty => {
                write!(f, "the name {name} has no address; check its A and AAAA records")
            }
            ResolveErrorKind::TimedOut(after) => write!(
                f,
                "the name {name} was not resolved within {after:?}; check the name servers in /etc/resolv.conf"
            ),
            ResolveErrorKind::Stopped => write!(f, "the name {name} is not looked up any more"),
        }
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ResolveErrorKind::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// What a lookup brought: for logs and metrics.
#[derive(Clone, Debug)]
pub enum Refresh {
    /// The first addresses, or others than before.
    Changed(Arc<[SocketAddr]>),
    /// The same addresses as before, in whatever order.
    Unchanged,
    /// None; those of before stay in use.
    Failed {
        /// Why.
        error: ResolveError,
        /// How many addresses stay in use; zero when there never were any.
        kept: usize,
        /// Failures in a row, this one included.
        failures: u32,
    },
}

/// The present addresses of a name. Clones are the same, and cheap.
#[derive(Clone, Debug)]
pub struct Resolved {
    name: HostPort,
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    version: AtomicU64,
    is_wanted: Notify,
}

#[derive(Clone, Debug)]
struct State {
    addresses: Arc<[SocketAddr]>,
    failure: Option<ResolveError>,
    /// Whether the first lookup has ended, or was given up on.
    is_settled: bool,
}

/// Looks a name up again and again, once it is run.
#[derive(Debug)]
pub struct Refresher<L> {
    plan: ResolvePlan,
    lookup: L,
    name: HostPort,
    state: watch::Sender<State>,
    shared: Arc<Shared>,
}

/// The addresses of `name`, and what keeps them up to date once it is spawned.
///
/// For an IP address there is nothing to do: the addresses are there at once, and the refresher ends as soon as it runs.
pub fn resolve<L: Lookup>(name: HostPort, plan: ResolvePlan, lookup: L) -> (Resolved, Refresher<L>) {
    let (sender, shared) = publisher(name.literal().into_iter().collect());
    let resolved = Resolved { name: name.clone(), state: sender.subscribe(), shared: shared.clone() };
    (resolved, Refresher { plan, lookup, name, state: sender, shared })
}

fn publisher(addresses: Arc<[SocketAddr]>) -> (watch::Sender<State>, Arc<Shared>) {
    let is_settled = !addresses.is_empty();
    let (sender, _) = watch::channel(State { addresses, failure: None, is_settled });
    (sender, Arc::new(Shared { version: AtomicU64::new(u64::from(is_settled)), is_wanted: Notify::new() }))
}

impl Resolved {
    /// The address of an origin that needs no lookup.
    pub fn fixed(address: SocketAddr) -> Self {
        let (sender, shared) = publisher(Arc::new([address]));
        Self { name: address.into(), state: sender.subscribe(), shared }
    }

    /// The name.
    pub fn name(&self) -> &HostPort {
        &self.name
    }

    /// The present addresses, the best first; empty until a lookup has succeeded, and never again after.
    ///
    /// A lock for reading and a reference count. Who asks for every request keeps the answer beside the
    /// [`Self::version`] that it read before, and asks again when that has moved.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        self.state.borrow().addresses.clone()
    }

    /// Moves whenever the addresses do; zero while there are none. One atomic load.
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Why the last lookup failed, if it did.
    pub fn failure(&self) -> Option<ResolveError> {
        self.state.borrow().failure.clone()
    }

    /// The addresses, as soon as the first lookup has ended. Ready at once afterwards.
    ///
    /// # Errors
    /// Why there are none: the last lookup failed and none has ever succeeded. Later ones may; they go on.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn first(&self) -> Result<Arc<[SocketAddr]>, ResolveError> {
        let mut state = self.state.clone();
        loop {
            let now = state.borrow_and_update().clone();
            if !now.addresses.is_empty() {
                return Ok(now.addresses);
            }
            let stopped = ResolveError { name: self.name.clone(), kind: ResolveErrorKind::Stopped };
            if now.is_settled || state.changed().await.is_err() {
                return Err(now.failure.unwrap_or(stopped));
            }
        }
    }

    /// Asks for a lookup soon, for instance because no address answers. Costs next to nothing, and however often it is
    /// called, lookups keep [`ResolvePlan::min_interval`].
    pub fn refresh_soon(&self) {
        self.shared.is_wanted.notify_one();
    }
}

impl<L: Lookup> Refresher<L> {
    /// Looks the name up at once and then by its plan, one lookup at a time, until all [`Resolved`] of it are dropped.
    /// `tell` hears of every lookup.
    ///
    /// # Cancel safety
    /// Dropped, it stops; the addresses stay as they are.
    pub async fn run(self, mut tell: impl FnMut(&Refresh)) {
        if self.name.literal().is_some() {
            return;
        }
        let mut left = pin!(self.state.closed());
        let mut work = pin!(self.refresh(&mut tell));
        first_of(left.as_mut(), work.as_mut()).await;
    }

    async fn refresh(&self, tell: &mut impl FnMut(&Refresh)) {
        let mut failures = 0_u32;
        loop {
            let found = {
                let mut flight = pin!(self.lookup.lookup(&self.name));
                match first_of(flight.as_mut(), pin!(sleep(self.plan.timeout))).await {
                    First::Left(found) => found,
                    First::Right(()) => {
                        self.fail(ResolveErrorKind::TimedOut(self.plan.timeout), failures.saturating_add(1), tell);
                        flight.await
                    }
                }
            };
            failures = match found.map(without_doubles) {
                Ok(addresses) if !addresses.is_empty() => {
                    tell(&self.publish(addresses));
                    0
                }
                found => {
                    let kind = match found {
                        Ok(_) => ResolveErrorKind::Empty,
                        Err(error) => ResolveErrorKind::Failed(Arc::new(error)),
                    };
                    self.fail(kind, failures.saturating_add(1), tell);
                    failures.saturating_add(1)
                }
            };
            let wait = self.plan.wait(failures);
            let quiet = self.plan.min_interval.min(wait);
            sleep(quiet).await;
            first_of(pin!(sleep(wait - quiet)), pin!(self.shared.is_wanted.notified())).await;
        }
    }

    fn publish(&self, addresses: Vec<SocketAddr>) -> Refresh {
        let is_same = {
            let state = self.state.borrow();
            // A name server that takes turns changes the order, and nothing else.
            state.addresses.len() == addresses.len() && addresses.iter().all(|it| state.addresses.contains(it))
        };
        if is_same {
            self.state.send_if_modified(|state| state.failure.take().is_some());
            return Refresh::Unchanged;
        }
        let addresses: Arc<[SocketAddr]> = addresses.into();
        // Under the state's lock, so that whoever sees the one sees the other: an answer to `first` that is asked for again
        // by its version would be none otherwise.
        self.state.send_modify(|state| {
            *state = State { addresses: addresses.clone(), failure: None, is_settled: true };
            self.shared.version.fetch_add(1, Ordering::Release);
        });
        Refresh::Changed(addresses)
    }

    fn fail(&self, kind: ResolveErrorKind, failures: u32, tell: &mut impl FnMut(&Refresh)) {
        let error = ResolveError { name: self.name.clone(), kind };
        let mut kept = 0;
        self.state.send_modify(|state| {
            kept = state.addresses.len();
            state.failure = Some(error.clone());
            state.is_settled = true;
        });
        tell(&Refresh::Failed { error, kept, failures });
    }
}

/// Hosts files and resolvers repeat themselves; an address that is dialed twice in a row helps nobody.
fn without_doubles(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = std::collections::HashSet::with_capacity(addresses.len());
    addresses.retain(|address| seen.insert(*address));
    addresses
}

enum First<A, B> {
    Left(A),
    Right(B),
}

/// The output of whichever is ready first; of the left one when both are.
async fn first_of<A: Future, B: Future>(mut left: Pin<&mut A>, mut right: Pin<&mut B>) -> First<A::Output, B::Output> {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU32;

    use tokio::time::Instant;

    use super::*;

    /// Answers in order, each after its time, and keeps the moments in which it was asked.
    #[derive(Clone, Default)]
    struct Script(Arc<Inner>);

    #[derive(Default)]
    struct Inner {
        answers: Mutex<VecDeque<(Duration, Option<Vec<u8>>)>>,
        asked: Mutex<Vec<Instant>>,
        in_flight: AtomicU32,
    }

    impl Script {
        /// Addresses are written as the last byte of 192.0.2.0/24; `None` fails.
        fn new(answers: &[(u64, Option<&[u8]>)]) -> Self {
            let script = Self::default();
            script
                .0
                .answers
                .lock()
                .unwrap()
                .extend(answers.iter().map(|(ms, answer)| (Duration::from_millis(*ms), answer.map(<[u8]>::to_vec))));
            script
        }

        fn asked_at(&self, start: Instant) -> Vec<u128> {
            self.0.asked.lock().unwrap().iter().map(|at| at.duration_since(start).as_millis()).collect()
        }
    }

    impl Lookup for Script {
        async fn lookup(&self, name: &HostPort) -> io::Result<Vec<SocketAddr>> {
            assert_eq!(self.0.in_flight.fetch_add(1, Ordering::Relaxed), 0, "single flight");
            self.0.asked.lock().unwrap().push(Instant::now());
            let next = self.0.answers.lock().unwrap().pop_front();
            let Some((after, answer)) = next else { std::future::pending().await };
            sleep(after).await;
            self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
            let answer = answer.ok_or_else(|| io::Error::other("no such host"))?;
            Ok(answer.iter().map(|last| SocketAddr::from(([192, 0, 2, *last], name.port()))).collect())
        }
    }

    fn last_bytes(addresses: &[SocketAddr]) -> Vec<u8> {
        addresses.iter().map(|it| if let SocketAddr::V4(it) = it { it.ip().octets()[3] } else { 0 }).collect()
    }

    fn start(script: &Script) -> (Resolved, Arc<Mutex<Vec<String>>>, tokio::task::JoinHandle<()>) {
        let (resolved, refresher) =
            resolve("origin.example:80".parse().unwrap(), ResolvePlan::default(), script.clone());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        let task = tokio::spawn(refresher.run(move |refresh| {
            told.lock().unwrap().push(match refresh {
                Refresh::Changed(addresses) => format!("changed {:?}", last_bytes(addresses)),
                Refresh::Unchanged => "unchanged".to_owned(),
                Refresh::Failed { error, kept, failures } => {
                    format!("{} kept {kept} failures {failures}", error.kind.label())
                }
            });
        }));
        (resolved, heard, task)
    }

    #[tokio::test(start_paused = true)]
    async fn looks_up_by_its_plan_and_keeps_the_last_good_addresses() {
        let script = Script::new(&[
            (10, Some(&[1, 2, 1])),
            (0, Some(&[2, 1])),
            (0, None),
            (0, Some(&[])),
            (0, None),
            (0, Some(&[3])),
        ]);
        let began = Instant::now();
        let (resolved, heard, task) = start(&script);
        assert_eq!((resolved.version(), resolved.addresses().len()), (0, 0));
        assert_eq!(last_bytes(&resolved.first().await.unwrap()), [1, 2]);
        assert_eq!(resolved.version(), 1);
        sleep(Duration::from_secs(62)).await;
        assert_eq!(last_bytes(&resolved.addresses()), [1, 2], "the last good ones, in their first order");
        assert_eq!(resolved.version(), 1);
        assert_eq!(resolved.failure().map(|error| error.kind.label()), Some("lookup-empty"));
        assert!(resolved.first().await.is_ok(), "old addresses are addresses");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(last_bytes(&resolved.addresses()), [3]);
        assert_eq!(resolved.version(), 2);
        assert!(resolved.failure().is_none());
        assert_eq!(
            *heard.lock().unwrap(),
            [
                "changed [1, 2]",
                "unchanged",
                "lookup-failed kept 2 failures 1",
                "lookup-empty kept 2 failures 2",
                "lookup-failed kept 2 failures 3",
                "changed [3]"
            ]
        );
        // 30 s after a success, then 1, 2 and 4 s. The runtime's timer has a resolution of a millisecond and rounds up.
        let asked = script.asked_at(began);
        for (asked, due) in asked.iter().zip([0, 30_010, 60_010, 61_010, 63_010, 67_010]) {
            assert!((due..due + 10).contains(asked), "{asked} is not {due}");
        }
        assert_eq!(asked.len(), 6);
        drop(resolved);
        task.await.expect("ends with its last handle");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_is_told_and_a_later_success_heals() {
        let script = Script::new(&[(5, None), (5, Some(&[7]))]);
        let (resolved, _, _task) = start(&script);
        let error = resolved.first().await.expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "the name origin.example cannot be resolved; check its spelling, and that this machine knows it \
             (getent hosts origin.example)"
        );
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string).as_deref(), Some("no such host"));
        assert_eq!(resolved.version(), 0);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(last_bytes(&resolved.first().await.unwrap()), [7]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_lookup_counts_as_failed_and_what_it_brings_is_taken() {
        let script = Script::new(&[(8_000, Some(&[1]))]);
        let began = Instant::now();
        let (resolved, heard, _task) = start(&script);
        let error = resolved.first().await.expect_err("slow");
        assert_eq!(error.kind.label(), "lookup-timeout");
        assert_eq!(began.elapsed().as_secs(), 5);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(last_bytes(&resolved.addresses()), [1]);
        assert_eq!(*heard.lock().unwrap(), ["lookup-timeout kept 0 failures 1", "changed [1]"]);
        assert_eq!(script.asked_at(began).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refreshes_soon_when_asked_but_not_more_often_than_allowed() {
        let script = Script::new(&[(0, Some(&[1])), (0, Some(&[2])), (0, Some(&[3]))]);
        let began = Instant::now();
        let (resolved, _, _task) = start(&script);
        resolved.first().await.unwrap();
        for _ in 0..100 {
            resolved.refresh_soon();
        }
        sleep(Duration::from_millis(900)).await;
        assert_eq!(last_bytes(&resolved.addresses()), [1]);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(last_bytes(&resolved.addresses()), [2], "a second after the last, and once for all who asked");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(script.asked_at(began).len(), 2);
        resolved.refresh_soon();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(last_bytes(&resolved.addresses()), [3], "at once when the last is long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_never_looked_up() {
        let script = Script::default();
        let (resolved, refresher) = resolve("[::1]:80".parse().unwrap(), ResolvePlan::default(), script.clone());
        assert_eq!(resolved.version(), 1);
        assert_eq!(*resolved.first().await.unwrap(), ["[::1]:80".parse::<SocketAddr>().unwrap()]);
        refresher.run(|_| panic!("nothing to tell")).await;
        assert!(script.0.asked.lock().unwrap().is_empty());
        let fixed = Resolved::fixed("192.0.2.1:80".parse().unwrap());
        assert_eq!(last_bytes(&fixed.first().await.unwrap()), [1]);
        assert_eq!(fixed.name().to_string(), "192.0.2.1:80");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_refresher_that_is_gone() {
        let script = Script::default();
        let (resolved, _, task) = start(&script);
        let waiting = tokio::spawn(async move { resolved.first().await.map_err(|error| error.kind.label()) });
        tokio::task::yield_now().await;
        task.abort();
        assert_eq!(waiting.await.unwrap(), Err("lookup-stopped"));
    }

    /// On threads that run at once: whoever has the first addresses finds that the version has moved.
    #[test]
    fn the_version_moves_with_the_addresses() {
        struct Immediate;
        impl Lookup for Immediate {
            async fn lookup(&self, name: &HostPort) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![([192, 0, 2, 1], name.port()).into()])
            }
        }
        for _ in 0..500 {
            let name = "origin.example:80".parse().unwrap();
            let (resolved, refresher) = resolve(name, ResolvePlan::default(), Immediate);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    runtime.block_on(refresher.run(|_| {}));
                });
                while resolved.addresses().is_empty() {
                    std::hint::spin_loop();
                }
                assert_eq!(resolved.version(), 1);
                drop(resolved);
            });
        }
    }

    #[test]
    fn waits_double_up_to_the_interval() {
        let plan = ResolvePlan::default();
        let waits: Vec<u64> = (0..8).map(|failures| plan.wait(failures).as_secs()).collect();
        assert_eq!(waits, [30, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(plan.wait(u32::MAX), plan.interval);
    }
}
