//! From ready to drained: what signals, wishes, successors and ends of workers lead to.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sheave_lifecycle::drain::{Backlog, DrainPhase, DrainPlan, DrainReport};
use sheave_lifecycle::handover::{Act, Stage, Step};
use sheave_lifecycle::time::Time;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Sleep;
use tracing::{error, info, warn};

use crate::exit::Exit;
use crate::handover::{Confirmed, Confirming, Trust};
use crate::signal::Told;

/// A second signal so soon after the first is the same request, told twice: `timeout` and other supervisors signal both
/// the process and its group. Nobody presses keys that fast.
const SAME_REQUEST: Duration = Duration::from_millis(200);

/// What can happen to a process that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A signal came.
    Told(Told),
    /// Somebody asked for a drain otherwise than by a signal; the name says how.
    DrainAsked(&'static str),
    /// A worker ended: with its report, or without one if it panicked.
    Ended(Option<DrainReport>),
}

/// What a process's course has to do with, beside its workers.
pub(crate) trait Surroundings {
    /// Opens log files anew.
    fn reopen(&mut self);
    /// Starts a successor. Within a runtime.
    fn start_successor(&mut self) -> Confirming;
    /// There is no successor, for this reason; this process serves on.
    fn serve_on(&mut self, why: &str);
    /// The successor serves, and this process drains.
    fn hand_over(&mut self, to: Confirmed);
    /// This process drains, and nobody comes after it.
    fn leave(&mut self);
    /// The drain moved on.
    fn moved(&mut self, phase: DrainPhase);
    /// The process stands otherwise to its successor.
    fn stands(&mut self, stage: Stage);
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
    /// Whether a predecessor has left all to us.
    pub(crate) trust: Trust,
}

impl Crew {
    fn drain(&self, plan: DrainPlan) {
        let now = self.clock.now();
        self.drains.iter().for_each(|drain| drain.start(plan, now));
    }

    fn force(&self) {
        let now = self.clock.now();
        self.drains.iter().for_each(|drain| drain.force(now));
    }

    /// The plan for a drain after which nobody comes. A predecessor that has given us up, and serves on, keeps its
    /// backlog.
    fn last_plan(&self) -> DrainPlan {
        DrainPlan { backlog: if self.trust.is_ours() { Backlog::Ours } else { Backlog::Others }, ..self.plan }
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

/// Waits until the last worker has ended.
///
/// A worker that ends before anybody drained it takes the others with it: half a process would answer with half its
/// strength and seem well.
pub(crate) async fn until_drained(
    events: &mut UnboundedReceiver<Event>,
    crew: &Crew,
    around: &mut impl Surroundings,
) -> End {
    let mut course = Course {
        crew,
        stage: Stage::Serving,
        confirming: None,
        began: None,
        signalled: None,
        is_forced: false,
        phase: DrainPhase::Running,
        next_phase: None,
        working: crew.drains.len(),
        end: End { report: DrainReport::default(), took: Duration::ZERO, has_failed: false },
    };
    while course.working > 0 {
        match poll_fn(|cx| course.poll_next(cx, events)).await {
            Happened::Event(Some(event)) => course.take(event, around),
            Happened::Event(None) => break,
            Happened::Confirmed(Ok(successor)) => course.confirmed(successor, around),
            Happened::Confirmed(Err(why)) => course.failed(&why, around),
            Happened::PhaseOver => course.move_on(around),
        }
    }
    course.end.took = course.began.map_or(Duration::ZERO, |began| crew.clock.now().since(began));
    course.end
}

/// What a course waits for.
enum Happened {
    Event(Option<Event>),
    Confirmed(Result<Confirmed, String>),
    PhaseOver,
}

/// How far it has come.
struct Course<'a> {
    crew: &'a Crew,
    stage: Stage,
    confirming: Option<Confirming>,
    /// When the drain began.
    began: Option<Time>,
    /// When a signal asked for the drain, or joined it.
    signalled: Option<Time>,
    is_forced: bool,
    phase: DrainPhase,
    next_phase: Option<Pin<Box<Sleep>>>,
    working: usize,
    end: End,
}

impl Course<'_> {
    fn poll_next(&mut self, cx: &mut Context<'_>, events: &mut UnboundedReceiver<Event>) -> Poll<Happened> {
        if let Poll::Ready(event) = events.poll_recv(cx) {
            return Poll::Ready(Happened::Event(event));
        }
        if let Some(confirming) = &mut self.confirming
            && let Poll::Ready(result) = confirming.as_mut().poll(cx)
        {
            self.confirming = None;
            return Poll::Ready(Happened::Confirmed(result));
        }
        if let Some(phase) = &mut self.next_phase
            && phase.as_mut().poll(cx).is_ready()
        {
            self.next_phase = None;
            return Poll::Ready(Happened::PhaseOver);
        }
        Poll::Pending
    }

    fn take(&mut self, event: Event, around: &mut impl Surroundings) {
        match event {
            Event::Told(Told::Reopen) => {
                around.reopen();
                info!("opening logs anew");
            }
            Event::Told(Told::HandOver) => match self.step(Step::Asked, around) {
                Act::Start => {
                    info!("starting a successor");
                    self.confirming = Some(around.start_successor());
                }
                Act::SayUnderWay => warn!("a successor is on its way already"),
                _ => warn!("too late for a successor: this process drains"),
            },
            Event::Told(Told::Drain(signal)) => self.told_to_drain(signal, around),
            Event::DrainAsked(by) => {
                if self.leave(around) {
                    info!(by, "draining; a signal and another one end at once");
                }
            }
            Event::Ended(report) => {
                self.working -= 1;
                if report.is_none() || self.began.is_none() {
                    error!("a worker ended on its own: draining the others");
                    self.end.has_failed = true;
                    self.leave(around);
                }
                self.end.report.add(report.unwrap_or_default());
            }
        }
    }

    /// The first signal drains, or joins a drain that something else began; the next one forces.
    fn told_to_drain(&mut self, signal: &'static str, around: &mut impl Surroundings) {
        let now = self.crew.clock.now();
        match self.signalled {
            None => {
                self.signalled = Some(now);
                if self.leave(around) {
                    info!(signal, "draining; a second signal ends at once");
                } else {
                    info!(signal, "draining already; a second signal ends at once");
                }
            }
            Some(first) if !self.is_forced && now.since(first) >= SAME_REQUEST => {
                self.is_forced = true;
                warn!(signal, "ending at once: what is under way is reset");
                self.crew.force();
                self.move_on(around);
            }
            Some(_) => {}
        }
    }

    /// Begins a drain after which nobody comes; false if one has begun.
    fn leave(&mut self, around: &mut impl Surroundings) -> bool {
        match self.step(Step::DrainAsked, around) {
            Act::Drain => {}
            // Dropped, it tells the successor to end.
            Act::StopAndDrain => self.confirming = None,
            _ => return false,
        }
        around.leave();
        self.drain(self.crew.last_plan(), around);
        true
    }

    fn confirmed(&mut self, successor: Confirmed, around: &mut impl Surroundings) {
        if self.step(Step::Confirmed, around) == Act::HandOver {
            info!(successor = successor.pid, "handed over; draining");
            // First of all the workers: from now on each connection should be the successor's.
            self.drain(self.crew.plan.handed_over(), around);
            around.hand_over(successor);
        }
    }

    fn failed(&mut self, why: &str, around: &mut impl Surroundings) {
        if self.step(Step::Failed, around) == Act::ServeOn {
            error!("the hand-over failed: {why}; this process serves on");
            around.serve_on(why);
        }
    }

    fn drain(&mut self, plan: DrainPlan, around: &mut impl Surroundings) {
        self.began = Some(self.crew.clock.now());
        self.crew.drain(plan);
        self.move_on(around);
    }

    /// Tells the phase, if it is another one, and waits for the next.
    fn move_on(&mut self, around: &mut impl Surroundings) {
        let Some(drain) = self.crew.drains.first().and_then(Drain::clock) else { return };
        let phase = if self.is_forced { DrainPhase::Forcing } else { drain.phase(self.crew.clock.now()) };
        if phase != self.phase {
            self.phase = phase;
            around.moved(phase);
        }
        let next = match phase {
            DrainPhase::Running | DrainPhase::Announcing => Some(drain.waiting_at()),
            DrainPhase::Waiting => Some(drain.forcing_at()),
            DrainPhase::Forcing => None,
        };
        self.next_phase = next.map(|at| Box::pin(tokio::time::sleep_until(self.crew.clock.instant(at))));
    }

    fn step(&mut self, step: Step, around: &mut impl Surroundings) -> Act {
        let (stage, act) = self.stage.step(step);
        if stage != self.stage {
            self.stage = stage;
            around.stands(stage);
        }
        act
    }
}

#[cfg(test)]
mod tests {
    use sheave_net::drain::Urgency;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// What the surroundings were told, and how long a successor takes to say what.
    struct Noted {
        notes: Vec<String>,
        successor: (u64, Result<u32, &'static str>),
    }

    impl Surroundings for Noted {
        fn reopen(&mut self) {
            self.notes.push("reopen".to_owned());
        }

        fn start_successor(&mut self) -> Confirming {
            self.notes.push("start".to_owned());
            let (millis, result) = self.successor;
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                result.map(Confirmed::imaginary).map_err(str::to_owned)
            })
        }

        fn serve_on(&mut self, why: &str) {
            self.notes.push(format!("serve on: {why}"));
        }

        fn hand_over(&mut self, to: Confirmed) {
            self.notes.push(format!("hand over to {}", to.pid));
        }

        fn leave(&mut self) {
            self.notes.push("leave".to_owned());
        }

        fn moved(&mut self, phase: DrainPhase) {
            self.notes.push(phase.label().to_owned());
        }

        fn stands(&mut self, stage: Stage) {
            self.notes.push(format!("stage {}", stage.label()));
        }
    }

    /// How a play went.
    struct Play {
        /// How urgent the drain was before each event.
        seen: Vec<Urgency>,
        end: End,
        notes: Vec<String>,
        plan: Option<DrainPlan>,
    }

    /// Plays events, each so long after the one before. A successor says its word after 100 ms.
    fn play(workers: usize, word: Result<u32, &'static str>, events: &[(u64, Event)]) -> Play {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let crew = Crew {
                drains: (0..workers).map(|_| Drain::default()).collect(),
                plan: DrainPlan { announce: Duration::from_secs(7), ..DrainPlan::default() },
                clock: Clock::start(),
                trust: Trust::new(true),
            };
            let mut noted = Noted { notes: Vec::new(), successor: (100, word) };
            let (sender, mut receiver) = unbounded_channel();
            let (drain, events) = (crew.drains[0].clone(), events.to_vec());
            let telling = tokio::spawn(async move {
                let mut seen = Vec::new();
                for (millis, event) in events {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    seen.push(drain.urgency());
                    sender.send(event).expect("is heard");
                }
                seen
            });
            let end = until_drained(&mut receiver, &crew, &mut noted).await;
            let plan = crew.drains[0].clock().map(|clock| *clock.plan());
            Play { seen: telling.await.expect("ends"), end, notes: noted.notes, plan }
        })
    }

    const TERM: Event = Event::Told(Told::Drain("TERM"));
    const USR2: Event = Event::Told(Told::HandOver);
    const POST: Event = Event::DrainAsked("POST /drain");

    const fn report(told: u64, forced: u64, lost: u64) -> Event {
        Event::Ended(Some(DrainReport { told, finished: told - forced, waited: 0, forced, lost }))
    }

    #[test]
    fn one_signal_drains_and_a_second_one_forces() {
        let events = [(0, TERM), (5, report(3, 0, 0)), (200, TERM), (200, TERM), (5, report(2, 1, 1))];
        let play = play(2, Ok(1), &events);
        assert_eq!(play.seen[..3], [Urgency::None, Urgency::Planned, Urgency::Planned]);
        assert_eq!(play.seen[3..], [Urgency::Forced, Urgency::Forced]);
        assert_eq!((play.end.report.told, play.end.report.forced, play.end.report.lost), (5, 1, 1));
        assert_eq!(play.end.exit(), Exit::Lost);
        assert_eq!(play.notes, ["stage leaving", "leave", "announcing", "forcing"]);
    }

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one() {
        let play = play(1, Ok(1), &[(5, TERM), (5, TERM), (190, TERM), (5, report(1, 0, 0))]);
        assert_eq!(play.seen, [Urgency::None, Urgency::Planned, Urgency::Planned, Urgency::Planned]);
        assert_eq!(play.end.exit(), Exit::Drained);
    }

    #[test]
    fn a_drain_goes_through_its_phases() {
        let play = play(1, Ok(1), &[(0, TERM), (40_000, report(1, 0, 0))]);
        assert_eq!(play.notes, ["stage leaving", "leave", "announcing", "waiting", "forcing"]);
        assert_eq!(play.plan.map(|plan| plan.backlog), Some(Backlog::Ours));
    }

    #[test]
    fn a_drain_that_lost_nothing_is_a_success() {
        let play = play(1, Ok(1), &[(0, Event::Told(Told::Reopen)), (0, TERM), (5, report(3, 0, 0))]);
        assert_eq!((play.end.exit(), play.notes[0].as_str()), (Exit::Drained, "reopen"));
    }

    #[test]
    fn a_signal_joins_a_drain_that_was_asked_for_otherwise() {
        let play = play(1, Ok(1), &[(0, POST), (300, POST), (300, TERM), (5, report(3, 0, 0))]);
        assert_eq!(play.seen, [Urgency::None, Urgency::Planned, Urgency::Planned, Urgency::Planned]);
        assert_eq!(play.end.exit(), Exit::Drained);
    }

    #[test]
    fn a_worker_that_ends_on_its_own_drains_the_others() {
        for first in [Event::Ended(None), report(0, 0, 0)] {
            let play = play(2, Ok(1), &[(0, first), (5, report(1, 0, 0))]);
            assert_eq!(play.seen, [Urgency::None, Urgency::Planned], "{first:?}");
            assert_eq!((play.end.exit(), play.notes[1].as_str()), (Exit::WorkerFailed, "leave"));
        }
    }

    #[test]
    fn a_successor_that_serves_takes_over() {
        let play = play(1, Ok(42), &[(0, USR2), (50, USR2), (100, USR2), (0, TERM), (5, report(3, 0, 0))]);
        assert_eq!(play.seen[1], Urgency::None, "serves until the successor does");
        assert_eq!(play.seen[2..], [Urgency::Planned, Urgency::Planned, Urgency::Planned], "TERM joins");
        let expected = ["stage starting-successor", "start", "stage handed-over", "waiting", "hand over to 42"];
        assert_eq!(play.notes, expected);
        let plan = play.plan.expect("drained");
        assert_eq!((plan.backlog, plan.announce), (Backlog::Others, Duration::ZERO));
        assert_eq!(play.end.exit(), Exit::Drained);
    }

    #[test]
    fn a_successor_that_fails_changes_nothing_and_another_may_be_asked_for() {
        let events = [(0, USR2), (150, USR2), (150, TERM), (5, report(3, 0, 0))];
        let play = play(1, Err("no such file"), &events);
        assert_eq!(play.seen[..3], [Urgency::None; 3]);
        let round = ["stage starting-successor", "start", "stage serving", "serve on: no such file"];
        assert_eq!(play.notes[..8], [round, round].concat());
        assert_eq!(play.plan.map(|plan| plan.backlog), Some(Backlog::Ours));
    }

    #[test]
    fn a_drain_stops_a_successor_on_its_way() {
        let play = play(1, Ok(42), &[(0, USR2), (50, TERM), (100, report(3, 0, 0))]);
        let expected = ["stage starting-successor", "start", "stage leaving", "leave", "announcing"];
        assert_eq!(play.notes, expected, "and its word is not waited for");
    }
}
