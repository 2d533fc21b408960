//! One sample: wrk against one proxy for some seconds, and the CPU that the proxy spent meanwhile.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contenders::Contender;
use super::environment::Cores;
use super::scenario::Scenario;
use crate::{command, proc_fs, tools, workspace, wrk};

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

fn wrk(contender: &Contender, scenario: &Scenario, cores: &Cores, time: Duration) -> Result<wrk::Report> {
    let mut load = command::bounded("taskset".into(), time + Duration::from_secs(20));
    load.args(["--cpu-list", &cores.others]).arg(tools::WRK.path()?);
    if let Some(script) = scenario.script {
        load.arg("--script").arg(workspace::root().join("bench").join(script));
    }
    if scenario.closes {
        load.args(["--header", "Connection: close"]);
    }
    let report = wrk::run(&mut load, scenario.connections, time, &url(contender, scenario));
    report.with_context(|| format!("{} under {}", contender.name, scenario.name))
}
