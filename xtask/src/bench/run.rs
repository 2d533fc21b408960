//! The run: A B C A B C …, told as it goes, then as a table.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::contenders::Field;
use super::environment::{self, Cores, Facts};
use super::measure;
use super::neighbours::Neighbours;
use super::report::{Measured, Report};
use super::scenario::{SCENARIOS, Scenario};
use crate::{tools, workspace};

/// What to measure.
pub(crate) struct Options {
    /// Names from the table of scenarios; the first one when empty.
    pub(crate) scenarios: Vec<String>,
    /// Rounds A B C for each scenario.
    pub(crate) rounds: usize,
    /// Time of one sample, its warm-up not counted.
    pub(crate) time: Duration,
    /// Where every sample goes, for machines.
    pub(crate) json: Option<PathBuf>,
    /// Where the tables go, for people.
    pub(crate) md: Option<PathBuf>,
    /// A sheave that is built already; `None` builds the release binary.
    pub(crate) binary: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let time = Duration::from_secs(5);
        Self { scenarios: Vec::new(), rounds: 5, time, json: None, md: None, binary: None }
    }
}

/// Measures and reports; `false` when the inner run in its own network failed and has said why.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let scenarios = chosen(&options.scenarios)?;
    if let Some(inner) = environment::in_a_network_of_its_own()? {
        return Ok(inner);
    }
    tools::need(&[tools::CURL, tools::WRK, tools::NGINX, tools::HAPROXY])?;
    let sheave = match &options.binary {
        Some(path) => path.canonicalize().with_context(|| format!("there is no binary {}", path.display()))?,
        None => workspace::release_binary()?,
    };
    let most = scenarios.iter().map(|scenario| u64::from(scenario.connections)).max().unwrap_or(0);
    // A proxy holds two descriptors a request.
    environment::raise_descriptor_limit(most * 2 + 256)?;
    let cores = Cores::choose()?;
    let folder = workspace::target_dir().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let mut report = Report::new(Facts::gather(&sheave)?, options.rounds, options.time);
    print!("{}", report.facts());
    let neighbours = Neighbours::now()?;
    let field = Field::start(&sheave, &cores, &folder)?;
    for scenario in scenarios {
        report.add(measure_all(scenario, &field, &cores, options)?);
    }
    let share = neighbours.share_since()? * 100.0;
    report.add_fact("others, meanwhile", format!("{share:.0} % of all cores"));
    if share > 10.0 {
        println!("\nThis machine was not ours alone: others used {share:.0} % of it. Measure again when it is quiet.");
    }
    let text = report.markdown();
    println!("\n{text}");
    if let Some(path) = &options.md {
        write(path, &text)?;
    }
    if let Some(path) = &options.json {
        write(path, &report.json()?)?;
    }
    Ok(true)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().take(1).collect());
    }
    if names.iter().any(|name| name == "all") {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario `{name}`; they are {}, or `all`", known()))
    };
    names.iter().map(find).collect()
}

fn measure_all(scenario: &'static Scenario, field: &Field, cores: &Cores, options: &Options) -> Result<Measured> {
    println!("\n{}: {}", scenario.name, scenario.about);
    for contender in &field.contenders {
        measure::answers_right(contender, scenario)?;
    }
    let mut measured = Measured::new(scenario, field.contenders.iter().map(|contender| contender.name));
    for round in 1..=options.rounds {
        print!("  round {round} of {}:", options.rounds);
        for (index, contender) in field.contenders.iter().enumerate() {
            std::io::stdout().flush()?;
            let sample = measure::sample(contender, scenario, cores, options.time)?;
            print!("  {} {:.2} µs", contender.name, sample.cpu_us);
            measured.push(index, sample);
        }
        println!();
    }
    Ok(measured)
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    // The inner run stands where the outer one was called, so relative paths mean what they meant.
    if let Err(error) = fs::write(path, text) {
        bail!("cannot write {}: {error}", path.display());
    }
    println!("written: {}", path.display());
    Ok(())
}
