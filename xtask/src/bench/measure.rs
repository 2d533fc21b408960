//! One sample: wrk against one proxy for some seconds, and the CPU that the proxy spent meanwhile.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contenders::Contender;
use super::environment::Cores;
use super::scenario::Scenario;
use crate::{command, proc_fs, tools, workspace};

/// What one sample tells.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) requests: u64,
    /// CPU time per request of all the proxy's processes, user and system, in microseconds.
    pub(super) cpu_us: f64,
    pub(super) per_second: f64,
    /// Share of the proxy's core that it used, 0 to 1.
    pub(super) busy: f64,
    /// 99th percentile of the response time, in milliseconds.
    pub(super) p99_ms: f64,
}

/// Connections are made, buffers grow and the pool fills before the counting.
const WARM_UP: Duration = Duration::from_secs(1);

/// The proxy answers as the origin would: otherwise there is nothing to compare.
pub(super) fn answers_right(contender: &Contender, scenario: &Scenario) -> Result<()> {
    let mut curl = Command::new(tools::CURL.path()?);
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "5", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code} %{size_download}"]);
    if scenario.script.is_some() {
        curl.args(["--data", "x"]);
    }
    let said = command::output(curl.arg(url(contender, scenario)))?;
    let expected = format!("200 {}", scenario.response_len);
    ensure!(said == expected, "{} answers {} with `{said}` instead of `{expected}`", contender.name, scenario.path);
    Ok(())
}

pub(super) fn sample(contender: &Contender, scenario: &Scenario, cores: &Cores, time: Duration) -> Result<Sample> {
    wrk(contender, scenario, cores, WARM_UP)?;
    let pid = contender.running.pid();
    let (began, before) = (Instant::now(), proc_fs::cpu_time(pid)?);
    let load = wrk(contender, scenario, cores, time)?;
    // What the proxy still has to do as wrk's connections close belongs to its requests.
    thread::sleep(Duration::from_millis(100));
    let (wall, cpu) = (began.elapsed(), proc_fs::cpu_time(pid)?.saturating_sub(before));
    let requests = load.requests as f64;
    Ok(Sample {
        requests: load.requests,
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        per_second: requests / load.secs,
        busy: cpu.as_secs_f64() / wall.as_secs_f64(),
        p99_ms: load.p99_ms,
    })
}

fn url(contender: &Contender, scenario: &Scenario) -> String {
    format!("http://{}{}", contender.addr, scenario.path)
}

/// wrk's own report.
#[derive(Debug, PartialEq)]
struct Load {
    requests: u64,
    secs: f64,
    p99_ms: f64,
}

fn wrk(contender: &Contender, scenario: &Scenario, cores: &Cores, time: Duration) -> Result<Load> {
    let patience = time + Duration::from_secs(20);
    let mut wrk = command::bounded("taskset".into(), patience);
    wrk.args(["--cpu-list", &cores.others]).arg(tools::WRK.path()?);
    wrk.args(["--threads", "1", "--latency", "--timeout", "10s"]);
    wrk.args(["--connections", &scenario.connections.to_string(), "--duration", &format!("{}s", time.as_secs())]);
    if let Some(script) = scenario.script {
        wrk.arg("--script").arg(workspace::root().join("bench").join(script));
    }
    if scenario.closes {
        wrk.args(["--header", "Connection: close"]);
    }
    let said = command::output(wrk.arg(url(contender, scenario)))?;
    Load::parse(&said).with_context(|| format!("{} under {}", contender.name, scenario.name))
}

impl Load {
    /// # Errors
    /// wrk counted a failed socket or a status that is not 2xx or 3xx: a proxy that drops work is not compared.
    fn parse(said: &str) -> Result<Self> {
        let lines = || said.lines().map(str::trim);
        let trouble: Vec<&str> =
            lines().filter(|line| line.starts_with("Socket err") || line.starts_with("Non-2xx")).collect();
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
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
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
        let load = Load::parse(said).unwrap();
        assert_eq!(load, Load { requests: 46_000, secs: 2.0, p99_ms: 3.5 });
        assert!(Load::parse(&format!("{said}  Socket errors: connect 1, read 0, write 0, timeout 0\n")).is_err());
        assert!(Load::parse("").is_err());
    }

    #[test]
    fn wrk_s_durations() {
        assert_eq!(seconds("812.00us"), Some(0.000_812));
        assert_eq!(seconds("1.10m"), Some(66.0));
        assert_eq!(seconds("5"), None);
    }
}
