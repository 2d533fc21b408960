//! Runs a test so that a hang is a failure.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

/// Far beyond what any test takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` on a thread of its own.
///
/// # Panics
/// When it hangs.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("the test hangs") })
}

/// Runs `test` with two workers, so that what races can.
///
/// # Panics
/// When it hangs.
pub fn run_in_parallel<F: Future>(test: F) -> F::Output {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("the test hangs") })
}
