//! wrk, and its report.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::command;

/// What wrk measured.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) secs: f64,
    /// 99th percentile of the response time, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// Runs `wrk`, a command line up to wrk's own options, with one thread over `connections`.
///
/// # Errors
/// A socket failed, a status was not 2xx or 3xx, or nothing was answered at all.
pub(crate) fn run(wrk: &mut Command, connections: u32, time: Duration, url: &str) -> Result<Report> {
    wrk.args(["--threads", "1", "--latency", "--timeout", "10s", "--connections", &connections.to_string()]);
    wrk.arg("--duration").arg(format!("{}s", time.as_secs())).arg(url);
    Report::parse(&command::output(wrk)?)
}

impl Report {
    fn parse(said: &str) -> Result<Self> {
        let lines = || said.lines().map(str::trim);
        let is_trouble = |line: &&str| line.starts_with("Socket errors") || line.starts_with("Non-2xx");
        let trouble: Vec<&str> = lines().filter(is_trouble).collect();
        ensure!(trouble.is_empty(), "wrk counted: {}", trouble.join("; "));
        let (requests, rest) =
            lines().find_map(|line| line.split_once(" requests in ")).context("wrk printed no request count")?;
        let secs = rest.split(',').next().and_then(seconds).context("wrk printed no duration")?;
        let p99 = lines().find_map(|line| line.strip_prefix("99%")).and_then(|text| seconds(text.trim()));
        let requests: u64 = requests.parse().context("wrk's request count is no number")?;
        ensure!(requests > 0 && secs > 0.0, "wrk got no response at all");
        Ok(Self { requests, secs, p99_ms: p99.context("wrk printed no 99th percentile")? * 1e3 })
    }
}

/// wrk's durations: `1.23ms`, `5.00s`, `812.00us`, `1.10m`.
fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    match unit {
        "us" => Some(number / 1e6),
        "ms" => Some(number / 1e3),
        "s" => Some(number),
        "m" => Some(number * 60.0),
        "h" => Some(number * 3600.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_s_report() {
        let said =
            "  Latency Distribution\n     50%    1.02ms\n     99%    3.50ms\n  46000 requests in 2.00s, 58.9MB read\n";
        let report = Report::parse(said).unwrap();
        assert_eq!(report, Report { requests: 46_000, secs: 2.0, p99_ms: 3.5 });
        assert!(Report::parse(&format!("{said}  Socket errors: connect 1, read 0, write 0, timeout 0\n")).is_err());
        assert!(Report::parse(&format!("{said}  Non-2xx or 3xx responses: 4\n")).is_err());
        assert!(Report::parse(&said.replace("46000", "0")).is_err());
        assert!(Report::parse("").is_err());
    }

    #[test]
    fn wrk_s_durations() {
        assert_eq!(seconds("812.00us"), Some(0.000_812));
        assert_eq!(seconds("1.10m"), Some(66.0));
        assert_eq!(seconds("5"), None);
    }
}
