//! One sample: a load against one contender for some seconds, and the CPU or the memory that the contender spent on it.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contenders::{Contender, Place, Started};
use super::crowd::Crowd;
use super::scenario::{Class, Front, Scenario, Work};
use crate::{command, h2load, proc_fs, tools, workspace, wrk};

/// What one sample tells.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sample {
    /// CPU time per request of all the contender's processes, user and system, in microseconds; or bytes of memory a
    /// connection.
    pub(super) cost: f64,
    /// Requests answered, or connections held.
    pub(super) count: u64,
    pub(super) per_second: Option<f64>,
    /// Share of its core that the contender used, 0 to 1.
    pub(super) busy: Option<f64>,
    /// 99th percentile of the response time, in milliseconds.
    pub(super) p99_ms: Option<f64>,
    /// Bytes a connection that were still held after all had closed.
    pub(super) kept: Option<f64>,
}

/// Connections are made, buffers grow and the pool fills before the counting.
const WARM_UP: Duration = Duration::from_secs(1);

/// What the contender still has to do as the load's connections close belongs to its requests.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// Allocators give back what they do not need with a delay.
const MEMORY_SETTLES: Duration = Duration::from_millis(2500);

/// Fails when it does not answer as the origin would: then there is nothing to compare.
pub(super) fn answers_right(started: &Started, scenario: &Scenario) -> Result<()> {
    let mut curl = Command::new(tools::CURL.path()?);
    curl.args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", "5", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code} %{size_download} %{http_version}"]);
    let version = match scenario.front {
        Front::Http1 | Front::Tls => "1.1",
        Front::Http2 | Front::TlsHttp2 => "2",
    };
    match scenario.front {
        Front::Http1 => {}
        Front::Tls => drop(curl.arg("--http1.1")),
        Front::Http2 => drop(curl.arg("--http2-prior-knowledge")),
        Front::TlsHttp2 => drop(curl.arg("--http2")),
    }
    if let Work::Wrk { script: Some(_), .. } = scenario.work {
        curl.args(["--data", "x"]);
    }
    let said = command::output(curl.arg(url(started, scenario)))?;
    let expected = format!("200 {} {version}", scenario.response_len);
    ensure!(said == expected, "answers {} with `{said}` instead of `{expected}`", scenario.path);
    Ok(())
}

/// One sample of a contender that runs.
pub(super) fn cpu(started: &Started, scenario: &Scenario, place: &Place, time: Duration) -> Result<Sample> {
    let mut sparse = match scenario.work {
        Work::Sparse { connections, rate } => {
            let address = started.addr(scenario.front).to_string();
            let words = ["sparse", &address, &connections.to_string(), &rate.to_string(), &time.as_secs().to_string()];
            Some(Crowd::start(place, &words, "idle")?)
        }
        _ => {
            load(started, scenario, place, WARM_UP)?;
            None
        }
    };
    let pid = started.running.pid();
    let (began, before) = (Instant::now(), proc_fs::cpu_time(pid)?);
    let report = match &mut sparse {
        Some(crowd) => crowd.report()?,
        None => load(started, scenario, place, time)?,
    };
    thread::sleep(AFTERWARDS);
    let (wall, cpu) = (began.elapsed(), proc_fs::cpu_time(pid)?.saturating_sub(before));
    // The close of thousands of connections is no part of their requests.
    drop(sparse);
    let requests = report.requests as f64;
    Ok(Sample {
        cost: cpu.as_secs_f64() * 1e6 / requests,
        count: report.requests,
        per_second: Some(requests / report.secs),
        busy: Some(cpu.as_secs_f64() / wall.as_secs_f64()),
        p99_ms: report.p99_ms,
        kept: None,
    })
}

/// Bytes of memory a connection, in a process of its own: what was held once stays in the allocator.
pub(super) fn memory(contender: &Contender, scenario: &Scenario, place: &Place) -> Result<Sample> {
    let started = place.start(contender, scenario)?;
    let pid = started.running.pid();
    let count = scenario.work.connections();
    let (address, number) = (started.addr(scenario.front).to_string(), count.to_string());
    let words: &[&str] = match (scenario.work, scenario.front) {
        (Work::ParkedOrigins { .. }, _) => &["held", &address, &number],
        (_, Front::Tls) => &["crowd", &address, &number, "tls"],
        _ => &["crowd", &address, &number],
    };
    let mut crowd = Crowd::start(place, words, "warm")?;
    let held = || {
        thread::sleep(MEMORY_SETTLES);
        proc_fs::anonymous_bytes(pid).map(|bytes| bytes as f64)
    };
    let before = held()?;
    crowd.go_on()?;
    let with = held()?;
    let kept = match scenario.work {
        Work::IdleClients { .. } => {
            crowd.go_on()?;
            Some((held()? - before) / f64::from(count))
        }
        // Its clients are gone; what the pool holds is what is measured.
        _ => None,
    };
    Ok(Sample { cost: (with - before) / f64::from(count), count: count.into(), kept, ..Sample::default() })
}

/// A client is its own load: it says how many requests it made and what they cost it.
pub(super) fn client(contender: &Contender, at_once: u32, place: &Place, time: Duration) -> Result<Sample> {
    let mut calls = contender.calls(&place.programs)?;
    calls.arg(place.origin.to_string()).arg(at_once.to_string()).arg(time.as_secs().to_string());
    let said = command::output(&mut command::behind(&["taskset", "--cpu-list", &place.cores.proxy], &calls))?;
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [requests, nanos] = numbers.as_slice() else {
        anyhow::bail!("{} printed `{}` instead of two numbers", contender.name, said.trim());
    };
    ensure!(*requests > 0, "{} got no response at all", contender.name);
    Ok(Sample {
        cost: *nanos as f64 / 1e3 / *requests as f64,
        count: *requests,
        per_second: Some(*requests as f64 / time.as_secs_f64()),
        busy: Some(*nanos as f64 / 1e9 / time.as_secs_f64()),
        ..Sample::default()
    })
}

fn url(started: &Started, scenario: &Scenario) -> String {
    format!("{}://{}{}", scenario.front.scheme(), started.addr(scenario.front), scenario.path)
}

/// What a load did.
pub(super) struct Report {
    pub(super) requests: u64,
    pub(super) secs: f64,
    pub(super) p99_ms: Option<f64>,
}

fn load(started: &Started, scenario: &Scenario, place: &Place, time: Duration) -> Result<Report> {
    let mut load = command::bounded("taskset".into(), time + Duration::from_secs(20));
    load.args(["--cpu-list", &place.cores.others]);
    let url = url(started, scenario);
    let said = match scenario.work {
        Work::Wrk { connections, script, closes } => {
            load.arg(tools::WRK.path()?);
            if let Some(script) = script {
                load.arg("--script").arg(workspace::root().join("bench").join(script));
            }
            if closes {
                load.args(["--header", "Connection: close"]);
            }
            wrk::run(&mut load, connections, time, &url).map(|said| Report {
                requests: said.requests,
                secs: said.secs,
                p99_ms: Some(said.p99_ms),
            })
        }
        Work::H2load { connections, streams } => {
            load.arg(tools::H2LOAD.path()?);
            h2load::run_for(&mut load, connections, streams, time, &url).map(|requests| Report {
                requests,
                secs: time.as_secs_f64(),
                p99_ms: None,
            })
        }
        Work::Handshakes { is_resumed, at_once } => {
            let address = started.addr(scenario.front).to_string();
            let kind = if is_resumed { "resumed" } else { "full" };
            load.arg(place.programs.peer("bench-load")).args(["handshakes", &address, kind]);
            load.arg(at_once.to_string()).arg(time.as_secs().to_string());
            command::output(&mut load).and_then(|said| Report::parse(&said))
        }
        Work::Sparse { .. } | Work::IdleClients { .. } | Work::ParkedOrigins { .. } | Work::Calls { .. } => {
            anyhow::bail!("{} is no load of this kind", scenario.name)
        }
    };
    said.with_context(|| format!("{} under {}", started.name, scenario.name))
}

impl Report {
    /// `REQUESTS SECONDS P99`, as `bench-load` prints it.
    pub(super) fn parse(said: &str) -> Result<Self> {
        let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [requests, secs, p99_ms] = numbers.as_slice() else {
            anyhow::bail!("bench-load printed `{}` instead of three numbers", said.trim());
        };
        ensure!(*requests >= 1.0 && *secs > 0.0, "bench-load got no response at all");
        // A whole number was printed, far below 2^53.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Self { requests: *requests as u64, secs: *secs, p99_ms: Some(*p99_ms) })
    }
}

/// Starts whoever has to run during a scenario's rounds, and asks each once; whoever answers wrongly is left out, with the
/// reason.
pub(super) fn gather(scenario: &Scenario, contender: &Contender, place: &Place) -> Result<Option<Started>> {
    if scenario.class == Class::Clients {
        return contender.calls(&place.programs).map(|_| None);
    }
    let started = place.start(contender, scenario)?;
    if !matches!(scenario.work, Work::ParkedOrigins { .. }) {
        answers_right(&started, scenario)?;
    }
    // Memory is measured in processes of their own.
    Ok((!scenario.work.is_memory()).then_some(started))
}
