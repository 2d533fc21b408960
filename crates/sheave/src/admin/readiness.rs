//! Whether new requests are welcome, for load balancers that ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ready until the drain begins, and never again. Clones are the same.
#[derive(Clone, Default, Debug)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// The drain has begun.
    pub(crate) fn drain(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the drain has not begun.
    pub(crate) fn is_ready(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}
