//! What the hot path costs in instructions, held against a baseline: a rise is a decision, with its reason, or a mistake.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;
use serde_json::{Value, json};

use crate::gate::Outcome;
use crate::{command, peers, tools, workspace};

/// The baseline, in the repository.
const BASELINE: &str = "bench/instructions.json";

/// A rise beyond this share fails the gate; a fall beyond it asks to be recorded.
const TOLERANCE: f64 = 0.02;

/// Each case runs with both numbers of rounds: what is done once falls out of the difference.
const ROUNDS: [u64; 2] = [20, 120];

const REPEAT: &str = "cargo xtask instructions";

/// What to count, and what to do with it.
#[derive(Default)]
pub(crate) struct Options {
    /// Names of cases; all when empty.
    pub(crate) cases: Vec<String>,
    /// Write what is counted into the baseline, for this reason.
    pub(crate) accept: Option<String>,
    /// Keep callgrind's profile of each case below the target folder.
    pub(crate) profile: bool,
}

/// One case of the baseline.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    instructions: f64,
    /// Why it is what it is.
    reason: String,
}

/// The baseline: counts, and what they were made with. Another compiler makes other instructions.
#[derive(Clone, Debug, Default, PartialEq)]
struct Baseline {
    made_with: String,
    cases: BTreeMap<String, Entry>,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Same,
    Fell,
    Rose,
    /// There is no baseline for it.
    New,
}

/// Counts, and prints each beside its baseline; `false` when one rose.
pub(crate) fn run(options: &Options) -> Result<bool> {
    match judged(options)? {
        Outcome::Failed(_) => Ok(false),
        Outcome::PassedWithout(what) => {
            println!("not compared: {what}");
            Ok(true)
        }
        Outcome::Passed => Ok(true),
    }
}

/// As a step of the gate.
pub(crate) fn check() -> Result<Outcome> {
    judged(&Options::default())
}

fn judged(options: &Options) -> Result<Outcome> {
    tools::need(&[tools::VALGRIND])?;
    let program = build()?;
    let known = command::output(Command::new(&program).arg("list"))?;
    let known: Vec<&str> = known.lines().collect();
    if let Some(unknown) = options.cases.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no case `{unknown}`; they are {}", known.join(", "));
    }
    let chosen: Vec<&str> = known
        .iter()
        .copied()
        .filter(|name| options.cases.is_empty() || options.cases.iter().any(|one| one == name))
        .collect();
    let counts = count_all(&program, &chosen, options.profile)?;

    let path = workspace::root().join(BASELINE);
    let baseline = Baseline::parse(&fs::read_to_string(&path).unwrap_or_default())?;
    let made_with = made_with()?;
    let is_comparable = baseline.made_with == made_with;
    println!("instructions a round, against {BASELINE}:");
    let mut rose = Vec::new();
    for (name, count) in &counts {
        let change = baseline.change(name, *count);
        println!("  {}", told(name, *count, baseline.cases.get(name), change));
        if matches!(change, Change::Rose | Change::New) {
            rose.push(name.as_str());
        }
    }
    if let Some(reason) = &options.accept {
        let accepted = baseline.accepting(&counts, reason, &made_with, &known);
        fs::write(&path, accepted.text()?).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
        return Ok(Outcome::Passed);
    }
    if !is_comparable {
        return Ok(Outcome::PassedWithout(format!(
            "instructions: the baseline was made with {}, this is {made_with}",
            baseline.made_with
        )));
    }
    let stale: Vec<&String> = baseline.cases.keys().filter(|name| !known.contains(&name.as_str())).collect();
    let unexplained = unexplained(&baseline)?;
    for name in &stale {
        println!("  {name} is in the baseline, but no case any more");
    }
    for name in &unexplained {
        println!("  {name} rose in the baseline without a reason of its own");
    }
    if rose.is_empty() && stale.is_empty() && unexplained.is_empty() {
        return Ok(Outcome::Passed);
    }
    if !rose.is_empty() {
        println!(
            "{}: more than {:.0} % above the baseline, or not in it. Either there is a cheaper way, or the cost has a \
             reason: {REPEAT} {} --accept 'THE REASON', in the same commit.",
            rose.join(", "),
            TOLERANCE * 100.0,
            rose.join(" ")
        );
    }
    Ok(Outcome::Failed(REPEAT.to_owned()))
}

fn told(name: &str, count: f64, entry: Option<&Entry>, change: Change) -> String {
    let Some(entry) = entry else { return format!("{name:<24} {count:>10.1}  new") };
    let percent = (count / entry.instructions - 1.0) * 100.0;
    let verdict = match change {
        Change::Same | Change::New => "",
        Change::Fell => "  fell: record it, so that a later rise is seen",
        Change::Rose => "  ROSE",
    };
    format!("{name:<24} {count:>10.1}  {percent:>+6.1} %{verdict}")
}

/// The work as a program, built as it is released.
fn build() -> Result<PathBuf> {
    let mut build = workspace::cargo();
    build.args(["bench", "--no-run", "--package", "sheave", "--bench", "instructions"]);
    println!("$ {}", command::line(&build));
    build.args(["--quiet", "--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = build.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the work does not build; the compiler's words stand above");
    let mut program = None;
    for message in Message::parse_stream(output.stdout.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == "instructions"
        {
            program = artifact.executable.or(program);
        }
    }
    Ok(program.context("cargo built no program `instructions`")?.into())
}

/// Instructions a round of each case, two cases at a time.
fn count_all(program: &Path, names: &[&str], profile: bool) -> Result<BTreeMap<String, f64>> {
    let waiting = Mutex::new(names.iter());
    let counted = Mutex::new(BTreeMap::new());
    let worker = || -> Result<()> {
        loop {
            let next = waiting.lock().map_err(|_| anyhow::anyhow!("a counter panicked"))?.next();
            let Some(name) = next else { return Ok(()) };
            let [few, many] = ROUNDS;
            let difference = count(program, name, many, profile)? - count(program, name, few, false)?;
            let each = difference as f64 / (many - few) as f64;
            counted.lock().map_err(|_| anyhow::anyhow!("a counter panicked"))?.insert((*name).to_owned(), each);
        }
    };
    thread::scope(|scope| {
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("a counter panicked")))
    })?;
    counted.into_inner().map_err(|_| anyhow::anyhow!("a counter panicked"))
}

/// Instructions of the whole program.
///
/// Nothing may vary from run to run: valgrind lays memory out the same way each time, and the environment, whose size
/// moves the stack, is empty.
fn count(program: &Path, name: &str, rounds: u64, profile: bool) -> Result<u64> {
    let mut valgrind = Command::new(tools::VALGRIND.path()?);
    let out = match profile {
        true => workspace::target_dir().join(format!("callgrind.{name}.out")).display().to_string(),
        false => "/dev/null".to_owned(),
    };
    valgrind.args(["--tool=callgrind", "--dump-instr=no"]).arg(format!("--callgrind-out-file={out}"));
    valgrind.arg(program).arg(name).arg(rounds.to_string()).env_clear();
    let output = command::capture(&mut valgrind)?;
    let said = command::both(&output);
    ensure!(output.status.success(), "{} failed ({}):\n{said}", command::line(&valgrind), output.status);
    if profile {
        println!("  callgrind_annotate {out}");
    }
    collected(&said).with_context(|| format!("callgrind printed no count for {name}:\n{said}"))
}

/// `==42== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// What decides which instructions are made, and how they are counted.
fn made_with() -> Result<String> {
    let rustc = peers::version_of(Path::new("rustc"), "-V");
    let valgrind = peers::version_of(&tools::VALGRIND.path()?, "--version");
    // memchr, memcpy and their like choose by what the processor can do.
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let vectors = if flags.split(' ').any(|flag| flag == "avx2") { "AVX2" } else { "no AVX2" };
    Ok(format!("{rustc}, {valgrind}, {}, {vectors}", workspace::host()?))
}

/// Cases that rose against the committed baseline, but kept its reason: beside the last commit when the file is as
/// committed, else beside the commit in hand.
fn unexplained(now: &Baseline) -> Result<Vec<String>> {
    let committed = |revision: &str| {
        let mut git = Command::new("git");
        git.current_dir(workspace::root()).args(["show", &format!("{revision}:{BASELINE}")]);
        command::output(&mut git).ok().map(|text| Baseline::parse(&text)).transpose()
    };
    let before = match committed("HEAD")? {
        Some(head) if head == *now => committed("HEAD~1")?,
        other => other,
    };
    Ok(before.map(|before| now.unexplained_since(&before)).unwrap_or_default())
}

impl Baseline {
    fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_str(text).with_context(|| format!("{BASELINE} is no JSON"))?;
        let made_with = value["made_with"].as_str().with_context(|| format!("{BASELINE} has no `made_with`"))?;
        let cases = value["cases"].as_object().with_context(|| format!("{BASELINE} has no `cases`"))?;
        let entry = |(name, value): (&String, &Value)| {
            let instructions = value["instructions"].as_f64().with_context(|| format!("{name}: no `instructions`"))?;
            let reason = value["reason"].as_str().unwrap_or_default().trim().to_owned();
            ensure!(!reason.is_empty(), "{BASELINE}: {name} has no reason");
            Ok((name.clone(), Entry { instructions, reason }))
        };
        Ok(Self { made_with: made_with.to_owned(), cases: cases.iter().map(entry).collect::<Result<_>>()? })
    }

    fn text(&self) -> Result<String> {
        let entry = |(name, entry): (&String, &Entry)| {
            (name.clone(), json!({"instructions": entry.instructions, "reason": entry.reason}))
        };
        let cases: serde_json::Map<String, Value> = self.cases.iter().map(entry).collect();
        Ok(serde_json::to_string_pretty(&json!({"made_with": self.made_with, "cases": cases}))? + "\n")
    }

    fn change(&self, name: &str, count: f64) -> Change {
        match self.cases.get(name) {
            None => Change::New,
            Some(entry) if count > entry.instructions * (1.0 + TOLERANCE) => Change::Rose,
            Some(entry) if count < entry.instructions * (1.0 - TOLERANCE) => Change::Fell,
            Some(_) => Change::Same,
        }
    }

    /// What was counted now, with this reason wherever it is another number; cases that are no more are gone.
    fn accepting(&self, counts: &BTreeMap<String, f64>, reason: &str, made_with: &str, known: &[&str]) -> Self {
        let mut cases = self.cases.clone();
        cases.retain(|name, _| known.contains(&name.as_str()));
        for (name, count) in counts {
            if self.change(name, *count) != Change::Same || self.made_with != made_with {
                cases.insert(name.clone(), Entry { instructions: *count, reason: reason.to_owned() });
            }
        }
        Self { made_with: made_with.to_owned(), cases }
    }

    fn unexplained_since(&self, before: &Self) -> Vec<String> {
        let rose = |(name, now): &(&String, &Entry)| {
            before.cases.get(*name).is_some_and(|before| {
                now.instructions > before.instructions * (1.0 + TOLERANCE) && now.reason == before.reason
            })
        };
        self.cases.iter().filter(rose).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(cases: &[(&str, f64, &str)]) -> Baseline {
        let entry = |(name, instructions, reason): &(&str, f64, &str)| {
            ((*name).to_owned(), Entry { instructions: *instructions, reason: (*reason).to_owned() })
        };
        Baseline { made_with: "x".to_owned(), cases: cases.iter().map(entry).collect() }
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written_and_needs_reasons() {
        let one = baseline(&[("a", 10.5, "first")]);
        assert_eq!(Baseline::parse(&one.text().unwrap()).unwrap(), one);
        assert!(Baseline::parse(&baseline(&[("a", 1.0, " ")]).text().unwrap()).is_err());
        assert!(Baseline::parse("{").is_err());
    }

    #[test]
    fn two_percent_are_the_same_and_more_is_not() {
        let one = baseline(&[("a", 1000.0, "first")]);
        for (count, change) in
            [(1020.0, Change::Same), (1020.1, Change::Rose), (980.0, Change::Same), (979.9, Change::Fell)]
        {
            assert_eq!(one.change("a", count), change, "{count}");
        }
        assert_eq!(one.change("b", 1.0), Change::New);
    }

    #[test]
    fn what_is_accepted_has_the_reason_and_the_rest_keeps_its_own() {
        let one = baseline(&[("a", 1000.0, "first"), ("b", 1000.0, "first"), ("gone", 1.0, "first")]);
        let counts = [("a", 1500.0), ("b", 1001.0)].map(|(name, count)| (name.to_owned(), count)).into();
        let accepted = one.accepting(&counts, "deadlines", "x", &["a", "b"]);
        assert_eq!(accepted, baseline(&[("a", 1500.0, "deadlines"), ("b", 1000.0, "first")]));
    }

    #[test]
    fn a_rise_needs_a_reason_of_its_own() {
        let before = baseline(&[("a", 1000.0, "first"), ("b", 1000.0, "first")]);
        let after = baseline(&[("a", 1100.0, "first"), ("b", 1100.0, "deadlines"), ("c", 1.0, "first")]);
        assert_eq!(after.unexplained_since(&before), ["a"]);
    }

    #[test]
    fn callgrind_s_count() {
        assert_eq!(collected("==42== Events    : Ir\n==42== Collected : 123456\n==42==\n"), Some(123_456));
        assert_eq!(collected("==42== nothing"), None);
    }
}
