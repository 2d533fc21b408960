//! The gate: every check that a change passes before it lands, step by step, with the command that repeats it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use cargo_metadata::Package;

use crate::{api, command, fuzz, instructions, layers, supply, workspace};

/// How much of the gate to run.
#[derive(Default)]
pub(crate) struct Options {
    /// Steps to leave out, by name.
    pub(crate) skip: Vec<String>,
    /// The only steps to run, by name; all when empty.
    pub(crate) only: Vec<String>,
    /// Name the steps instead of running them.
    pub(crate) list: bool,
    /// Random simulated runs per scenario; `None` leaves the tests' own number.
    pub(crate) sim_runs: Option<u64>,
}

impl Options {
    /// Refuses names that are no step: a misspelt `--skip` would run for nothing, a misspelt `--only` check nothing.
    pub(crate) fn check(&self) -> Result<(), String> {
        for name in self.skip.iter().chain(&self.only) {
            if !STEPS.iter().any(|step| step.name == name) {
                let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
                return Err(format!("there is no step `{name}`; the steps are {}", known.join(", ")));
            }
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|one| one == name)) && !self.skip.iter().any(|one| one == name)
    }
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Options) -> Result<Outcome>,
}

/// How a step ended.
pub(crate) enum Outcome {
    Passed,
    /// What was not checked, and why; the rest of the step passed.
    PassedWithout(String),
    /// The command that shows the failure again.
    Failed(String),
}

/// Cheap steps first: a misplaced blank is told in a second.
const STEPS: &[Step] = &[
    Step { name: "fmt", about: "every file is as rustfmt leaves it", run: fmt },
    Step { name: "layers", about: "no crate uses one that the table forbids", run: floors },
    Step { name: "clippy", about: "no warning from rustc or clippy, in any target", run: clippy },
    Step { name: "tests", about: "unit, integration, simulation and doc tests, and every example", run: tests },
    Step { name: "doc", about: "the documentation builds without a warning", run: doc },
    Step {
        name: "api",
        about: "the libraries promise what is recorded, and show the types that all share",
        run: promises,
    },
    Step { name: "features", about: "each crate builds alone, with each of its features", run: features },
    Step { name: "deny", about: "licences, bans, sources and advisories of all dependencies", run: supply::check },
    Step {
        name: "instructions",
        about: "the hot path costs what it cost, in instructions",
        run: |_| instructions::check(),
    },
    Step { name: "fuzz", about: "every fuzz target, for ten seconds", run: fuzz_smoke },
];

/// Runs the steps and sums up; `false` when one failed. A failure does not keep later steps from running: one round
/// tells everything that is wrong.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if options.list {
        for step in STEPS {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(true);
    }
    let began = Instant::now();
    let mut done = Vec::new();
    for step in STEPS {
        if !options.wants(step.name) {
            done.push((step.name, None, Duration::ZERO));
            continue;
        }
        println!("\n=== {}: {}", step.name, step.about);
        let start = Instant::now();
        // A step that cannot even be tried is a failed step, not the end of the gate.
        let outcome = (step.run)(options).unwrap_or_else(|error| {
            println!("{error:#}");
            Outcome::Failed(format!("cargo xtask ci --only {}", step.name))
        });
        let took = start.elapsed();
        println!("=== {} ({:.1} s): {}", step.name, took.as_secs_f64(), told(&outcome));
        done.push((step.name, Some(outcome), took));
    }
    println!("\nThe gate, {:.0} s in all:", began.elapsed().as_secs_f64());
    for (name, outcome, took) in &done {
        match outcome {
            Some(outcome) => println!("  {name:<12} {:>6.1} s  {}", took.as_secs_f64(), told(outcome)),
            None => println!("  {name:<12}      – s  left out, as asked"),
        }
    }
    Ok(!done.iter().any(|(_, outcome, _)| matches!(outcome, Some(Outcome::Failed(_)))))
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::PassedWithout(what) => format!("passed, but NOT CHECKED: {what}"),
        Outcome::Failed(repeat) => format!("FAILED; again with: {repeat}"),
    }
}

/// Runs commands in turn up to the first that fails.
fn all(commands: Vec<Command>) -> Result<Outcome> {
    for mut command in commands {
        println!("$ {}", command::line(&command));
        if !command::succeeds(&mut command)? {
            return Ok(Outcome::Failed(command::line(&command)));
        }
    }
    Ok(Outcome::Passed)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(arguments);
    cargo
}

fn fmt(_: &Options) -> Result<Outcome> {
    all(vec![cargo(&["fmt", "--check"]), cargo(&["fmt", "--check", "--manifest-path", fuzz::MANIFEST])])
}

fn floors(_: &Options) -> Result<Outcome> {
    Ok(if layers::check()? { Outcome::Passed } else { Outcome::Failed("cargo xtask layers".to_owned()) })
}

fn clippy(_: &Options) -> Result<Outcome> {
    let ours = cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]);
    all(vec![ours, fuzz::clippy()?])
}

fn tests(options: &Options) -> Result<Outcome> {
    let mut tests = cargo(&["test", "--workspace", "--all-features"]);
    if let Some(runs) = options.sim_runs {
        tests.env("SHEAVE_SIM_RUNS", runs.to_string());
    }
    all(vec![tests])
}

fn doc(_: &Options) -> Result<Outcome> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--all-features"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    all(vec![doc])
}

fn promises(_: &Options) -> Result<Outcome> {
    let is_fine = api::run(api::Options::default())?;
    Ok(if is_fine { Outcome::Passed } else { Outcome::Failed("cargo xtask api".to_owned()) })
}

/// In a workspace build, one crate's features leak into the others; alone, each must name what it needs.
fn features(_: &Options) -> Result<Outcome> {
    let metadata = workspace::metadata()?;
    let packages = metadata.workspace_packages();
    all(packages.iter().flat_map(|package| feature_matrix(package)).map(|line| cargo(&words(&line))).collect())
}

fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

/// The `cargo check` lines of one crate: as it is, without its default features, with each feature alone, with all.
fn feature_matrix(package: &Package) -> Vec<Vec<String>> {
    let line = |more: &[&str]| {
        let base = ["check", "--package", package.name.as_str()];
        base.iter().chain(more).map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let mut lines = vec![line(&[])];
    let features = package.features.keys().filter(|name| *name != "default");
    let single: Vec<Vec<String>> =
        features.map(|name| line(&["--no-default-features", "--features", name.as_str()])).collect();
    if !package.features.is_empty() {
        lines.push(line(&["--no-default-features"]));
        if single.len() > 1 {
            lines.extend(single);
        }
        lines.push(line(&["--all-features"]));
    }
    lines
}

fn fuzz_smoke(_: &Options) -> Result<Outcome> {
    let options = fuzz::Options { time: Duration::from_secs(10), ..fuzz::Options::default() };
    Ok(if fuzz::run(&options)? { Outcome::Passed } else { Outcome::Failed("cargo xtask fuzz --seconds 10".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: serde_json::Value) -> Package {
        serde_json::from_value(serde_json::json!({
            "name": "p", "version": "0.1.0", "id": "path+file:///x/p#0.1.0", "dependencies": [], "targets": [],
            "features": features, "manifest_path": "/x/p/Cargo.toml",
        }))
        .unwrap()
    }

    fn matrix(features: serde_json::Value) -> Vec<String> {
        feature_matrix(&package(features)).iter().map(|line| line[3..].join(" ")).collect()
    }

    #[test]
    fn every_feature_is_built_alone_and_together() {
        assert_eq!(matrix(serde_json::json!({})), [""]);
        assert_eq!(matrix(serde_json::json!({"tls": []})), ["", "--no-default-features", "--all-features"]);
        assert_eq!(
            matrix(serde_json::json!({"default": ["a"], "a": [], "b": []})),
            [
                "",
                "--no-default-features",
                "--no-default-features --features a",
                "--no-default-features --features b",
                "--all-features"
            ]
        );
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let options = Options { skip: vec!["tests".to_owned()], ..Options::default() };
        assert!(options.check().is_ok() && !options.wants("tests") && options.wants("fmt"));
        let options = Options { only: vec!["fmt".to_owned()], ..Options::default() };
        assert!(options.wants("fmt") && !options.wants("tests"));
        let options = Options { skip: vec!["test".to_owned()], ..Options::default() };
        assert!(options.check().unwrap_err().contains("there is no step `test`"));
    }
}
