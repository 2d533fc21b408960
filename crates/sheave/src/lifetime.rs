//! From ready to drained: what signals and ends of workers lead to.

use std::time::Duration;

use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{error, info, warn};

use crate::admin::Readiness;
use crate::exit::Exit;
use crate::signal::Told;

/// A second signal so soon after the first is the same request, told twice: `timeout` and other supervisors signal both
/// the process and its group. Nobody presses keys that fast.
const SAME_REQUEST: Duration = Duration::from_millis(200);

/// What can happen to a process that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A signal came.
    Told(Told),
    /// A worker ended: with its report, or without one if it panicked.
    Ended(Option<DrainReport>),
}

/// The workers, as those that are to be drained together.
#[derive(Clone, Debug)]
pub(crate) struct Crew {
    /// One handle for each worker, so that no two of them share a lock.
    pub(crate) drains: Vec<Drain>,
    /// How the drain goes.
    pub(crate) plan: DrainPlan,
    /// The process's clock.
    pub(crate) clock: Clock,
}

impl Crew {
    fn drain(&self) {
        let now = self.clock.now();
        self.drains.iter().for_each(|drain| drain.start(self.plan, now));
    }

    fn force(&self) {
        let now = self.clock.now();
        self.drains.iter().for_each(|drain| drain.force(now));
    }
}

/// What became of all connections in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// The sum of the workers' reports.
    pub(crate) report: DrainReport,
    /// From the beginning of the drain to its end.
    pub(crate) took: Duration,
    /// Whether a worker ended on its own.
    pub(crate) has_failed: bool,
}

impl End {
    /// With what code the process ends.
    pub(crate) const fn exit(&self) -> Exit {
        if self.has_failed {
            Exit::WorkerFailed
        } else if self.report.lost > 0 || self.report.forced > 0 {
            Exit::Lost
        } else {
            Exit::Drained
        }
    }

    /// Says it, as one line.
    pub(crate) fn log(&self) {
        let DrainReport { told, finished, waited, forced, lost } = self.report;
        let took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        if self.exit() == Exit::Drained {
            info!(told, finished, waited, forced, lost, took_ms, "drained");
        } else {
            warn!(told, finished, waited, forced, lost, took_ms, "ended; exchanges that were under way are lost");
        }
    }
}

/// Waits until the last worker has ended; `reopen` is called for each request to open logs anew.
///
/// A worker that ends before anybody drained it takes the others with it: half a process would answer with half its
/// strength and seem well.
pub(crate) async fn until_drained(
    events: &mut UnboundedReceiver<Event>,
    crew: &Crew,
    readiness: &Readiness,
    reopen: impl Fn(),
) -> End {
    let mut end = End { report: DrainReport::default(), took: Duration::ZERO, has_failed: false };
    let mut began = None;
    let mut is_forced = false;
    let mut working = crew.drains.len();
    while working > 0 {
        let Some(event) = events.recv().await else { break };
        match event {
            Event::Told(Told::Reopen) => {
                reopen();
                info!("opening logs anew");
            }
            Event::Told(Told::Drain(signal)) => match began {
                None => {
                    info!(signal, "draining; a second signal ends at once");
                    began = Some(crew.clock.now());
                    readiness.drain();
                    crew.drain();
                }
                Some(began) if !is_forced && crew.clock.now().since(began) >= SAME_REQUEST => {
                    is_forced = true;
                    warn!(signal, "ending at once: what is under way is reset");
                    crew.force();
                }
                Some(_) => {}
            },
            Event::Ended(report) => {
                working -= 1;
                if report.is_none() || began.is_none() {
                    error!("a worker ended on its own: draining the others");
                    end.has_failed = true;
                    began.get_or_insert_with(|| crew.clock.now());
                    readiness.drain();
                    crew.drain();
                }
                add(&mut end.report, report.unwrap_or_default());
            }
        }
    }
    end.took = began.map_or(Duration::ZERO, |began| crew.clock.now().since(began));
    end
}

fn add(sum: &mut DrainReport, one: DrainReport) {
    sum.told += one.told;
    sum.finished += one.finished;
    sum.waited += one.waited;
    sum.forced += one.forced;
    sum.lost += one.lost;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sheave_net::drain::Urgency;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Plays events, each so long after the one before, and says how urgent the drain was before each, and how it ended.
    fn play(workers: usize, events: &[(u64, Event)]) -> (Vec<Urgency>, End, bool, u32) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let crew = Crew {
                drains: (0..workers).map(|_| Drain::default()).collect(),
                plan: DrainPlan::default(),
                clock: Clock::start(),
            };
            let readiness = Readiness::default();
            let (sender, mut receiver) = unbounded_channel();
            let reopened = Cell::new(0);
            let urgencies = async {
                let mut seen = Vec::new();
                for (millis, event) in events {
                    tokio::time::advance(Duration::from_millis(*millis)).await;
                    seen.push(crew.drains[0].urgency());
                    sender.send(*event).expect("is heard");
                    tokio::task::yield_now().await;
                }
                seen
            };
            let reopen = || reopened.set(reopened.get() + 1);
            let ended = until_drained(&mut receiver, &crew, &readiness, reopen);
            let (seen, end) = both(urgencies, ended).await;
            (seen, end, readiness.is_ready(), reopened.get())
        })
    }

    async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
        let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
        let (mut first, mut second) = (None, None);
        std::future::poll_fn(|cx| {
            use std::task::Poll;
            if first.is_none()
                && let Poll::Ready(value) = one.as_mut().poll(cx)
            {
                first = Some(value);
            }
            if second.is_none()
                && let Poll::Ready(value) = other.as_mut().poll(cx)
            {
                second = Some(value);
            }
            match (first.take(), second.take()) {
                (Some(first), Some(second)) => Poll::Ready((first, second)),
                (one, other) => {
                    (first, second) = (one, other);
                    Poll::Pending
                }
            }
        })
        .await
    }

    const TERM: Event = Event::Told(Told::Drain("TERM"));

    const fn report(told: u64, forced: u64, lost: u64) -> Event {
        Event::Ended(Some(DrainReport { told, finished: told - forced, waited: 0, forced, lost }))
    }

    #[test]
    fn one_signal_drains_and_a_second_one_forces() {
        let events = [(0, TERM), (0, report(3, 0, 0)), (200, TERM), (200, TERM), (0, report(2, 1, 1))];
        let (seen, end, is_ready, _) = play(2, &events);
        assert_eq!(seen[..3], [Urgency::None, Urgency::Planned, Urgency::Planned]);
        assert_eq!(seen[3..], [Urgency::Forced, Urgency::Forced]);
        assert_eq!((end.report.told, end.report.forced, end.report.lost), (5, 1, 1));
        assert_eq!((end.exit(), is_ready, end.took), (Exit::Lost, false, Duration::from_millis(400)));
    }

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one() {
        let (seen, end, ..) = play(1, &[(5, TERM), (0, TERM), (199, TERM), (0, report(1, 0, 0))]);
        assert_eq!(seen, [Urgency::None, Urgency::Planned, Urgency::Planned, Urgency::Planned]);
        assert_eq!(end.exit(), Exit::Drained);
    }

    #[test]
    fn a_drain_that_lost_nothing_is_a_success() {
        let (_, end, _, reopened) = play(1, &[(0, Event::Told(Told::Reopen)), (0, TERM), (0, report(3, 0, 0))]);
        assert_eq!((end.exit(), reopened), (Exit::Drained, 1));
    }

    #[test]
    fn a_worker_that_ends_on_its_own_drains_the_others() {
        for first in [Event::Ended(None), report(0, 0, 0)] {
            let (seen, end, is_ready, _) = play(2, &[(0, first), (0, report(1, 0, 0))]);
            assert_eq!(seen, [Urgency::None, Urgency::Planned], "{first:?}");
            assert_eq!((end.exit(), is_ready), (Exit::WorkerFailed, false));
        }
    }
}
