//! What /proc tells of a process: its family, its CPU time, its memory.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The fields of `/proc/PID/stat` that we read.
struct Stat {
    parent: u32,
    /// utime + stime of all threads, ended ones included, in clock ticks.
    ticks: u64,
    /// The same of children that have ended and were waited for.
    ended_children_ticks: u64,
}

impl Stat {
    /// `4711 (a (strange) name) S 1 …`: the name may hold anything, so counting starts after the last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            ended_children_ticks: number(13)? + number(14)?,
        })
    }

    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// A process and all its descendants that run now.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec![pid] };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|one| Stat::of(one).map(|stat| (one, stat.parent))).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    family
}

/// CPU time of a process and its descendants: user and system, all threads. Resolution: one clock tick, mostly 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    Stat::of(pid).with_context(|| format!("process {pid} is gone; its CPU time cannot be read"))?;
    let ticks: u64 = family(pid).into_iter().filter_map(Stat::of).map(|stat| stat.ticks).sum();
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * (1_000_000_000 / per_second)))
}

/// CPU time in clock ticks that a process, its descendants and those of them that have ended ever used.
pub(crate) fn ticks_ever(pid: u32) -> u64 {
    family(pid).into_iter().filter_map(Stat::of).map(|stat| stat.ticks + stat.ended_children_ticks).sum()
}

/// The most memory that the process ever held at once (`VmHWM`), in bytes.
pub(crate) fn peak_memory_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    kilobytes_in(&status, "VmHWM:").with_context(|| format!("{path} has no VmHWM line"))
}

/// Memory that a process and its descendants hold for themselves, not backed by files, in bytes.
pub(crate) fn anonymous_bytes(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for one in family(pid) {
        let path = format!("/proc/{one}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        sum += kilobytes_in(&text, "Anonymous:").with_context(|| format!("{path} has no such line"))?;
    }
    Ok(sum)
}

/// `VmHWM:  2048 kB`, in bytes.
fn kilobytes_in(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_strange_name() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 30 12 3 4 20 0 1 0 5 6 7";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.ended_children_ticks), (7, 42, 7));
        assert!(Stat::parse("42 (a").is_none());
    }

    #[test]
    fn peak_memory_is_in_bytes() {
        assert_eq!(kilobytes_in("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n", "VmHWM:"), Some(2 << 20));
        assert!(peak_memory_bytes(std::process::id()).unwrap() > 100_000);
        assert!(anonymous_bytes(std::process::id()).unwrap() > 10_000);
    }

    #[test]
    fn this_process_uses_cpu_time() {
        let start = cpu_time(std::process::id()).unwrap();
        while cpu_time(std::process::id()).unwrap() == start {
            std::hint::black_box((0..10_000).sum::<u64>());
        }
    }
}
