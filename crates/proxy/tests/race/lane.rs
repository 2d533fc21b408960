//! Lanes side by side: in each, a connection is parked, and a request is sent around the moment at which it is closed.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::client::{Answer, Client};
use super::origin::{Habit, Origin, Parked};
use super::score::Score;
use super::wait;
use crate::kit::recorder::Recorder;
use crate::kit::rig::{Rig, Setup};

/// How far from the close requests are sent, both ways.
const REACH: Duration = Duration::from_millis(3);

/// How many trials each combination gets: `SHEAVE_RACE_TRIALS`, or so many.
pub fn trials(default: usize) -> usize {
    match std::env::var("SHEAVE_RACE_TRIALS") {
        Ok(text) => text.parse().expect("SHEAVE_RACE_TRIALS is a number"),
        Err(_) => default,
    }
}

/// What is raced, and in how many lanes.
pub struct Race {
    pub setup: Setup,
    pub habit: Habit,
    pub method: &'static str,
    pub trials: usize,
    pub lanes: usize,
    /// Closes that each lane's proxy finds before, so that there is something to learn from. The requests are GETs, and
    /// counted too.
    pub lessons: usize,
}

/// What came of a race.
pub struct Raced {
    pub score: Score,
    /// The requests of [`Race::lessons`].
    pub lessons: Score,
    /// Requests of the raced method that their origin saw more than once.
    pub seen_twice: usize,
    /// What each lane's proxy told.
    pub told: Vec<std::sync::Arc<Recorder>>,
}

/// Runs a race to its end, and holds the laws against what the proxies told.
pub fn run(runtime: &Runtime, race: &Race) -> Raced {
    let lanes: Vec<(Origin, Rig)> = (0..race.lanes)
        .map(|_| {
            let origin = Origin::start(race.habit);
            let _within = runtime.enter();
            let rig = Rig::start(&[origin.address], race.setup.clone());
            (origin, rig)
        })
        .collect();
    let mut result = Raced { score: Score::default(), lessons: Score::default(), seen_twice: 0, told: Vec::new() };
    let done: Vec<_> = lanes
        .into_iter()
        .enumerate()
        .map(|(lane, (origin, rig))| {
            let offsets: Vec<_> = (lane..race.trials).step_by(race.lanes).map(|it| offset(it, race.trials)).collect();
            let (method, lessons) = (race.method, race.lessons);
            thread::spawn(move || {
                let mut client = Client::new(rig.address);
                let mut learn = Score::default();
                // On a busy machine an origin may close later than it meant to: that is no lesson.
                while learn.after_close < lessons {
                    let id = format!("{lane}.l{}", learn.trials);
                    trial(&mut client, &origin, "GET", &id, (REACH, true), &mut learn);
                }
                let mut score = Score::default();
                for (number, offset) in offsets.into_iter().enumerate() {
                    trial(&mut client, &origin, method, &format!("{lane}.{number}"), offset, &mut score);
                }
                (score, learn, origin, rig)
            })
        })
        .collect();
    for lane in done {
        let (score, learn, origin, rig) = lane.join().unwrap();
        result.score.merge(score);
        result.lessons.merge(learn);
        result.seen_twice += origin.seen_twice(race.method);
        result.told.push(runtime.block_on(rig.finish()).1);
    }
    result
}

/// How far from the close the request of a trial is sent, and whether that is after it. Half of them are within an eighth
/// of the reach, where it matters most.
fn offset(trial: usize, trials: usize) -> (Duration, bool) {
    let place = 2.0 * (trial as f64 + 0.5) / trials as f64 - 1.0;
    (REACH.mul_f64(place.abs().powi(3)), place >= 0.0)
}

/// One trial: a connection is parked, and a request is sent around the moment at which its origin closes it.
fn trial(
    client: &mut Client,
    origin: &Origin,
    method: &str,
    id: &str,
    (offset, is_after): (Duration, bool),
    score: &mut Score,
) {
    let (sent_at, answer) = client.ask("GET", "/park", &format!("{id}.park"));
    if answer != Answer::Whole {
        // Nothing is parked, so that there is nothing to meet.
        score.add("GET", sent_at, answer, Parked::Left);
        return;
    }
    let due: Instant = origin.due.recv().unwrap();
    wait::until(if is_after { due + offset } else { due - offset });
    let (sent_at, answer) = client.ask(method, "/", id);
    score.add(method, sent_at, answer, origin.parked.recv().unwrap());
}

/// Says a line that is shown whether or not the test fails.
pub fn show(line: &str) {
    // The test harness captures what macros print.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
