//! wrk and h2load for a few seconds, and the errors that they counted.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{command, tools};

/// Longer than any run of ours: a load that hangs is a finding.
const PATIENCE: Duration = Duration::from_secs(30);

/// wrk with `connections` kept alive. Every response must be 2xx, and no socket may fail.
pub(super) fn wrk(base: SocketAddr, path: &str, connections: u32, secs: u32) -> Result<String> {
    let mut wrk = command::bounded(tools::WRK.path()?, PATIENCE);
    wrk.args(["--threads", "1", "--timeout", "10s", "--connections", &connections.to_string()]);
    wrk.args(["--duration", &format!("{secs}s"), &format!("http://{base}{path}")]);
    judge_wrk(&command::output(&mut wrk)?)
}

fn judge_wrk(said: &str) -> Result<String> {
    let trouble: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("Socket errors") || line.starts_with("Non-2xx"))
        .collect();
    ensure!(trouble.is_empty(), "wrk counted: {}", trouble.join("; "));
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 = requests.and_then(|(number, _)| number.parse().ok()).context("wrk printed no request count")?;
    ensure!(requests > 0, "wrk got no response at all");
    Ok(format!("{requests} requests"))
}

/// h2load speaking HTTP/1.1: a second client of another make, with pipelining off.
pub(super) fn h2load(base: SocketAddr, path: &str, connections: u32, requests: u32) -> Result<String> {
    let mut h2load: Command = command::bounded(tools::H2LOAD.path()?, PATIENCE);
    h2load.args(["--h1", "--threads", "1", "--clients", &connections.to_string()]);
    h2load.args(["--requests", &requests.to_string(), &format!("http://{base}{path}")]);
    judge_h2load(&command::output(&mut h2load)?, requests)
}

fn judge_h2load(said: &str, requests: u32) -> Result<String> {
    let counts = said.lines().find(|line| line.starts_with("requests:")).context("h2load printed no request counts")?;
    let codes =
        said.lines().find(|line| line.starts_with("status codes:")).context("h2load printed no status codes")?;
    let clean = counts.contains(&format!(" {requests} succeeded, 0 failed, 0 errored, 0 timeout"))
        && codes.contains(&format!(" {requests} 2xx, 0 3xx, 0 4xx, 0 5xx"));
    ensure!(clean, "h2load counted: {counts}; {codes}");
    Ok(format!("{requests} requests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_s_report() {
        let clean = "Running 1s test\n  1 threads and 8 connections\n  92103 requests in 1.00s, 99.9MB read\n";
        assert_eq!(judge_wrk(clean).unwrap(), "92103 requests");
        assert!(judge_wrk(&format!("{clean}  Socket errors: connect 0, read 3, write 0, timeout 0\n")).is_err());
        assert!(judge_wrk(&format!("{clean}  Non-2xx or 3xx responses: 4\n")).is_err());
        assert!(judge_wrk("  0 requests in 1.00s, 0.00B read\n").is_err());
    }

    #[test]
    fn h2load_s_report() {
        let said = "requests: 50 total, 50 started, 50 done, 50 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    status codes: 50 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert!(judge_h2load(said, 50).is_ok());
        assert!(judge_h2load(said, 51).is_err());
        assert!(judge_h2load(&said.replace("50 2xx, 0 3xx, 0 4xx, 0 5xx", "49 2xx, 0 3xx, 0 4xx, 1 5xx"), 50).is_err());
    }
}
