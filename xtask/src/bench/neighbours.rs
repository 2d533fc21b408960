//! How much of the machine others used while we measured: noise that medians only hide.

use std::fs;

use anyhow::{Context, Result};

use crate::proc_fs;

/// The beginning of a measurement.
pub(super) struct Neighbours {
    busy_ticks: u64,
    all_ticks: u64,
    our_ticks: u64,
}

impl Neighbours {
    pub(super) fn now() -> Result<Self> {
        let our_ticks = proc_fs::ticks_ever(std::process::id());
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let (busy_ticks, all_ticks) = ticks_in(&stat).context("/proc/stat has no line `cpu`")?;
        Ok(Self { busy_ticks, all_ticks, our_ticks })
    }

    /// The share of all cores, 0 to 1, that neither we nor what we started has used since.
    pub(super) fn share_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let busy = now.busy_ticks.saturating_sub(self.busy_ticks);
        let others = busy.saturating_sub(now.our_ticks.saturating_sub(self.our_ticks));
        Ok(others as f64 / now.all_ticks.saturating_sub(self.all_ticks).max(1) as f64)
    }
}

/// Busy and all ticks of all cores: idle and iowait are the fourth and fifth number, guests' time is in the first two.
fn ticks_in(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|number| number.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_all_ticks() {
        assert_eq!(ticks_in("cpu  5 1 4 80 10 0 0 0 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"), Some((10, 100)));
        assert_eq!(ticks_in("intr 1"), None);
    }

    #[test]
    fn what_ended_children_used_is_ours() {
        let before = proc_fs::ticks_ever(std::process::id());
        let mut busy = std::process::Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]).status().unwrap();
        assert!(proc_fs::ticks_ever(std::process::id()) > before);
    }
}
