//! The process before this one: it is told that we serve, and says that all is ours.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    fn grant(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The connection to the process before this one.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Over this connection.
    ///
    /// # Errors
    ///
    /// As the kernel says it.
    pub(crate) fn new(line: UnixStream) -> io::Result<Self> {
        // Our own switch is needed: the descriptor came without it.
        line.set_nonblocking(true)?;
        Ok(Self(line))
    }

    /// Says that we serve, and waits for the answer, which it notes in `trust`. Within a runtime.
    ///
    /// Without an answer we serve all the same: the predecessor may have died at this moment, and if it lives and has
    /// given us up, it tells us to drain.
    pub(crate) async fn confirm(self, trust: Trust) -> bool {
        let word = format!("{SERVING}{}\n", std::process::id());
        if let Err(error) = (&self.0).write_all(word.as_bytes()) {
            tracing::warn!(%error, "the process before this one does not hear that this one serves");
            return false;
        }
        let Ok(line) = tokio::net::UnixStream::from_std(self.0) else { return false };
        let mut heard = Vec::new();
        while heard != YOURS {
            let mut buffer = [0; 16];
            match line.readable().await.and_then(|()| line.try_read(&mut buffer)) {
                Ok(0) => return false,
                Ok(len) => heard.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
            if heard.len() > YOURS.len() {
                return false;
            }
        }
        trust.grant();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime").block_on(work)
    }

    #[test]
    fn all_is_ours_once_the_predecessor_says_so() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(YOURS).expect("writes");
        let trust = Trust::new(false);
        let is_entrusted = block_on(Predecessor::new(ours).expect("a line").confirm(trust.clone()));
        assert!(is_entrusted && trust.is_ours());
        let mut said = String::new();
        theirs.read_to_string(&mut said).expect("reads");
        assert_eq!(said, format!("serving {}\n", std::process::id()));
    }

    #[test]
    fn a_predecessor_that_gave_us_up_or_died_entrusts_nothing() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        let trust = Trust::new(false);
        assert!(!block_on(Predecessor::new(ours).expect("a line").confirm(trust.clone())) && !trust.is_ours());
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"yours").expect("writes");
        theirs.shutdown(std::net::Shutdown::Write).expect("shuts");
        assert!(!block_on(Predecessor::new(ours).expect("a line").confirm(trust.clone())) && !trust.is_ours());
    }
}
