//! The checks that were made, printed as they end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The checks that were made, printed as they end.
#[derive(Default)]
pub(super) struct Table {
    /// Who is at the other end.
    pub(super) peer: &'static str,
    /// How clients speak to the proxy.
    pub(super) speaks: &'static str,
    passed: usize,
    failures: Vec<String>,
}

impl Table {
    /// Makes one check, and prints what came of it.
    pub(super) fn check(&mut self, name: &str, run: impl FnOnce() -> Result<String>) {
        if self.passed + self.failures.len() == 0 {
            println!("{:<6} {:<14} {:<10} {:<36} {:>6}   seen", "", "peer", "client", "check", "s");
        }
        let start = Instant::now();
        let outcome = run();
        let secs = start.elapsed().as_secs_f64();
        let (word, seen) = match &outcome {
            Ok(seen) => ("ok", seen.clone()),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        let (peer, speaks) = (self.peer, self.speaks);
        let line = format!("{word:<6} {peer:<14} {speaks:<10} {name:<36} {secs:>6.2}   {}", seen.trim_end());
        println!("{line}");
        match outcome {
            Ok(_) => self.passed += 1,
            Err(_) => self.failures.push(line.lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// Says how many there were; `false` when one failed.
    pub(super) fn sum_up(&self, took: Duration, logs: &Path) -> bool {
        let all = self.passed + self.failures.len();
        println!("\n{all} checks in {:.0} s, {} failed", took.as_secs_f64(), self.failures.len());
        if !self.failures.is_empty() {
            println!("{}", self.failures.join("\n"));
            println!("The logs of both sides are below {}.", logs.display());
            println!("`cargo xtask interop --direct` makes the same checks without the proxy.");
        }
        // No check at all is no proof.
        self.failures.is_empty() && all > 0
    }
}
