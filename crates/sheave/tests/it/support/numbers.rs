//! What a sheave process counts of itself, and what the kernel counts of it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, PATIENCE, Sheave};

/// A sample of the metrics page by its whole name; zero where there is none yet.
pub(crate) fn metric(sheave: &Sheave, sample: &str) -> f64 {
    let page = Client::get(sheave.admin(), "/metrics");
    let line = page.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ').map(str::to_owned));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Waits until a sample is as it should be, and returns it.
pub(crate) fn metric_until(sheave: &Sheave, sample: &str, is_so: impl Fn(f64) -> bool) -> f64 {
    let until = Instant::now() + PATIENCE;
    loop {
        let value = metric(sheave, sample);
        if is_so(value) {
            return value;
        }
        assert!(Instant::now() < until, "{sample} is {value}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Sheave {
    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).expect("runs").count()
    }

    /// How much of its memory is there.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).expect("runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("is there");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// How much of a processor it has used, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_nonzero())).expect("runs");
        // The name in brackets may hold blanks; utime and stime are the 12th and 13th behind it.
        let behind = stat.rsplit_once(')').expect("a name").1;
        behind.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }
}
