//! The measurement as Markdown for people and as JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::contenders::BASE;
use super::environment::Facts;
use super::measure::Sample;
use super::scenario::Scenario;
use super::statistics::Spread;

/// Fewer rounds than this make no ratio: a neighbour's noise would pass for a result.
const ROUNDS_FOR_A_RATIO: usize = 5;

/// All samples of one scenario.
pub(super) struct Measured {
    scenario: &'static Scenario,
    contenders: Vec<(&'static str, Vec<Sample>)>,
}

impl Measured {
    pub(super) fn new(scenario: &'static Scenario, names: impl Iterator<Item = &'static str>) -> Self {
        Self { scenario, contenders: names.map(|name| (name, Vec::new())).collect() }
    }

    pub(super) fn push(&mut self, contender: usize, sample: Sample) {
        self.contenders[contender].1.push(sample);
    }

    fn cpu_us(&self, name: &str) -> Vec<f64> {
        let samples = self.contenders.iter().filter(|(one, _)| *one == name).flat_map(|(_, samples)| samples);
        samples.map(|sample| sample.cpu_us).collect()
    }

    /// CPU per request against the base's, from enough rounds.
    fn ratio(&self, name: &str) -> Option<Spread> {
        let (ours, theirs) = (self.cpu_us(name), self.cpu_us(BASE));
        (ours.len() >= ROUNDS_FOR_A_RATIO).then(|| Spread::of_ratios(&ours, &theirs)).flatten()
    }

    fn table(&self) -> String {
        let mut text = format!("### {}: {}\n\n", self.scenario.name, self.scenario.about);
        text.push_str(
            "| proxy | CPU per request, µs | ratio to nginx | requests/s | 99 % within, ms | its core, busy |\n",
        );
        text.push_str("|---|---:|---:|---:|---:|---:|\n");
        for (name, samples) in &self.contenders {
            let of = |field: fn(&Sample) -> f64| Spread::of(&samples.iter().map(field).collect::<Vec<_>>());
            let (Some(cpu), Some(rate)) = (of(|one| one.cpu_us), of(|one| one.per_second)) else { continue };
            let (Some(p99), Some(busy)) = (of(|one| one.p99_ms), of(|one| one.busy)) else { continue };
            let ratio = self.ratio(name).map_or("too few rounds".to_owned(), |spread| ranged(spread, 2));
            let _ = writeln!(
                text,
                "| {name} | {} | {ratio} | {:.0} | {:.2} | {:.0} % |",
                ranged(cpu, 2),
                rate.median,
                p99.median,
                busy.median * 100.0
            );
        }
        text
    }

    fn json(&self) -> Value {
        let contenders: Vec<Value> = self
            .contenders
            .iter()
            .map(|(name, samples)| {
                let spread = |spread: Option<Spread>| {
                    spread.map(|it| json!({"median": it.median, "min": it.min, "max": it.max}))
                };
                let samples_json: Vec<Value> = samples
                    .iter()
                    .map(|one| {
                        json!({
                            "requests": one.requests, "cpu_us": one.cpu_us, "requests_per_second": one.per_second,
                            "busy": one.busy, "p99_ms": one.p99_ms,
                        })
                    })
                    .collect();
                json!({
                    "name": name, "cpu_us_per_request": spread(Spread::of(&self.cpu_us(name))),
                    "ratio_to_nginx": spread(self.ratio(name)), "samples": samples_json,
                })
            })
            .collect();
        json!({"name": self.scenario.name, "about": self.scenario.about, "contenders": contenders})
    }
}

/// `median (min–max)`.
fn ranged(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.min, spread.max)
}

/// The whole run.
pub(super) struct Report {
    facts: Facts,
    rounds: usize,
    time: Duration,
    scenarios: Vec<Measured>,
}

impl Report {
    pub(super) fn new(facts: Facts, rounds: usize, time: Duration) -> Self {
        Self { facts, rounds, time, scenarios: Vec::new() }
    }

    pub(super) fn add(&mut self, measured: Measured) {
        self.scenarios.push(measured);
    }

    pub(super) fn add_fact(&mut self, name: &'static str, value: String) {
        self.facts.0.push((name, value));
    }

    /// What takes part, as a list.
    pub(super) fn facts(&self) -> String {
        self.facts.0.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "- {name}: {value}");
            text
        })
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = self.facts();
        let _ = writeln!(
            text,
            "\nCPU time (user and system) of all processes of a proxy, divided by the requests that wrk got answered; \
             median (min–max) of {} rounds of {} s each, the proxies in turn within a round. The ratio is taken round \
             by round. Each proxy has one worker on a core of its own; load and origin share the other. No access log, \
             connections to the origin kept alive. Where a proxy's core is not busy, load and origin were the limit: its \
             CPU per request is right, its requests/s are not its own.",
            self.rounds,
            self.time.as_secs()
        );
        for scenario in &self.scenarios {
            let _ = write!(text, "\n{}", scenario.table());
        }
        text
    }

    pub(super) fn json(&self) -> Result<String> {
        let facts: serde_json::Map<String, Value> =
            self.facts.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let scenarios: Vec<Value> = self.scenarios.iter().map(Measured::json).collect();
        let value = json!({
            "facts": facts, "rounds": self.rounds, "seconds": self.time.as_secs(), "scenarios": scenarios,
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::SCENARIOS;
    use super::*;

    fn measured(rounds: usize) -> Measured {
        let mut measured = Measured::new(&SCENARIOS[0], ["sheave", BASE].into_iter());
        for _ in 0..rounds {
            for (index, cpu_us) in [8.0, 10.0].into_iter().enumerate() {
                measured.push(index, Sample { requests: 1, cpu_us, per_second: 1.0, busy: 1.0, p99_ms: 1.0 });
            }
        }
        measured
    }

    #[test]
    fn five_rounds_make_a_ratio_and_four_do_not() {
        assert!(measured(5).table().contains("| sheave | 8.00 (8.00–8.00) | 0.80 (0.80–0.80) |"));
        assert!(measured(4).table().contains("| sheave | 8.00 (8.00–8.00) | too few rounds |"));
        assert_eq!(measured(4).json()["contenders"][0]["ratio_to_nginx"], Value::Null);
    }
}
