//! With what code the process ends, and the one line that says why it could not start.

use std::fmt;
use std::process::ExitCode;

/// How the process ended, as its parent sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// 0: drained, and no exchange was lost.
    Drained,
    /// 1: could not start: an address in use, a file that cannot be opened.
    CouldNotStart,
    /// 2: the arguments are wrong. Also what the argument parser exits with.
    Usage,
    /// 3: ended with exchanges cut off: the grace was over, or a second signal forced the end.
    Lost,
    /// 4: a worker ended on its own; this is a bug.
    WorkerFailed,
    /// 5: drained, but strictly, and a connection did not end benignly.
    Strict,
}

impl Exit {
    /// The code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::CouldNotStart => 1,
            Self::Usage => 2,
            Self::Lost => 3,
            Self::WorkerFailed => 4,
            Self::Strict => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why the process did not start: one line that says what, where, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to end with.
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    /// Could not start.
    pub(crate) const fn start(message: String) -> Self {
        Self { exit: Exit::CouldNotStart, message }
    }

    /// The arguments contradict each other.
    pub(crate) const fn usage(message: String) -> Self {
        Self { exit: Exit::Usage, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
