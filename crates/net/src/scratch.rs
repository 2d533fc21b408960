//! The thread's receive buffer: bytes live here between the read from one socket and the write to another.

use std::cell::RefCell;

/// How much one read can take: 128 KiB.
///
/// Large enough that the cost of a large body is the kernel's, and so small that it stays in the processor's cache: 64 KiB cost
/// a seventh more, 16 KiB twice as much.
pub const SCRATCH_BYTES: usize = 128 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Up to so many bytes are written in one piece, whatever they consist of: a vectored write costs the kernel 150 ns more than a
/// plain one, and the copy a fifth of that.
pub(crate) const SMALL_BYTES: usize = 2 * 1024;

thread_local! {
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends `use_it` the pieces, [`SMALL_BYTES`] at most, as one.
pub(crate) fn with_joined<T>(first: &[u8], others: &[&[u8]], use_it: impl FnOnce(&[u8]) -> T) -> T {
    let join = |joined: &mut Vec<u8>| {
        joined.clear();
        joined.reserve(SMALL_BYTES);
        joined.extend_from_slice(first);
        others.iter().for_each(|piece| joined.extend_from_slice(piece));
    };
    JOINED.with(|joined| match joined.try_borrow_mut() {
        Ok(mut joined) => {
            join(&mut joined);
            use_it(&joined)
        }
        Err(_) => {
            let mut joined = Vec::new();
            join(&mut joined);
            use_it(&joined)
        }
    })
}

/// Lends the thread's buffer to `use_it`.
///
/// The buffer belongs to the thread and not to a connection, so an idle connection owns none. A call from within a call
/// gets a buffer of its own, for that call.
pub fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.is_empty() {
                buffer.resize(SCRATCH_BYTES, 0);
            }
            use_it(&mut buffer)
        }
        Err(_) => use_it(&mut vec![0; SCRATCH_BYTES]),
    })
}
