//! The measurement as Markdown for people and as JSON for machines.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::environment::Facts;
use super::measure::Sample;
use super::scenario::{CURVES, Curve, Scenario};
use super::statistics::Spread;

/// Fewer rounds than this make no ratio: a neighbour's noise would pass for a result.
const ROUNDS_FOR_A_RATIO: usize = 5;

/// All samples of one scenario.
pub(super) struct Measured {
    pub(super) scenario: &'static Scenario,
    contenders: Vec<(String, Vec<Sample>)>,
    /// Who could not take part, and why.
    left_out: Vec<(String, String)>,
}

impl Measured {
    pub(super) fn new(scenario: &'static Scenario, names: impl Iterator<Item = String>) -> Self {
        Self { scenario, contenders: names.map(|name| (name, Vec::new())).collect(), left_out: Vec::new() }
    }

    pub(super) fn push(&mut self, contender: usize, sample: Sample) {
        self.contenders[contender].1.push(sample);
    }

    pub(super) fn leave_out(&mut self, name: String, why: String) {
        self.left_out.push((name, why));
    }

    fn costs(&self, name: &str) -> Vec<f64> {
        let samples = self.contenders.iter().filter(|(one, _)| *one == name).flat_map(|(_, samples)| samples);
        samples.map(|sample| sample.cost).collect()
    }

    /// Cost against the base's, from enough rounds.
    fn ratio(&self, name: &str) -> Option<Spread> {
        let (ours, theirs) = (self.costs(name), self.costs(self.scenario.class.base()));
        (ours.len() >= ROUNDS_FOR_A_RATIO).then(|| Spread::of_ratios(&ours, &theirs)).flatten()
    }

    /// Names and median ratios, of those who have one.
    pub(super) fn ratios(&self) -> Vec<(&str, f64)> {
        let of = |name: &'_ String| self.ratio(name).map(|spread| spread.median);
        self.contenders.iter().filter_map(|(name, _)| Some((name.as_str(), of(name)?))).collect()
    }

    fn table(&self) -> String {
        let (scenario, base) = (self.scenario, self.scenario.class.base());
        let mut text = format!("### {}: {}\n\n", scenario.name, scenario.about);
        let is_memory = scenario.work.is_memory();
        match scenario.aim {
            Some(aim) if is_memory => drop(write!(text, "sheave is to stay within {aim:.0} bytes.\n\n")),
            Some(aim) => drop(write!(text, "sheave is to stay within {aim:.2} × {base}.\n\n")),
            None => {}
        }
        text.push_str(&if is_memory {
            format!("| | bytes a connection | ratio to {base} | kept after the close |\n|---|---:|---:|---:|\n")
        } else {
            format!(
                "| | CPU per request, µs | ratio to {base} | requests/s | 99 % within, ms | its core, busy |\n\
                 |---|---:|---:|---:|---:|---:|\n"
            )
        });
        for (name, samples) in &self.contenders {
            let Some(cost) = Spread::of(&self.costs(name)) else { continue };
            let median = |field: fn(&Sample) -> Option<f64>, shown: fn(f64) -> String| {
                let numbers: Vec<f64> = samples.iter().filter_map(field).collect();
                Spread::of(&numbers).map_or("–".to_owned(), |spread| shown(spread.median))
            };
            let _ = write!(text, "| {name} | {} | ", ranged(cost, if is_memory { 0 } else { 2 }));
            text.push_str(&match self.ratio(name) {
                Some(spread) => ranged(spread, 2),
                None if samples.len() < ROUNDS_FOR_A_RATIO => "too few rounds".to_owned(),
                None => "–".to_owned(),
            });
            let _ = if is_memory {
                writeln!(text, " | {} |", median(|one| one.kept, |bytes| format!("{bytes:.0}")))
            } else {
                writeln!(
                    text,
                    " | {} | {} | {} |",
                    median(|one| one.per_second, |rate| format!("{rate:.0}")),
                    median(|one| one.p99_ms, |p99| format!("{p99:.2}")),
                    median(|one| one.busy, |busy| format!("{:.0} %", busy * 100.0)),
                )
            };
        }
        if !self.left_out.is_empty() {
            text.push_str("\nNot measured:\n\n");
        }
        for (name, why) in &self.left_out {
            let _ = writeln!(text, "- {name}: {why}");
        }
        text
    }

    fn json(&self) -> Value {
        let spread =
            |spread: Option<Spread>| spread.map(|it| json!({"median": it.median, "min": it.min, "max": it.max}));
        let contender = |(name, samples): &(String, Vec<Sample>)| {
            let sample = |one: &Sample| {
                json!({
                    "cost": one.cost, "count": one.count, "per_second": one.per_second, "busy": one.busy,
                    "p99_ms": one.p99_ms, "kept": one.kept,
                })
            };
            json!({
                "name": name, "cost": spread(Spread::of(&self.costs(name))), "ratio": spread(self.ratio(name)),
                "samples": samples.iter().map(sample).collect::<Vec<_>>(),
            })
        };
        let unit = if self.scenario.work.is_memory() { "bytes a connection" } else { "µs of CPU per request" };
        let left_out = |(name, why): &(String, String)| json!({"name": name, "why": why});
        json!({
            "name": self.scenario.name, "about": self.scenario.about, "unit": unit, "aim": self.scenario.aim,
            "ratios_to": self.scenario.class.base(),
            "contenders": self.contenders.iter().map(contender).collect::<Vec<_>>(),
            "left_out": self.left_out.iter().map(left_out).collect::<Vec<_>>(),
        })
    }
}

/// One curve: medians by contender, and what they are of the first point's.
fn growth(curve: &Curve, points: &[(u32, &Measured)]) -> String {
    let unit = if points[0].1.scenario.work.is_memory() { "bytes a connection" } else { "µs of CPU per request" };
    let mut text = format!("\n### Growth: {}, {unit}\n\n| |", curve.about);
    points.iter().for_each(|(number, _)| text.push_str(&format!(" {number} |")));
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(points.len()));
    let names = points[0].1.contenders.iter().map(|(name, _)| name);
    // Who is not at every point has no curve.
    for name in names.filter(|name| points.iter().all(|(_, point)| !point.costs(name).is_empty())) {
        let medians: Vec<f64> =
            points.iter().filter_map(|(_, point)| Some(Spread::of(&point.costs(name))?.median)).collect();
        let _ = write!(text, "| {name} |");
        medians.iter().for_each(|median| text.push_str(&format!(" {median:.2} ({:.2} ×) |", median / medians[0])));
        text.push('\n');
    }
    text
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
    pub(super) scenarios: Vec<Measured>,
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

    /// The facts that a picture cannot do without, on one line.
    pub(super) fn caption(&self) -> String {
        let wanted = ["nginx", "HAProxy", "kernel", "congestion control"];
        let facts = self.facts.0.iter().filter(|(name, _)| wanted.contains(name));
        let values: Vec<&str> = facts.map(|(_, value)| value.as_str()).collect();
        format!("{}; medians of {} rounds", values.join(", "), self.rounds)
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = self.facts();
        let _ = writeln!(
            text,
            "\nCPU time (user and system) of all processes of a contender, divided by the requests that were answered; \
             median (min–max) of {} rounds of {} s each, the contenders in turn within a round. The ratio is taken round \
             by round. Each contender has one worker on a core of its own; load and origin share the other. Connections \
             to the origin are kept alive. The relays parse nothing and limit nothing: they are what moving the bytes \
             costs. Where a contender's core is not busy, load and origin were the limit: its CPU per request is right, \
             its requests/s are not its own. Memory is what the process holds for itself (anonymous pages), in a fresh \
             process each time.",
            self.rounds,
            self.time.as_secs()
        );
        for scenario in &self.scenarios {
            let _ = write!(text, "\n{}", scenario.table());
        }
        text + &self.curves()
    }

    /// How the cost of a unit of work grows, as far as two points of a curve were measured.
    fn curves(&self) -> String {
        let mut text = String::new();
        for curve in CURVES {
            let at = |name: &str| self.scenarios.iter().find(|one| one.scenario.name == name);
            let points: Vec<_> = curve.points.iter().filter_map(|(n, name)| Some((*n, at(name)?))).collect();
            if points.len() > 1 {
                text += &growth(curve, &points);
            }
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
        let mut measured = Measured::new(&SCENARIOS[0], ["sheave", "nginx"].map(str::to_owned).into_iter());
        for _ in 0..rounds {
            for (index, cost) in [8.0, 10.0].into_iter().enumerate() {
                measured.push(index, Sample { cost, count: 1, ..Sample::default() });
            }
        }
        measured
    }

    #[test]
    fn five_rounds_make_a_ratio_and_four_do_not() {
        assert!(measured(5).table().contains("| sheave | 8.00 (8.00–8.00) | 0.80 (0.80–0.80) |"));
        assert!(measured(4).table().contains("| sheave | 8.00 (8.00–8.00) | too few rounds |"));
        assert_eq!(measured(4).json()["contenders"][0]["ratio"], Value::Null);
        assert_eq!(measured(5).ratios(), [("sheave", 0.8), ("nginx", 1.0)]);
        assert_eq!(measured(4).ratios(), []);
    }

    #[test]
    fn a_curve_stands_where_two_points_do() {
        let at = |name: &str, cost: f64| {
            let scenario = SCENARIOS.iter().find(|one| one.name == name).unwrap();
            let mut measured = Measured::new(scenario, ["sheave".to_owned()].into_iter());
            measured.push(0, Sample { cost, count: 1, ..Sample::default() });
            measured
        };
        let mut report = Report::new(Facts(Vec::new()), 1, Duration::from_secs(1));
        report.add(at("get-1k-w2", 6.0));
        assert_eq!(report.curves(), "");
        report.add(at("get-1k", 8.0));
        let curve = "\n### Growth: workers, µs of CPU per request\n\n| | 1 | 2 |\n|---|---:|---:|\n\
                     | sheave | 8.00 (1.00 ×) | 6.00 (0.75 ×) |\n";
        assert_eq!(report.curves(), curve);
    }

    #[test]
    fn who_could_not_take_part_is_told() {
        let mut measured = measured(5);
        measured.leave_out("haproxy".to_owned(), "speaks no such thing".to_owned());
        assert!(measured.table().contains("Not measured:\n\n- haproxy: speaks no such thing\n"));
    }
}
