//! Fuzzing on the stable toolchain: build the targets with coverage counters, run each for a bounded time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{command, tools, workspace};

/// The fuzz crate stands outside the workspace: its flags and its C++ runtime are nobody else's.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

/// What to fuzz, and for how long.
pub(crate) struct Options {
    /// Target names; all when empty.
    pub(crate) targets: Vec<String>,
    /// Time for each target.
    pub(crate) time: Duration,
    /// Run this one input instead, once.
    pub(crate) replay: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { targets: Vec::new(), time: Duration::from_secs(60), replay: None }
    }
}

/// Builds the targets and runs each; `false` when one found an input that breaks it.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let targets = chosen(&options.targets)?;
    // libFuzzer comes as C++ source with the crate libfuzzer-sys.
    tools::need(&[tools::CXX])?;
    let mut build = cargo("build")?;
    build.arg("--bins");
    println!("$ {}", command::line(&build));
    ensure!(command::succeeds(&mut build)?, "the fuzz targets do not build; the compiler's words stand above");
    let programs = build_dir().join(workspace::host()?).join("release");
    if let (Some(input), [target]) = (&options.replay, targets.as_slice()) {
        return command::succeeds(Command::new(programs.join(target)).arg(input));
    }
    let mut sound = true;
    for target in &targets {
        sound &= run_target(&programs.join(target), target, options.time)?;
    }
    Ok(sound)
}

/// Clippy over the targets, with the flags of their build so that nothing is compiled twice.
pub(crate) fn clippy() -> Result<Command> {
    tools::need(&[tools::CXX])?;
    let mut clippy = cargo("clippy")?;
    clippy.args(["--bins", "--", "-D", "warnings"]);
    Ok(clippy)
}

/// `--target` keeps the counters out of build scripts and macros, which have no libFuzzer to report to.
fn cargo(verb: &str) -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.args([verb, "--release", "--manifest-path", MANIFEST, "--target", &workspace::host()?]);
    cargo.env("CARGO_TARGET_DIR", build_dir()).env("RUSTFLAGS", RUSTFLAGS);
    Ok(cargo)
}

/// LLVM's coverage pass works on stable without a sanitizer; there is no unsafe code for one to watch.
const RUSTFLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

fn build_dir() -> PathBuf {
    workspace::target_dir().join("fuzz")
}

/// The named targets, or all: a target is a file in `fuzz/fuzz_targets`.
fn chosen(names: &[String]) -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let mut present = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            present.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    present.sort();
    if let Some(unknown) = names.iter().find(|name| !present.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; the targets are {}", present.join(", "));
    }
    Ok(if names.is_empty() { present } else { names.to_vec() })
}

fn run_target(program: &Path, target: &str, time: Duration) -> Result<bool> {
    let seeds = workspace::root().join("fuzz/seeds").join(target);
    ensure!(
        fs::read_dir(&seeds).is_ok_and(|mut entries| entries.next().is_some()),
        "{} holds no seeds; commit a few small inputs that reach the interesting branches",
        seeds.display()
    );
    let (corpus, failures) = (build_dir().join("corpus").join(target), build_dir().join("failures").join(target));
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut fuzzer = Command::new(program);
    fuzzer
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg(format!("-dict={}", workspace::root().join("fuzz/http1.dict").display()))
        // An input that takes 5 s or 1 GiB is a finding of its own.
        .args(["-timeout=5", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1"])
        // New finds go to the first folder; the committed seeds are only read.
        .arg(&corpus)
        .arg(&seeds);
    println!("fuzz {target}: {} s", time.as_secs());
    let output = command::capture(&mut fuzzer)?;
    let said = command::both(&output);
    if !output.status.success() {
        report_failure(target, &said);
        return Ok(false);
    }
    ensure!(
        counters(&said) > 0,
        "fuzz target {target} ran without coverage counters, so blindly; this rustc may have dropped \
         -Cpasses=sancov-module (see RUSTFLAGS in xtask/src/fuzz.rs)"
    );
    println!("fuzz {target}: {} inputs, {} branches of {}, no failure", runs(&said), covered(&said), counters(&said));
    Ok(true)
}

fn report_failure(target: &str, said: &str) {
    let tail: Vec<&str> = said.lines().rev().take(60).collect();
    for line in tail.iter().rev() {
        println!("{line}");
    }
    println!("fuzz {target}: FAILED, as told above");
    match said.lines().find_map(|line| line.split_once("Test unit written to ")) {
        Some((_, input)) => {
            let input = input.trim();
            println!("  the input: {input}");
            println!("  again:     cargo xtask fuzz {target} --replay {input}");
            println!("  keep it:   once fixed, commit it below fuzz/seeds/{target}/ and as a test of the crate");
        }
        None => println!("  no input was saved: the target failed before or between inputs"),
    }
}

/// libFuzzer: `INFO: Loaded 1 modules   (1234 inline 8-bit counters): …`.
fn counters(said: &str) -> u64 {
    let line = said.lines().find(|line| line.contains("inline 8-bit counters")).unwrap_or_default();
    line.split_once('(').and_then(|(_, rest)| rest.split(' ').next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// libFuzzer: `#8192 pulse  cov: 99 ft: 161 …`; the last line counts.
fn covered(said: &str) -> u64 {
    let number = |line: &str| line.split_once("cov: ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    said.lines().rev().find_map(number).unwrap_or(0)
}

/// libFuzzer: `stat::number_of_executed_units: 123456`.
fn runs(said: &str) -> u64 {
    let number = |line: &str| line.strip_prefix("stat::number_of_executed_units:").and_then(|n| n.trim().parse().ok());
    said.lines().find_map(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzer_s_numbers_are_read() {
        let said = "INFO: Loaded 1 modules   (1234 inline 8-bit counters): 1234 [0x1, 0x2),\n\
                    #2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #99\tDONE   cov: 77 ft: 90 corp: 5/9b lim: 4 exec/s: 9 rss: 41Mb\n\
                    stat::number_of_executed_units: 4711\n";
        assert_eq!((counters(said), covered(said), runs(said)), (1234, 77, 4711));
        assert_eq!((counters(""), covered(""), runs("")), (0, 0, 0));
    }
}
