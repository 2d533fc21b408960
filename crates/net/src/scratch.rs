//! The thread's receive buffer: bytes live here between the read from one socket and the write to another.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// How much one read can take: 128 KiB.
///
/// Large enough that the cost of a large body is the kernel's, and so small that it stays in the processor's cache: 64 KiB cost
/// a seventh more, 16 KiB twice as much.
pub const SCRATCH_BYTES: usize = 128 * 1024;

/// How many connections of a thread may keep what a read left for them where it lies, and how many buffers wait for their turn.
/// What is left for further ones is copied, which costs less than yet another buffer.
const MAX_KEPT: usize = 2;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Those that came back.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// As many others hold it as there are buffers that connections keep.
    static KEPT: Arc<()> = Arc::new(());
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
    with_whole_scratch(|buffer| use_it(buffer))
}

/// As [`with_scratch`], for whoever may [keep a part](Rest::keep) of it.
pub(crate) fn with_whole_scratch<T>(use_it: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.is_empty() {
                *buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SCRATCH_BYTES]);
            }
            use_it(&mut buffer)
        }
        Err(_) => use_it(&mut vec![0; SCRATCH_BYTES]),
    })
}

/// What a read brought and nobody has taken yet, in the buffer into which it was read: the thread goes on with another one
/// until this one comes back. So a body that came with its head is not copied on its way.
#[derive(Debug)]
pub(crate) struct Rest {
    buffer: Vec<u8>,
    range: Range<usize>,
    /// For the count.
    _kept: Arc<()>,
}

impl Rest {
    /// Keeps `range` of the thread's buffer; `None` where too many are kept already.
    pub(crate) fn keep(buffer: &mut Vec<u8>, range: Range<usize>) -> Option<Self> {
        let kept = KEPT.try_with(|kept| (Arc::strong_count(kept) <= MAX_KEPT).then(|| kept.clone())).ok()??;
        Some(Self { buffer: std::mem::take(buffer), range, _kept: kept })
    }

    /// Forgets the first `len` bytes.
    pub(crate) fn advance(&mut self, len: usize) {
        self.range.start = self.range.end.min(self.range.start + len);
    }

    /// Bytes of memory.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Deref for Rest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // Where the thread is ending, it is freed like anything else.
        let _ = SPARE.try_with(|spare| match spare.try_borrow_mut() {
            Ok(mut spare) if spare.len() < MAX_KEPT => spare.push(std::mem::take(&mut self.buffer)),
            _ => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &[u8]) -> Option<Rest> {
        with_whole_scratch(|buffer| {
            buffer[..text.len()].copy_from_slice(text);
            Rest::keep(buffer, 1..text.len())
        })
    }

    #[test]
    fn what_is_kept_stays_as_it_is_and_its_buffer_comes_back() {
        let place = with_scratch(|buffer| buffer.as_ptr());
        let mut rest = kept(b"abcd").unwrap();
        let other = with_scratch(|buffer| {
            buffer.fill(b'x');
            (buffer.as_ptr(), buffer.len())
        });
        assert_eq!((&*rest, rest.capacity(), other.1), (&b"bcd"[..], SCRATCH_BYTES, SCRATCH_BYTES));
        assert_ne!(place, other.0);
        rest.advance(2);
        assert_eq!(&*rest, b"d");
        rest.advance(9);
        assert_eq!(&*rest, b"");
        drop(rest);
        let rest = kept(b"ab").unwrap();
        assert_eq!(with_scratch(|buffer| (buffer.as_ptr(), buffer.len())), (place, SCRATCH_BYTES), "the spare one");
        drop(rest);
    }

    #[test]
    fn few_are_kept_at_a_time() {
        let mut all: Vec<Rest> = (0..MAX_KEPT).map(|_| kept(b"abc").unwrap()).collect();
        assert!(kept(b"abc").is_none());
        all.pop();
        assert!(kept(b"abc").is_some());
        drop(all);
        assert_eq!(SPARE.with_borrow(Vec::len), MAX_KEPT);
    }
}
