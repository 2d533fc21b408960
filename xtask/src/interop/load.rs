//! wrk and h2load for a few seconds, and the errors that they counted.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::base::Base;
use crate::{command, tools, wrk};

/// Longer than any run of ours: a load that hangs is a finding.
const PATIENCE: Duration = Duration::from_secs(30);

/// wrk with `connections` kept alive. Every response must be 2xx or 3xx, and no socket may fail.
pub(super) fn wrk(base: Base, path: &str, connections: u32) -> Result<String> {
    let mut load = command::bounded(tools::WRK.path()?, PATIENCE);
    let report = wrk::run(&mut load, connections, Duration::from_secs(2), &format!("{base}{path}"))?;
    Ok(format!("{} requests", report.requests))
}

/// h2load: a second client of another make. Of HTTP/1.1 it pipelines nothing; of HTTP/2 it has eight streams on each of an
/// eighth of the connections, so that as much is under way.
pub(super) fn h2load(base: Base, path: &str, connections: u32, requests: u32) -> Result<String> {
    let mut h2load: Command = command::bounded(tools::H2LOAD.path()?, PATIENCE);
    let clients = if base.speaks.is_h2() { connections.div_ceil(8) } else { connections };
    h2load.args(if base.speaks.is_h2() { &["--max-concurrent-streams", "8"][..] } else { &["--h1"] });
    h2load.args(["--threads", "1", "--clients", &clients.to_string()]);
    h2load.args(["--requests", &requests.to_string(), &format!("{base}{path}")]);
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
    fn h2load_s_report() {
        let said = "requests: 50 total, 50 started, 50 done, 50 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    status codes: 50 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert!(judge_h2load(said, 50).is_ok());
        assert!(judge_h2load(said, 51).is_err());
        assert!(judge_h2load(&said.replace("50 2xx, 0 3xx, 0 4xx, 0 5xx", "49 2xx, 0 3xx, 0 4xx, 1 5xx"), 50).is_err());
    }
}
