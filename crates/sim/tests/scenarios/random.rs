//! Several faults, buffers and schedules at random, beyond what can be tried one by one.
//!
//! `SHEAVE_SIM_RUNS` runs of each scenario, from seed `SHEAVE_SIM_SEED` on, and then more for `SHEAVE_SIM_SECONDS`:
//!
//! ```text
//! SHEAVE_SIM_SECONDS=3600 SHEAVE_SIM_SEED=$RANDOM cargo test --release -p sheave-sim --test scenarios random -- --nocapture
//! ```

use sheave_sim::explore::{Search, search};

use crate::judge::{judge, scenarios};
use crate::settings::OPTIONS;

/// Runs of each scenario where the environment asks for no number.
const RUNS: u64 = 500;

#[expect(clippy::panic, reason = "this is a test's body")]
fn at_random(world: &str) {
    let asked = Search::from_env(RUNS, OPTIONS);
    let searched = search(&scenarios(world, true), &asked, &judge);
    let runs = searched.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{world}: {runs} simulated runs at random, from seed {}", asked.seed);
}

#[test]
fn server_at_random() {
    at_random("server");
}

#[test]
fn client_at_random() {
    at_random("client");
}

#[test]
fn tunnel_at_random() {
    at_random("tunnel");
}

#[test]
fn relay_at_random() {
    at_random("relay");
}
