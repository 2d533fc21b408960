//! Memory that nobody needs any more goes back to the system, also when nothing happens.

use std::time::Duration;

/// How often the allocator is given a chance. Once for the whole process, whatever its workers do.
const EVERY: Duration = Duration::from_secs(1);

/// Too large to share a page of the allocator's with anything: that it is freed at once is what makes the allocator look
/// around. Nothing is written to it, so it takes no memory.
const LARGE_BYTES: usize = 1024 * 1024;

/// Makes the allocator give back what it has spared, once a second.
///
/// mimalloc keeps freed pages for a second, as they may be wanted again, and then waits for the next page to be freed before
/// it looks at its clock. After a crowd of clients has left, that may be hours. There is a call for it, which would be the
/// only unsafe one in this house.
pub(crate) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
    }
}
