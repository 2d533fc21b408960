//! Lines to the standard streams that never panic, whatever became of the streams.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line to standard error. A stream that is gone is nobody's to tell.
pub(crate) fn error(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a line to standard output.
pub(crate) fn output(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
