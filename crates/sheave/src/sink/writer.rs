//! The thread that writes what the producers collected, and bears with a destination that is slow or full.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::destination::Destination;
use super::shards::{Counts, Lines, Tally, Waiting};

/// How long a line waits at most before it is fetched, while the destination takes what it is given.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// The wait for a destination that says it would block, and so was made non-blocking by somebody else.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(10);

/// Between two complaints about a destination that fails.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// A destination with its thread and its producers.
pub(crate) struct Sink {
    lines: Vec<Lines>,
    control: Arc<Control>,
}

/// What the thread is told, and tells.
struct Control {
    writer: Arc<OnceLock<Thread>>,
    counts: Arc<Tally>,
    reopen: AtomicBool,
    stop: AtomicBool,
    ended: Mutex<bool>,
    has_ended: Condvar,
}

impl Sink {
    /// Starts the thread. `complain` hears of what went wrong with the destination, at most once a second.
    ///
    /// # Errors
    ///
    /// If the machine has no room for another thread.
    pub(crate) fn start(
        name: &str,
        producers: usize,
        destination: impl Destination,
        complain: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let control = Arc::new(Control {
            writer: Arc::default(),
            counts: Arc::default(),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ended: Mutex::new(false),
            has_ended: Condvar::new(),
        });
        let lines: Vec<Lines> =
            (0..producers).map(|_| Lines::new(Arc::clone(&control.writer), Arc::clone(&control.counts))).collect();
        let mut writer = Writer {
            control: Arc::clone(&control),
            lines: lines.clone(),
            spare: Waiting::default(),
            destination,
            complain,
            complained: None,
            is_torn: false,
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        // Until this is set nobody can wake the thread, and it wakes by itself.
        let _ = control.writer.set(thread.thread().clone());
        Ok(Self { lines, control })
    }

    /// The producer of this number, from 0.
    pub(crate) fn lines(&self, producer: usize) -> Lines {
        self.lines[producer % self.lines.len()].clone()
    }

    /// Has the destination opened anew, after the lines that wait.
    pub(crate) fn reopen(&self) {
        self.control.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// A view of the counts that outlives the sink.
    pub(crate) fn counter(&self) -> impl Fn() -> Counts + Send + Sync + use<> {
        let counts = Arc::clone(&self.control.counts);
        move || counts.counts()
    }

    /// Writes what waits and ends the thread; gives up after `patience`, when the destination takes nothing. What was
    /// not written then counts as dropped.
    pub(crate) fn close(self, patience: Duration) -> Counts {
        self.control.stop.store(true, Ordering::Release);
        self.wake();
        let ended = self.control.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self
            .control
            .has_ended
            .wait_timeout_while(ended, patience, |ended| !*ended)
            .map_or_else(|poisoned| *poisoned.into_inner().0, |(ended, _)| *ended);
        let mut counts = self.control.counts.counts();
        if !ended {
            counts.dropped += self.lines.iter().map(Lines::waiting).sum::<u64>();
        }
        counts
    }

    fn wake(&self) {
        if let Some(writer) = self.control.writer.get() {
            writer.unpark();
        }
    }
}

/// The thread's own.
struct Writer<D, C> {
    control: Arc<Control>,
    lines: Vec<Lines>,
    spare: Waiting,
    destination: D,
    complain: C,
    complained: Option<Instant>,
    /// Whether the last batch broke off inside a line.
    is_torn: bool,
}

impl<D: Destination, C: FnMut(&str)> Writer<D, C> {
    fn run(&mut self) {
        loop {
            // Read before the buffers: what was pushed before the stop is written.
            let stop = self.control.stop.load(Ordering::Acquire);
            let reopen = self.control.reopen.swap(false, Ordering::AcqRel);
            for producer in 0..self.lines.len() {
                self.write_out(producer);
            }
            if reopen && let Err(error) = self.destination.reopen() {
                let name = self.destination.name();
                self.complain(&format!("cannot open {name} anew, so the old file goes on: {error}"));
            }
            if stop {
                break;
            }
            thread::park_timeout(FLUSH_EVERY);
        }
        *self.control.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.control.has_ended.notify_all();
    }

    fn write_out(&mut self, producer: usize) {
        let mut batch = self.lines[producer].swap(std::mem::take(&mut self.spare));
        match self.write_all(&batch.bytes) {
            Ok(()) => self.control.counts.wrote(batch.lines),
            Err((error, written)) => {
                self.is_torn = written > 0 && batch.bytes[written - 1] != b'\n';
                let whole = lines_in(&batch.bytes[..written]);
                let lost = batch.lines.saturating_sub(whole);
                self.control.counts.wrote(whole);
                self.control.counts.dropped(lost);
                let name = self.destination.name();
                self.complain(&format!("cannot write to {name}, so {lost} lines are lost: {error}"));
            }
        }
        batch.bytes.clear();
        batch.lines = 0;
        self.spare = batch;
    }

    /// Writes all, or says how much was written before the error.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
        if self.is_torn && !bytes.is_empty() {
            // A line that was cut off gets its end, so that it spoils no other.
            self.write_some(b"\n").map_err(|error| (error, 0))?;
            self.is_torn = false;
        }
        let mut written = 0;
        while written < bytes.len() {
            written += self.write_some(&bytes[written..]).map_err(|error| (error, written))?;
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.destination.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => return Ok(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(WOULD_BLOCK_PAUSE),
                Err(error) => return Err(error),
            }
        }
    }

    fn complain(&mut self, what: &str) {
        let now = Instant::now();
        if self.complained.is_none_or(|at| now.duration_since(at) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            (self.complain)(what);
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes what the test lets it take.
    struct Scripted<F> {
        script: F,
        reopened: mpsc::Sender<()>,
    }

    impl<F: FnMut(&[u8]) -> io::Result<usize> + Send + 'static> Destination for Scripted<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (self.script)(bytes)
        }

        fn reopen(&mut self) -> io::Result<()> {
            self.reopened.send(()).map_err(io::Error::other)
        }

        fn name(&self) -> String {
            "the test".to_owned()
        }
    }

    fn sink(
        producers: usize,
        script: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
    ) -> (Sink, mpsc::Receiver<String>, mpsc::Receiver<()>) {
        let (complaints, complained) = mpsc::channel();
        let (reopened, was_reopened) = mpsc::channel();
        let destination = Scripted { script, reopened };
        let sink = Sink::start("test-sink", producers, destination, move |what| {
            let _ = complaints.send(what.to_owned());
        });
        (sink.expect("starts"), complained, was_reopened)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn writes_all_lines_of_all_producers_in_the_order_of_each() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        let (sink, _complained, _) = sink(3, move |bytes| {
            // Odd portions, as a pipe may take them.
            let some = bytes.len().min(7);
            into.lock().expect("lock").extend_from_slice(&bytes[..some]);
            Ok(some)
        });
        for producer in 0..3 {
            let lines = sink.lines(producer);
            for number in 0..100 {
                lines.push(|out| out.extend_from_slice(format!("{producer} {number}\n").as_bytes()));
            }
        }
        assert_eq!(sink.close(PATIENCE), Counts { written: 300, dropped: 0 });
        let text = String::from_utf8(written.lock().expect("lock").clone()).expect("UTF-8");
        for producer in 0..3 {
            let own = text.lines().filter_map(|line| line.strip_prefix(&format!("{producer} ")));
            assert!(own.eq((0..100).map(|number| number.to_string())), "{text}");
        }
    }

    #[test]
    fn a_destination_that_blocks_for_ever_stops_nobody_and_what_is_lost_is_counted() {
        let (began, has_begun) = mpsc::channel();
        let (_hold, held) = mpsc::channel::<()>();
        let (sink, _complained, _) = sink(1, move |_| {
            began.send(()).map_err(io::Error::other)?;
            let _ = held.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        });
        let lines = sink.lines(0);
        lines.push(|out| out.extend_from_slice(b"first\n"));
        sink.wake();
        has_begun.recv().expect("the writer writes");
        // The writer hangs now. A mebibyte is taken in, the rest dropped; none of it waits.
        for _ in 0..(3 << 10) {
            lines.push(|out| out.resize(out.len() + 1024, b'x'));
        }
        let counter = sink.counter();
        assert_eq!(counter(), Counts { written: 0, dropped: 2 << 10 });
        let counts = sink.close(Duration::from_millis(1));
        assert_eq!(counts, Counts { written: 0, dropped: 3 << 10 }, "and the end does not wait for it");
    }

    #[test]
    fn an_error_costs_the_lines_it_hit_and_tears_no_other() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        let (began, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let mut calls = 0;
        let (sink, complained, _) = sink(1, move |bytes| {
            calls += 1;
            let some = match calls {
                1 => {
                    began.send(()).map_err(io::Error::other)?;
                    may_go_on.recv().map_err(io::Error::other)?;
                    bytes.len()
                }
                2 => return Err(io::ErrorKind::Interrupted.into()),
                3 => return Err(io::ErrorKind::WouldBlock.into()),
                4 => 6,
                5 => return Err(io::ErrorKind::StorageFull.into()),
                _ => bytes.len(),
            };
            into.lock().expect("lock").extend_from_slice(&bytes[..some]);
            Ok(some)
        });
        let lines = sink.lines(0);
        lines.push(|out| out.extend_from_slice(b"zero\n"));
        sink.wake();
        has_begun.recv().expect("the writer writes");
        for line in ["one\n", "two\n", "three\n"] {
            lines.push(|out| out.extend_from_slice(line.as_bytes()));
        }
        go_on.send(()).expect("the writer waits");
        sink.wake();
        let complaint = complained.recv().expect("complains");
        assert!(complaint.contains("cannot write to the test, so 2 lines are lost"), "{complaint}");
        lines.push(|out| out.extend_from_slice(b"four\n"));
        assert_eq!(sink.close(PATIENCE), Counts { written: 3, dropped: 2 });
        assert_eq!(String::from_utf8_lossy(&written.lock().expect("lock")), "zero\none\ntw\nfour\n");
    }

    #[test]
    fn reopens_after_the_lines_that_wait() {
        let (sink, _complained, reopened) = sink(1, |bytes| Ok(bytes.len()));
        sink.lines(0).push(|out| out.push(b'\n'));
        sink.reopen();
        reopened.recv().expect("reopens");
        assert_eq!(sink.close(PATIENCE), Counts { written: 1, dropped: 0 });
    }
}
