//! Memory that nobody needs any more goes back to the system, also when nothing happens.

use std::time::Duration;

/// How often the allocator is given a chance. Once for the whole process, whatever its workers do.
const EVERY: Duration = Duration::from_secs(1);

/// Too large to share a page of the allocator's with anything: that they are freed at once is what makes the allocator look
/// around. Nothing is written to them, so they take no memory. Two sizes in turn, as they lie in different places: a block
/// lies on memory that was given up, which is not given back as long as the next block lies there too.
const LARGE_BYTES: [usize; 2] = [1024 * 1024, 16 * 1024 * 1024];

/// Makes the allocator give back what it has spared, once a second.
///
/// mimalloc keeps freed pages for a second, as they may be wanted again, and then waits for the next page to be freed before
/// it looks at its clock. After a crowd of clients has left, that may be hours. There is a call for it, which would be the
/// only unsafe one in this house.
pub(crate) async fn give_back() {
    for bytes in LARGE_BYTES.into_iter().cycle() {
        tokio::time::sleep(EVERY).await;
        let mut block = Vec::<u8>::new();
        // Where memory is so short, the allocator has looked around by itself.
        let _ = block.try_reserve_exact(bytes);
        drop(std::hint::black_box(block));
    }
}
