//! Every fault at every byte boundary of every scenario, in both directions of every connection; one fault a run.

use sheave_sim::explore::{Menu, exhaust};
use sheave_sim::fault::Action;

use crate::judge::{judge, scenarios};

const MENU: Menu<'_> = Menu {
    at_bytes: &[
        Action::Stall,
        Action::HalfClose(0),
        Action::HalfClose(1),
        Action::Fin(0),
        Action::Fin(1),
        Action::Rst(0),
        Action::Rst(1),
        Action::Drain,
        Action::Cancel,
    ],
    at_bytes_in: &[Action::Split(1), Action::Drip(90)],
    at_beginnings: &[Action::Drip(1), Action::Drip(20), Action::Drip(200)],
    at_operations: &[Action::Drain, Action::Cancel],
};

/// Once with everything as it mostly is, and once with kernels that have little room and a runtime that tells things late.
const CIRCUMSTANCES: [&str; 2] = ["", "send=23 receive=17 lag=3 interval=61"];

/// Tries them on those scenarios of `world` whose turn it is, counted by `parts`: so the work is shared by threads.
fn every_fault(world: &str, part: usize, parts: usize) {
    let mut all = 0;
    let mut failures = Vec::new();
    for scenario in scenarios(world, false).into_iter().skip(part).step_by(parts) {
        for circumstances in CIRCUMSTANCES {
            let calm = format!("{scenario} {circumstances}").parse().expect("a scenario and knobs of plans");
            match exhaust(&calm, &MENU, &judge) {
                Ok(runs) => all += runs,
                Err(failure) => failures.push(failure.to_string()),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{world}: {all} simulated runs, every fault at every byte boundary");
}

#[test]
fn server() {
    every_fault("server", 0, 1);
}

#[test]
fn client() {
    every_fault("client", 0, 1);
}

#[test]
fn tunnel() {
    every_fault("tunnel", 0, 1);
}

#[test]
fn relay_one() {
    every_fault("relay", 0, 3);
}

#[test]
fn relay_two() {
    every_fault("relay", 1, 3);
}

#[test]
fn relay_three() {
    every_fault("relay", 2, 3);
}
