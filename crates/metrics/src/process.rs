//! What the kernel says of the process: the metrics that every Prometheus dashboard looks for.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::encode::Page;

/// Ticks per second in `/proc`: `USER_HZ`, which Linux keeps at 100 on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The state of the process; what could not be read is left out, as where `/proc` is hidden.
#[derive(Debug, Default)]
pub(crate) struct Process {
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    cpu_seconds: Option<f64>,
    started: Option<f64>,
}

impl Process {
    /// Reads `/proc/self`. Tens of microseconds.
    ///
    /// `started` comes from [`start_time_seconds`], which needs to be read but once.
    pub(crate) fn read(started: Option<f64>) -> Self {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            open_fds: open_fds(),
            max_fds: max_fds(&limits),
            resident_bytes: status_bytes(&status, "VmRSS:"),
            virtual_bytes: status_bytes(&status, "VmSize:"),
            threads: status_value(&status, "Threads:"),
            cpu_seconds: cpu_seconds(&stat),
            started,
        }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut page = Page(encoder);
        if let Some(seconds) = self.cpu_seconds {
            let help = "CPU time of the process, user and system together.";
            page.0
                .encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?
                .encode_counter::<[(&str, &str); 0], _, f64>(&seconds, None)?;
        }
        page.whole("process_open_fds", None, "Open file descriptors; each connection has one.", self.open_fds)?;
        let help = "The most file descriptors that may be open; accepting connections fails beyond.";
        page.whole("process_max_fds", None, help, self.max_fds)?;
        let help = "Memory that is in RAM.";
        page.whole("process_resident_memory", Some(Unit::Bytes), help, self.resident_bytes)?;
        let help = "Memory that is mapped, most of which may not be in RAM.";
        page.whole("process_virtual_memory", Some(Unit::Bytes), help, self.virtual_bytes)?;
        page.whole("process_threads", None, "Threads of the process.", self.threads)?;
        if let Some(seconds) = self.started {
            let help = "When the process began, in seconds since 1970.";
            page.seconds("process_start_time", help, seconds)?;
        }
        Ok(())
    }
}

/// When the process began, in seconds since 1970.
///
/// `/proc/stat` costs up to a millisecond on machines with many cores.
pub(crate) fn start_time_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    start_time(&stat, &boot)
}

fn open_fds() -> Option<u64> {
    // Linux 6.2 and later give the number as the folder's size; earlier ones give zero, and listing takes milliseconds when
    // there are ten thousand.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // Without the descriptor that lists them.
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64),
        open => Some(open),
    }
}

/// From `/proc/self/limits`; none when there is no limit.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn status_value(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    status_value(status, name)?.checked_mul(1024)
}

/// The field of that number of `/proc/self/stat`, as proc(5) counts them, for those after the name.
fn stat_ticks(stat: &str, number: usize) -> Option<f64> {
    // The name of the program stands in parentheses and may contain parentheses and blanks.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_ticks(stat, 14)? + stat_ticks(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_time(stat: &str, boot: &str) -> Option<f64> {
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_ticks(stat, 22)? / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4711 (a (strange) name) S 1 4711 4711 0 -1 4194560 2019 0 3 0 1234 66 0 0 20 0 5 0 \
                        8350 73728000 1093 18446744073709551615 1 1 0 0 0 0 0 4096 1088 0 0 0 17 1 0 0 0 0 0\n";

    #[test]
    fn fields_are_found() {
        assert_eq!(cpu_seconds(STAT), Some(13.0));
        assert_eq!(start_time(STAT, "cpu  1 2 3\nbtime 1700000000\nprocesses 9\n"), Some(1_700_000_083.5));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             15071                15071                processes \n\
                      Max open files            1024                 1048576              files     \n";
        assert_eq!(max_fds(limits), Some(1024));
        let status = "Name:\tsheave\nVmSize:\t   72000 kB\nVmRSS:\t    4372 kB\nThreads:\t5\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(4372 << 10));
        assert_eq!(status_value(status, "Threads:"), Some(5));
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(cpu_seconds("1 (short) S 1 2"), None);
        assert_eq!(start_time(STAT, ""), None);
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(status_bytes("", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_them_all() {
        let read = Process::read(start_time_seconds());
        assert!(read.open_fds.unwrap() >= 3, "{read:?}");
        assert!(read.max_fds.unwrap() >= read.open_fds.unwrap(), "{read:?}");
        assert!(read.virtual_bytes.unwrap() >= read.resident_bytes.unwrap(), "{read:?}");
        assert!(read.resident_bytes.unwrap() > 100 << 10, "{read:?}");
        assert!(read.threads.unwrap() >= 1 && read.cpu_seconds.is_some(), "{read:?}");
        // Between 2020 and 2100.
        assert!((1.57e9..4.1e9).contains(&read.started.unwrap()), "{read:?}");
    }
}
