//! Lines that wait to be written: one buffer for each producer, bounded, and never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

/// How full a buffer may be. A line that does not fit is dropped and counted; a line longer than this is, too.
const MAX_BUFFER_BYTES: usize = 1 << 20;

/// How full a buffer is when the writer is woken, so that it does not wait for its turn.
const WAKE_BYTES: usize = 64 << 10;

/// One producer's way to the writer.
///
/// Cloned, it is the same producer. Its lock is held for as long as it takes to format a line, or to swap two buffers:
/// the writer, which may block, never writes while it holds it.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Shard>);

#[derive(Debug)]
struct Shard {
    waiting: Mutex<Waiting>,
    writer: Arc<OnceLock<Thread>>,
    counts: Arc<Tally>,
}

/// The lines of one producer that nobody has fetched yet.
#[derive(Default, Debug)]
pub(crate) struct Waiting {
    /// Whole lines.
    pub(crate) bytes: Vec<u8>,
    /// How many they are.
    pub(crate) lines: u64,
}

/// What became of lines, over all producers. Counted where it is cheap: written ones by the writer, batch by batch.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    written: AtomicU64,
    dropped: AtomicU64,
}

/// What has become of lines so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    /// Lines that were written.
    pub(crate) written: u64,
    /// Lines that were lost: no room, or the destination refused them.
    pub(crate) dropped: u64,
}

impl Tally {
    /// The counts at this moment.
    pub(crate) fn counts(&self) -> Counts {
        Counts { written: self.written.load(Ordering::Relaxed), dropped: self.dropped.load(Ordering::Relaxed) }
    }

    /// Lines were written.
    pub(crate) fn wrote(&self, lines: u64) {
        self.written.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines were lost.
    pub(crate) fn dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

impl Lines {
    /// A producer that wakes `writer`.
    pub(crate) fn new(writer: Arc<OnceLock<Thread>>, counts: Arc<Tally>) -> Self {
        Self(Arc::new(Shard { waiting: Mutex::default(), writer, counts }))
    }

    /// Appends one line, whose end the caller writes too. Never blocks on the destination: with no room, the line is
    /// dropped and counted.
    pub(crate) fn push(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.bytes.len();
        format(&mut waiting.bytes);
        let after = waiting.bytes.len();
        if after > MAX_BUFFER_BYTES {
            waiting.bytes.truncate(before);
            drop(waiting);
            self.0.counts.dropped(1);
            return;
        }
        waiting.lines += 1;
        drop(waiting);
        if before < WAKE_BYTES
            && after >= WAKE_BYTES
            && let Some(writer) = self.0.writer.get()
        {
            writer.unpark();
        }
    }

    /// Takes what waits, and leaves `empty` in its place, so that two buffers go back and forth.
    pub(crate) fn swap(&self, empty: Waiting) -> Waiting {
        debug_assert!(empty.bytes.is_empty() && empty.lines == 0, "would be written twice");
        std::mem::replace(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner), empty)
    }

    /// How many lines wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).lines
    }
}

impl std::io::Write for Lines {
    /// Takes one whole line: for formatters that hand over line by line.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.push(|out| out.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_whole_and_counted() {
        let counts = Arc::new(Tally::default());
        let lines = Lines::new(Arc::default(), Arc::clone(&counts));
        lines.push(|out| out.resize(MAX_BUFFER_BYTES + 1, b'x'));
        assert_eq!(counts.counts().dropped, 1, "larger than the buffer");
        lines.push(|out| out.resize(MAX_BUFFER_BYTES - 2, b'x'));
        lines.push(|out| out.extend_from_slice(b"abc"));
        lines.push(|out| out.extend_from_slice(b"ab"));
        assert_eq!(counts.counts().dropped, 2);
        let taken = lines.swap(Waiting::default());
        assert_eq!((taken.lines, taken.bytes.len()), (2, MAX_BUFFER_BYTES));
        assert!(taken.bytes.ends_with(b"xab"));
        assert_eq!(lines.waiting(), 0);
    }
}
