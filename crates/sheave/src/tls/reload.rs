//! Certificates are read again when their files change, and when somebody says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::towards_clients::Certificates;

/// From one look at the files to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The way to say that certificates are to be read again. Clones are the same.
#[derive(Clone, Default, Debug)]
pub(crate) struct Reload(Arc<Notify>);

impl Reload {
    /// Reads them again soon. Said where there are none, it means nothing.
    pub(crate) fn ask(&self) {
        self.0.notify_one();
    }

    /// Looks after certificates, for ever. Within a runtime whose thread nobody waits for: it reads files.
    pub(crate) async fn look_after(self, certificates: Certificates) {
        let mut in_force = certificates.stamps();
        if in_force.is_empty() {
            return;
        }
        let mut seen = in_force.clone();
        loop {
            let is_asked = tokio::time::timeout(LOOK_EVERY, self.0.notified()).await.is_ok();
            let now = certificates.stamps();
            // A certificate and its key are two files: until both are there, and as long as one is being written, they
            // change from one look to the next.
            if is_asked || now != in_force && now == seen {
                certificates.read_again();
                in_force.clone_from(&now);
            }
            seen = now;
        }
    }
}
