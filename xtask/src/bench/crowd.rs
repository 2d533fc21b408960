//! Connections that are held while something is measured: `bench-load`, step by step.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::contenders::Place;
use super::measure::Report;
use crate::command;
use crate::process::BOUND_TO_US;

/// A crowd that waits for its next step.
pub(super) struct Crowd {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts it on the load's core, and waits until it says `first`.
    pub(super) fn start(place: &Place, words: &[&str], first: &str) -> Result<Self> {
        let mut load = Command::new(place.programs.peer("bench-load"));
        load.args(words);
        let load = command::behind(&["taskset", "--cpu-list", &place.cores.others], &load);
        let mut load = command::behind(BOUND_TO_US, &load);
        let mut child = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start bench-load")?;
        let says = child.stdout.take().context("bench-load has no standard output")?;
        let mut crowd = Self { child, says: BufReader::new(says) };
        let said = crowd.heard()?;
        ensure!(said == first, "bench-load said `{said}` instead of `{first}`");
        Ok(crowd)
    }

    /// Lets it do its next step, and waits until that is done.
    pub(super) fn go_on(&mut self) -> Result<String> {
        let stdin = self.child.stdin.as_mut().context("bench-load has no standard input")?;
        stdin.write_all(b"\n").context("bench-load has ended")?;
        self.heard()
    }

    /// Lets it do its next step, and reads what it measured.
    pub(super) fn report(&mut self) -> Result<Report> {
        Report::parse(&self.go_on()?)
    }

    fn heard(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            bail!("bench-load ended ({}); what it said stands above", self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Without input it takes the rest of its steps and ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
