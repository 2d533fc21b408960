//! How many files the process may hold open: the soft limit, raised to the hard one.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sheave_lifecycle::errno::{Errno, IoFault, Op};

/// The limit on open files (`RLIMIT_NOFILE`) before and after it was raised. `None` means no limit.
///
/// Every connection is one file; a proxied exchange holds two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileLimit {
    /// The soft limit as it was found.
    pub was: Option<u64>,
    /// The soft limit as it is now.
    pub now: Option<u64>,
    /// The hard limit: only an administrator can raise it.
    pub hard: Option<u64>,
    /// Why the soft limit could not be raised, if it could not.
    pub fault: Option<IoFault>,
}

/// Raises the process's limit on open files to its hard limit.
///
/// Most systems start processes with a soft limit of 1024 for the sake of `select`, which nothing here uses. Children
/// inherit the raised limit. Never fails outright: with the old limit fewer connections fit, and the result says so.
pub fn raise_file_limit() -> FileLimit {
    let found = getrlimit(Resource::Nofile);
    let unchanged = FileLimit { was: found.current, now: found.current, hard: found.maximum, fault: None };
    if found.current == found.maximum {
        return unchanged;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum }) {
        Ok(()) => FileLimit { now: found.maximum, ..unchanged },
        // EPERM: the hard limit was inherited from before fs.nr_open was lowered below it.
        Err(errno) => {
            FileLimit { fault: Some(IoFault { op: Op::Option, errno: Errno(errno.raw_os_error()) }), ..unchanged }
        }
    }
}

impl fmt::Display for FileLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open files", Count(self.now))?;
        if let Some(fault) = self.fault {
            return write!(f, " (could not be raised to {}: {})", Count(self.hard), fault.errno);
        }
        if self.was != self.now {
            write!(f, " (raised from {})", Count(self.was))?;
        }
        Ok(())
    }
}

struct Count(Option<u64>);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(count) => fmt::Display::fmt(&count, f),
            None => f.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_the_soft_limit_to_the_hard_one() {
        let found = getrlimit(Resource::Nofile);
        let hard = found.maximum;
        // High enough that tests which run beside this one do not notice.
        let lower = hard.map_or(4096, |hard| hard - 1);
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum: hard }).expect("may be lowered");
        let raised = raise_file_limit();
        assert_eq!(raised, FileLimit { was: Some(lower), now: hard, hard, fault: None });
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        assert_eq!(raise_file_limit(), FileLimit { was: hard, now: hard, hard, fault: None }, "and leaves it there");
    }

    #[test]
    fn says_what_it_did() {
        let raised = FileLimit { was: Some(1024), now: Some(4096), hard: Some(4096), fault: None };
        assert_eq!(raised.to_string(), "4096 open files (raised from 1024)");
        assert_eq!(FileLimit { was: Some(4096), ..raised }.to_string(), "4096 open files");
        assert_eq!(FileLimit { now: None, was: None, hard: None, fault: None }.to_string(), "unlimited open files");
        let fault = IoFault { op: Op::Option, errno: Errno::EPERM };
        let refused = FileLimit { now: Some(1024), fault: Some(fault), ..raised };
        assert_eq!(refused.to_string(), "1024 open files (could not be raised to 4096: EPERM)");
    }
}
