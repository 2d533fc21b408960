//! The process before this one: it is told that we serve, and says that all is ours.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

/// What a successor says once it serves, before its own process number and a line's end.
pub(super) const SERVING: &str = "serving ";

/// What the predecessor answers once it drains.
pub(super) const YOURS: &[u8] = b"yours\n";

/// Whether nobody else serves any more on the sockets that a predecessor handed over. Clones are the same.
///
/// Until then they are not ours to refuse on: the predecessor may have given us up, and serve on.
#[derive(Clone, Debug)]
pub(crate) struct Trust(Arc<AtomicBool>);

impl Trust {
    /// What nobody handed over is ours; what a predecessor did will be.
    pub(crate) fn new(is_ours: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_ours)))
    }

    /// Whether all is ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// From now on it is.
    pub(crate) fn grant(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What became of the process before this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It drains, and has left all to us.
    Yours,
    /// It lives, and has given us up: it serves on, and this process must not.
    GivenUp,
    /// It is dead: whatever it meant to say, nobody but us is left.
    Dead,
}

/// The connection to the process before this one.
#[derive(Debug)]
pub(crate) struct Predecessor {
    line: UnixStream,
    pid: Pid,
}

impl Predecessor {
    /// Over this connection, which it made.
    ///
    /// # Errors
    ///
    /// As the kernel says it.
    pub(crate) fn new(line: UnixStream) -> io::Result<Self> {
        line.set_nonblocking(true)?;
        // Whoever made the pair; a shell in between does not matter.
        let pid = rustix::net::sockopt::socket_peercred(&line)?.pid;
        Ok(Self { line, pid })
    }

    /// Says that we serve, and waits for what becomes of it. Within a runtime.
    pub(crate) async fn confirm(self) -> Answer {
        let word = format!("{SERVING}{}\n", std::process::id());
        // Where it fails there is no answer, either.
        let _ = (&self.line).write_all(word.as_bytes());
        if hears_yours(self.line).await {
            return Answer::Yours;
        }
        let mut looks = 0;
        while looks < LOOKS && test_kill_process(self.pid).is_ok() {
            looks += 1;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if looks < LOOKS { Answer::Dead } else { Answer::GivenUp }
    }
}

/// How long a process that is about to end may take to be gone: its sockets close before it is.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(50);

async fn hears_yours(line: UnixStream) -> bool {
    let Ok(line) = tokio::net::UnixStream::from_std(line) else { return false };
    let mut heard = Vec::new();
    while heard.len() < YOURS.len() {
        let mut buffer = [0; 16];
        match line.readable().await.and_then(|()| line.try_read(&mut buffer)) {
            Ok(0) => return false,
            Ok(len) => heard.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    heard == YOURS
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn answer(line: UnixStream) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(Predecessor::new(line).expect("a line").confirm())
    }

    #[test]
    fn all_is_ours_once_the_predecessor_says_so() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(YOURS).expect("writes");
        assert_eq!(answer(ours), Answer::Yours);
        let mut said = String::new();
        theirs.read_to_string(&mut said).expect("reads");
        assert_eq!(said, format!("serving {}\n", std::process::id()));
    }

    #[test]
    fn a_predecessor_that_lives_and_says_nothing_has_given_us_up() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        assert_eq!(answer(ours), Answer::GivenUp);
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"yours").expect("writes");
        theirs.shutdown(std::net::Shutdown::Write).expect("shuts");
        assert_eq!(answer(ours), Answer::GivenUp);
    }

    #[test]
    fn one_that_is_dead_leaves_all_to_us() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let pid = Pid::from_child(&child);
        child.wait().expect("ends");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        ours.set_nonblocking(true).expect("is set");
        let confirming = Predecessor { line: ours, pid }.confirm();
        assert_eq!(runtime.block_on(confirming), Answer::Dead);
    }
}
