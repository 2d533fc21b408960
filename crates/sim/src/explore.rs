//! Looks for runs that break a law: every fault at every byte boundary, and then at random.

use std::fmt;
use std::time::Instant;

use crate::fault::{Action, Fault, Trigger, Way};
use crate::laws::Violation;
use crate::plan::Plan;
use crate::random::{Rng, Shape};
use crate::run::Record;
use crate::shrink::shrink;

/// Runs a plan, and says which laws it broke.
pub type Judge<'j> = &'j dyn Fn(&Plan) -> (Record, Vec<Violation>);

/// How many failing runs are named beside the one that is shown.
const MAX_OTHERS: usize = 12;

/// A run that broke a law, as text: what, how to see it again, and every event of it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The plan as it was found; absent when nothing of it could be left out.
    pub found_as: Option<Plan>,
    /// The run.
    pub record: Record,
    /// What it broke.
    pub violations: Vec<Violation>,
    /// Others that were found on the way, one a line.
    pub others: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a simulated run breaks a law")?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))?;
        writeln!(f, "run: {}", self.record.plan)?;
        if let Some(plan) = &self.found_as {
            writeln!(f, "found as: {plan}")?;
        }
        writeln!(
            f,
            "again: SHEAVE_SIM_REPLAY='{}' cargo test -p sheave-sim --test scenarios replay -- --nocapture",
            self.record.plan
        )?;
        writeln!(f, "it ended {:?}; what happened:", self.record.ended)?;
        fmt::Display::fmt(&self.record.trace, f)?;
        if !self.others.is_empty() {
            writeln!(f, "{} other runs fail:", self.others.len())?;
        }
        self.others.iter().take(MAX_OTHERS).try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for Failure {}

/// Which faults are tried, one a run.
#[derive(Clone, Copy, Debug)]
pub struct Menu<'a> {
    /// At every byte boundary of both directions of every connection.
    pub at_bytes: &'a [Action],
    /// At every byte boundary of what peers send.
    pub at_bytes_in: &'a [Action],
    /// At the beginning of both directions of every connection.
    pub at_beginnings: &'a [Action],
    /// After every operation on a socket of what is tested. Those that need a place do nothing.
    pub at_operations: &'a [Action],
}

/// Tries every fault of `menu` on the connections that `calm` makes without any. Returns how many runs there were.
///
/// # Errors
/// The first run that breaks a law, and the plans of all others that do.
pub fn exhaust(calm: &Plan, menu: &Menu<'_>, judge: Judge<'_>) -> Result<u64, Box<Failure>> {
    let (record, violations) = judge(calm);
    let mut faults = Vec::new();
    let mut add = |trigger, actions: &[Action]| faults.extend(actions.iter().map(|&action| Fault { trigger, action }));
    for (index, wire) in record.trace.wires.iter().enumerate() {
        let delivered = record.trace.counts(index).delivered;
        for way in Way::BOTH {
            let at = |offset| Trigger::Bytes { wire: wire.name, way, offset };
            add(at(0), menu.at_beginnings);
            for offset in 0..=delivered[way as usize] {
                add(at(offset), menu.at_bytes);
                add(at(offset), if way == Way::In { menu.at_bytes_in } else { &[] });
            }
        }
    }
    (1..=record.operations).for_each(|number| add(Trigger::Operation(number), menu.at_operations));
    let mut first = None;
    note(&mut first, record, violations);
    let mut runs = 1;
    for fault in faults {
        let (record, violations) = judge(&calm.with(fault));
        note(&mut first, record, violations);
        runs += 1;
    }
    first.map_or(Ok(runs), Err)
}

/// Keeps the first run that fails, and a line of each other one.
fn note(first: &mut Option<Box<Failure>>, record: Record, violations: Vec<Violation>) {
    let Some(violation) = violations.first() else { return };
    match first {
        Some(first) => first.others.push(format!("{}: {violation}", record.plan)),
        None => *first = Some(Box::new(Failure { found_as: None, record, violations, others: Vec::new() })),
    }
}

/// How far a search at random goes, and what it varies beside faults, buffers and schedules.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The first seed; the others follow it.
    pub seed: u64,
    /// How many runs of each scenario at least.
    pub runs: u64,
    /// How many further ones, until this moment.
    pub until: Option<Instant>,
    /// Options of the scenarios, each with the values that it may have.
    pub options: &'a [(&'a str, &'a [u64])],
}

impl<'a> Search<'a> {
    /// What the environment asks for: `SHEAVE_SIM_RUNS` runs of each scenario (default: `runs`), beginning with seed
    /// `SHEAVE_SIM_SEED` (default: 0), and more of them for `SHEAVE_SIM_SECONDS` (default: none).
    pub fn from_env(runs: u64, options: &'a [(&'a str, &'a [u64])]) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let until =
            number("SHEAVE_SIM_SECONDS").map(|seconds| Instant::now() + std::time::Duration::from_secs(seconds));
        let (seed, runs) = (number("SHEAVE_SIM_SEED").unwrap_or(0), number("SHEAVE_SIM_RUNS").unwrap_or(runs));
        Self { seed, runs, until, options }
    }
}

/// Runs with several faults, buffers and schedules at random. Returns how many there were.
///
/// # Errors
/// The first run that breaks a law, shrunk.
pub fn search(scenarios: &[String], search: &Search<'_>, judge: Judge<'_>) -> Result<u64, Box<Failure>> {
    let shape = |scenario| {
        let (record, _) = judge(&Plan::calm(scenario));
        let names = record.trace.wires.iter().map(|wire| wire.name);
        let wires = names.enumerate().map(|(index, name)| (name, record.trace.counts(index).delivered)).collect();
        Shape { wires, operations: record.operations, options: search.options }
    };
    let shapes: Vec<_> = scenarios.iter().map(|scenario| (scenario, shape(scenario))).collect();
    let mut round = 0;
    let mut runs = 0;
    while round < search.runs || search.until.is_some_and(|until| Instant::now() < until) {
        for (place, (scenario, shape)) in shapes.iter().enumerate() {
            let seed = search.seed.wrapping_add(round);
            let mut rng = Rng::new(seed ^ (place as u64) << 48);
            let plan = rng.plan(scenario, seed, shape);
            let (record, violations) = judge(&plan);
            runs += 1;
            if !violations.is_empty() {
                let failure = Failure { found_as: None, record, violations, others: Vec::new() };
                return Err(Box::new(shrink(failure, judge)));
            }
        }
        round += 1;
    }
    Ok(runs)
}
