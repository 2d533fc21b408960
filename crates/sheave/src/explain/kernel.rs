//! What the kernel counted beside the process: connections that it dropped before anybody could accept them.

use std::fs;

/// Counters of this machine's kernel, and what it holds.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Kernel {
    /// Connections that came while a listener's backlog was full (`ListenOverflows`).
    pub(super) overflows: u64,
    /// Sockets in TIME_WAIT, each of which may hold a local port.
    pub(super) time_wait: u64,
    /// Local ports that connections to one address can have.
    pub(super) ports: u64,
}

impl Kernel {
    /// `None` where there is no such kernel to ask.
    pub(super) fn read() -> Option<Self> {
        let read = |path| fs::read_to_string(path).ok();
        Self::of(
            &read("/proc/net/netstat")?,
            &read("/proc/net/sockstat")?,
            &read("/proc/sys/net/ipv4/ip_local_port_range")?,
        )
    }

    fn of(netstat: &str, sockstat: &str, ports: &str) -> Option<Self> {
        let mut extended = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (extended.next()?, extended.next()?);
        let counters = names.split_whitespace().zip(values.split_whitespace());
        let overflows =
            counters.filter(|(name, _)| *name == "ListenOverflows").find_map(|(_, value)| value.parse().ok())?;
        let mut words = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_whitespace();
        let time_wait = words.by_ref().find(|word| *word == "tw").and_then(|_| words.next()?.parse().ok())?;
        let mut range = ports.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let (low, high) = (range.next()?, range.next()?);
        Some(Self { overflows, time_wait, ports: (high + 1).checked_sub(low)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 42 43\nIpExt: A\nIpExt: 1\n";
        let sockstat = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 17 alloc 5 mem 1\nUDP: inuse 1\n";
        let kernel = Kernel::of(netstat, sockstat, "32768\t60999\n").expect("is complete");
        assert_eq!((kernel.overflows, kernel.time_wait, kernel.ports), (42, 17, 28_232));
        assert!(Kernel::of("", sockstat, "1 2").is_none());
        assert!(Kernel::of(netstat, sockstat, "2 0").is_none());
    }

    #[test]
    fn this_machine_can_be_asked() {
        assert!(Kernel::read().is_some());
    }
}
