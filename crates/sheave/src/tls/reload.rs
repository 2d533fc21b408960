//! Certificates are read again when their files change, and when somebody says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::files::Stamp;

/// From one look at the files to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was read from files, and can be read from them again.
pub(crate) trait Reread: Send {
    /// How the files stand.
    fn stamps(&self) -> Vec<Stamp>;

    /// Reads the files again, for connections that come from now on. What cannot be used is logged, and leaves in force what
    /// was.
    fn read_again(&self);
}

/// The way to say that certificates are to be read again. Clones are the same.
#[derive(Clone, Default, Debug)]
pub(crate) struct Reload(Arc<Notify>);

impl Reload {
    /// Reads them again soon. Said where there are none, it means nothing.
    pub(crate) fn ask(&self) {
        self.0.notify_one();
    }

    /// Looks after certificates, for ever. Within a runtime whose thread nobody waits for: it reads files.
    pub(crate) async fn look_after(self, read: Vec<Box<dyn Reread>>) {
        let mut all: Vec<Looked> = read.into_iter().filter_map(Looked::begin).collect();
        while !all.is_empty() {
            let is_asked = tokio::time::timeout(LOOK_EVERY, self.0.notified()).await.is_ok();
            all.iter_mut().for_each(|looked| looked.again(is_asked));
        }
    }
}

/// Files as they were when they were looked at.
struct Looked {
    read: Box<dyn Reread>,
    in_force: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl Looked {
    /// Begins to look after it, if there is anything in files.
    fn begin(read: Box<dyn Reread>) -> Option<Self> {
        let in_force = read.stamps();
        (!in_force.is_empty()).then(|| Self { read, seen: in_force.clone(), in_force })
    }

    fn again(&mut self, is_asked: bool) {
        let now = self.read.stamps();
        // A certificate and its key are two files: until both are there, and as long as one is being written, they
        // change from one look to the next.
        if is_asked || now != self.in_force && now == self.seen {
            self.read.read_again();
            self.in_force.clone_from(&now);
        }
        self.seen = now;
    }
}
