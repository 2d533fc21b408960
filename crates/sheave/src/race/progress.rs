//! How a run goes on: one line that is written over and over on a terminal, a line a second elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::score::Seen;
use super::table::grouped;

/// Where progress is told.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
}

impl Progress {
    /// Progress on standard error.
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal() }
    }

    /// How often there is something new to say.
    pub(crate) const fn interval(&self) -> Duration {
        if self.is_terminal { Duration::from_millis(100) } else { Duration::from_secs(1) }
    }

    /// Says how far a run has come.
    pub(crate) fn tell(&self, label: &str, passed: Duration, whole: Duration, seen: &Seen) {
        let line = format!(
            "protections {label:3}  {:>4.1} of {:.0} s  {:>9} requests  {:>7} errors",
            passed.as_secs_f64(),
            whole.as_secs_f64(),
            grouped(seen.all_requests()),
            grouped(seen.all_errors())
        );
        // A stream that is gone is nobody's to tell. ESC [ K clears what a longer line left behind.
        let mut stderr = std::io::stderr().lock();
        let _ = if self.is_terminal { write!(stderr, "\r{line}\x1b[K") } else { writeln!(stderr, "{line}") };
        let _ = stderr.flush();
    }

    /// Ends the line.
    pub(crate) fn end(&self) {
        if self.is_terminal {
            let _ = writeln!(std::io::stderr().lock());
        }
    }
}
