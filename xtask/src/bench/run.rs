//! The run: A B C A B C …, told as it goes, then as a table.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::contenders::{Contender, Peer, Place, Started};
use super::environment::{self, Cores, Facts};
use super::measure::{self, Sample};
use super::neighbours::Neighbours;
use super::picture;
use super::programs::Programs;
use super::report::{Measured, Report};
use super::scenario::{CURVES, Class, SCENARIOS, Scenario, Work};
use crate::{tools, workspace};

/// What to measure.
pub(crate) struct Options {
    /// Names from the table of scenarios, `growth` or `all`; the first one when empty.
    pub(crate) scenarios: Vec<String>,
    /// The only contenders, by name; all when empty.
    pub(crate) with: Vec<String>,
    /// Proxies that are compared beside the known ones.
    pub(crate) peers: Vec<Peer>,
    /// Rounds A B C for each scenario.
    pub(crate) rounds: usize,
    /// Time of one sample, its warm-up not counted.
    pub(crate) time: Duration,
    /// Where every sample goes, for machines.
    pub(crate) json: Option<PathBuf>,
    /// Where the tables go, for people.
    pub(crate) md: Option<PathBuf>,
    /// Where the picture goes.
    pub(crate) svg: Option<PathBuf>,
    /// A sheave that is built already; `None` builds the release binary.
    pub(crate) binary: Option<PathBuf>,
    /// Name the scenarios instead of running them.
    pub(crate) list: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: Vec::new(),
            with: Vec::new(),
            peers: Vec::new(),
            rounds: 5,
            time: Duration::from_secs(5),
            json: None,
            md: None,
            svg: None,
            binary: None,
            list: false,
        }
    }
}

/// Measures and reports; `false` when the inner run in its own network failed and has said why.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.list {
        SCENARIOS.iter().for_each(|scenario| println!("{:<17} {}", scenario.name, scenario.about));
        return Ok(true);
    }
    let scenarios = chosen(&options.scenarios)?;
    let contenders = Contender::all(&options.peers);
    if let Some(name) = options.with.iter().find(|name| contenders.iter().all(|one| one.name != **name)) {
        bail!("there is no contender `{name}`");
    }
    if let Some(inner) = environment::in_a_network_of_its_own()? {
        return Ok(inner);
    }
    tools::need(&[tools::CMAKE, tools::CURL, tools::H2LOAD, tools::HAPROXY, tools::NGINX, tools::WRK])?;
    let programs = Programs::build(options.binary.as_deref())?;
    let needed = scenarios.iter().map(|scenario| scenario.descriptors()).max().unwrap_or(0);
    let descriptors = environment::raise_descriptor_limit(needed)?;
    let (scenarios, beyond): (Vec<_>, Vec<_>) = scenarios.into_iter().partition(|one| one.descriptors() <= descriptors);
    for scenario in beyond {
        println!(
            "without {}: it needs {} open files, {descriptors} are allowed",
            scenario.name,
            scenario.descriptors()
        );
    }
    let origins = scenarios.iter().map(|scenario| scenario.origins).max().unwrap_or(1);
    let cores = Cores::choose()?;
    let folder = workspace::target_dir().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let mut report = Report::new(Facts::gather(programs.sheave())?, options.rounds, options.time);
    print!("{}", report.facts());
    let neighbours = Neighbours::now()?;
    let place = Place::prepare(programs, cores, &folder, descriptors, origins)?;
    for (index, scenario) in scenarios.iter().enumerate() {
        println!("\n{} of {}: {}: {}", index + 1, scenarios.len(), scenario.name, scenario.about);
        report.add(measure_all(scenario, &contenders, &place, options)?);
        // What was measured is not lost to what comes.
        write_all(&report, options)?;
    }
    let share = neighbours.share_since()? * 100.0;
    report.add_fact("others, meanwhile", format!("{share:.0} % of all cores"));
    if share > 10.0 {
        println!("\nThis machine was not ours alone: others used {share:.0} % of it. Measure again when it is quiet.");
    }
    println!("\n{}", report.markdown());
    for path in write_all(&report, options)? {
        println!("written: {}", path.display());
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
    let growth = CURVES.iter().flat_map(|curve| curve.points).map(|(_, name)| *name);
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        match name.as_str() {
            "growth" => wanted.extend(growth.clone()),
            name => wanted.push(name),
        }
    }
    let mut seen = std::collections::HashSet::new();
    wanted.retain(|name| seen.insert(*name));
    let find = |name: &str| {
        let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario `{name}`; they are {}, `growth` or `all`", known()))
    };
    wanted.into_iter().map(find).collect()
}

/// Starts all who can take part, then samples them round by round.
fn measure_all(
    scenario: &'static Scenario,
    contenders: &[Contender],
    place: &Place,
    options: &Options,
) -> Result<Measured> {
    let wanted = |one: &&Contender| options.with.is_empty() || options.with.contains(&one.name);
    let mut present: Vec<(&Contender, Option<Started>)> = Vec::new();
    let mut left_out = Vec::new();
    for contender in contenders.iter().filter(wanted).filter(|one| one.takes_part(scenario)) {
        match measure::gather(scenario, contender, place) {
            Ok(started) => present.push((contender, started)),
            Err(error) => {
                println!("  without {}: {error:#}", contender.name);
                left_out.push((contender.name.clone(), format!("{error:#}").lines().collect::<Vec<_>>().join(" ")));
            }
        }
    }
    let mut measured = Measured::new(scenario, present.iter().map(|(contender, _)| contender.name.clone()));
    left_out.into_iter().for_each(|(name, why)| measured.leave_out(name, why));
    for round in 1..=options.rounds {
        print!("  round {round} of {}:", options.rounds);
        for (index, (contender, started)) in present.iter().enumerate() {
            std::io::stdout().flush()?;
            let sample = sample(scenario, contender, started.as_ref(), place, options.time)?;
            let unit = if scenario.work.is_memory() { "B" } else { "µs" };
            print!("  {} {:.2} {unit}", contender.name, sample.cost);
            measured.push(index, sample);
        }
        println!();
    }
    Ok(measured)
}

fn sample(
    scenario: &Scenario,
    contender: &Contender,
    started: Option<&Started>,
    place: &Place,
    time: Duration,
) -> Result<Sample> {
    match (scenario.class, scenario.work, started) {
        (Class::Clients, Work::Calls { at_once }, _) => measure::client(contender, at_once, place, time),
        (_, _, Some(started)) => measure::cpu(started, scenario, place, time),
        _ => measure::memory(contender, scenario, place),
    }
}

/// Writes what was asked for, as far as it is measured; where to.
fn write_all<'o>(report: &Report, options: &'o Options) -> Result<Vec<&'o Path>> {
    let mut written = Vec::new();
    let mut write = |path: &'o Option<PathBuf>, text: String| {
        let Some(path) = path else { return Ok(()) };
        // The inner run stands where the outer one was called, so relative paths mean what they meant.
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path.as_path());
        anyhow::Ok(())
    };
    write(&options.md, report.markdown())?;
    write(&options.json, report.json()?)?;
    if let Some(picture) = picture::draw(&report.scenarios, &report.caption()) {
        write(&options.svg, picture)?;
    }
    Ok(written)
}
