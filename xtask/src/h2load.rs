//! h2load, and its report.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::command;

/// Runs `h2load`, a command line up to h2load's own options, for some time; how many requests were answered.
///
/// # Errors
/// A request failed, a status was not 2xx, or nothing was answered at all.
pub(crate) fn run_for(h2load: &mut Command, connections: u32, streams: u32, time: Duration, url: &str) -> Result<u64> {
    h2load.args(["--threads", "1", "--clients", &connections.to_string()]);
    h2load.args(["--max-concurrent-streams", &streams.to_string()]);
    h2load.arg("--duration").arg(time.as_secs().to_string()).arg(url);
    requests(&command::output(h2load)?)
}

/// `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout`.
fn requests(said: &str) -> Result<u64> {
    let counts = said.lines().find(|line| line.starts_with("requests:")).context("h2load printed no request counts")?;
    let codes =
        said.lines().find(|line| line.starts_with("status codes:")).context("h2load printed no status codes")?;
    let clean = counts.ends_with(" 0 failed, 0 errored, 0 timeout") && codes.ends_with(" 0 3xx, 0 4xx, 0 5xx");
    ensure!(clean, "h2load counted: {counts}; {codes}");
    let words: Vec<&str> = counts.split_whitespace().collect();
    let succeeded = words.windows(2).find(|pair| pair[1] == "succeeded,").and_then(|pair| pair[0].parse().ok());
    let succeeded: u64 = succeeded.context("h2load printed no number of successes")?;
    ensure!(succeeded > 0, "h2load got no response at all");
    Ok(succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_s_counts() {
        let said = "requests: 51 total, 51 started, 50 done, 50 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    status codes: 50 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert_eq!(requests(said).unwrap(), 50);
        assert!(requests(&said.replace("0 failed", "1 failed")).is_err());
        assert!(requests(&said.replace("0 5xx", "1 5xx")).is_err());
        assert!(requests(&said.replace("50 succeeded", "0 succeeded")).is_err());
        assert!(requests("").is_err());
    }
}
