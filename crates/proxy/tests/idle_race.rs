//! The idle race: an origin closes a parked connection just when a request is about to use it.
//!
//! What each test asserts is counted, never timed. Whether a close came before a request was sent is known from one
//! clock: the origin reads it after the close, the client before it sends. `SHEAVE_RACE_TRIALS=2000` runs as many trials
//! of each combination; what cannot be repaired is shown as it is.

mod kit;
mod race;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kit::recorder::Recorder;
use kit::rig::Setup;
use race::lane::{Race, Raced, run, show, trials};
use race::origin::{Ending, Habit};
use sheave_lifecycle::keep_alive::KeepAlivePolicy;
use sheave_lifecycle::retry::{Evidence, RetryPolicy};
use tokio::runtime::{Builder, Runtime};

/// Two cores are few for three parties that race by the microsecond: one race at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// For all proxies together.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// More retries than there is load for would be refused, by design: what is tested here is the evidence.
fn retry() -> RetryPolicy {
    RetryPolicy { budget_share: 1.0, budget_per_second: 1000, ..RetryPolicy::default() }
}

fn found_dead(result: &Raced) -> usize {
    result.told.iter().map(|recorder| recorder.log().found_dead.len()).sum()
}

fn retried(result: &Raced) -> usize {
    result.told.iter().map(|recorder| recorder.log().retried.len()).sum()
}

/// A proxy that asks the kernel and judges by evidence, and has nothing else: what it learns and how careful it is would
/// keep it out of the race.
fn bare() -> Setup {
    let mut setup = whole();
    setup.client.keep_alive = KeepAlivePolicy::unprotected();
    setup
}

#[test]
fn a_close_that_comes_first_is_never_seen_by_a_client() {
    let _alone = ALONE.lock().unwrap();
    let runtime = runtime();
    let trials = trials(100);
    for ending in [Ending::Fin, Ending::Reset] {
        for method in ["GET", "PUT", "POST"] {
            let habit = Habit { idle: Duration::from_millis(8), ending, announced: None };
            let raced = run(&runtime, &Race { setup: bare(), habit, method, trials, lanes: 2, lessons: 0 });
            let (dead, retried) = (found_dead(&raced), retried(&raced));
            show(&format!("{ending:?} {method:4}: {}; found dead {dead}, retried {retried}", raced.score));
            let score = raced.score;
            assert_eq!(score.wrong, [""; 0], "{ending:?} {method}");
            assert!(score.on_parked > 0 && score.after_close > 0, "both sides of the close were tried: {score}");
            // A request that came after the close met a dead connection, and the kernel had been asked about each.
            assert!(dead >= score.after_close, "{dead} of {score}");
            if method == "POST" {
                assert_eq!(raced.seen_twice, 0, "an origin acted twice on a POST");
                let by_promise = |recorder: &Arc<Recorder>| recorder.log().retried.contains(&Evidence::Idempotent);
                assert!(!raced.told.iter().any(by_promise), "nothing here but POSTs and what parks for them");
            }
        }
    }
}

/// A proxy as it is: what it has learned of the origin, and how careful it is with a POST, count too.
fn whole() -> Setup {
    let mut setup = Setup::default();
    setup.proxy.retry = retry();
    setup
}

/// Not even a POST meets the race, and that by far: the connection was too old for it by then.
fn is_out_of_the_race(raced: &Raced, what: &str) {
    show(&format!("{what}: {}; retried {}", raced.score, retried(raced)));
    for score in [&raced.score, &raced.lessons] {
        assert_eq!(score.wrong, [""; 0], "{what}");
    }
    assert_eq!((raced.score.lost_in_crossing, raced.seen_twice), (0, 0), "{what}: {}", raced.score);
    // So old a connection is used by nobody; but on a machine that is too busy the origin itself closes late at times, and
    // what is learned then is that. Without what was learned it would be a third of the trials.
    assert!(raced.score.on_parked * 20 <= raced.score.trials, "{what}: {}", raced.score);
}

#[test]
fn a_post_does_not_meet_a_close_that_was_learned() {
    let _alone = ALONE.lock().unwrap();
    let runtime = runtime();
    let trials = trials(60);
    for ending in [Ending::Fin, Ending::Reset] {
        for method in ["GET", "PUT", "POST"] {
            let habit = Habit { idle: Duration::from_millis(25), ending, announced: None };
            let raced = run(&runtime, &Race { setup: whole(), habit, method, trials, lanes: 4, lessons: 3 });
            is_out_of_the_race(&raced, &format!("learned, {ending:?} {method:4}"));
        }
    }
}

#[test]
fn a_post_does_not_meet_a_close_that_was_announced() {
    let _alone = ALONE.lock().unwrap();
    let runtime = runtime();
    let trials = trials(32);
    for ending in [Ending::Fin, Ending::Reset] {
        let habit = Habit { idle: Duration::from_secs(1), ending, announced: Some(1) };
        let race = Race { setup: whole(), habit, method: "POST", trials, lanes: trials.min(64), lessons: 0 };
        let raced = run(&runtime, &race);
        is_out_of_the_race(&raced, &format!("announced, {ending:?} POST"));
    }
}
