//! Where the measurement runs: a network of its own without BBR, two cores, enough descriptors; and what it all is.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::programs::Programs;
use crate::{command, peers, process, tools};

/// Tells the inner run that it stands in a network of its own (`own`), or why not.
const MARK: &str = "XTASK_BENCH_NETWORK";

/// Runs this very command line again in a fresh network namespace, whose congestion control is reno or cubic.
///
/// BBR paces with timers, which costs the sender CPU by the wall clock and distorts what a request costs; on loopback
/// there is no congestion to control. Returns the inner run's success, or `None` when we are the inner run.
pub(super) fn in_a_network_of_its_own() -> Result<Option<bool>> {
    if std::env::var_os(MARK).is_some() {
        return Ok(None);
    }
    tools::need(&[tools::IP])?;
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.arg("--net").arg("--");
    let why_not = match command::capture(command::behind(&[], &unshare).arg("true")) {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(command::both(&output).trim().to_owned()),
        Err(error) => Some(format!("{error:#}")),
    };
    let mut inner = match &why_not {
        None => {
            unshare.args(process::BOUND_TO_US).args(["sh", "-c", SETTINGS, "sh"]).arg(std::env::current_exe()?);
            unshare
        }
        Some(_) => command::behind(process::BOUND_TO_US, &Command::new(std::env::current_exe()?)),
    };
    inner.args(std::env::args_os().skip(1)).env(MARK, why_not.unwrap_or_else(|| "own".to_owned()));
    Ok(Some(inner.stdin(Stdio::null()).status().context("cannot start the measurement")?.success()))
}

/// What the new network is set to, before the program that follows takes over.
const SETTINGS: &str = r#"
ip link set lo up || exit
cd /proc/sys/net/ipv4
echo reno >tcp_congestion_control 2>/dev/null || echo cubic >tcp_congestion_control 2>/dev/null
echo 1024 65535 >ip_local_port_range
cd "$OLDPWD"
exec "$@"
"#;

/// The proxy's core, and the core of load and origin.
pub(super) struct Cores {
    pub(super) proxy: String,
    pub(super) others: String,
}

impl Cores {
    pub(super) fn choose() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        match cores_in(list.trim()).as_slice() {
            [proxy, others, ..] => Ok(Self { proxy: proxy.to_string(), others: others.to_string() }),
            _ => bail!("a benchmark needs two cores, one for the proxy and one for load and origin; this has `{list}`"),
        }
    }
}

/// `0-1,4` as 0, 1, 4.
fn cores_in(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Lets every process that we start from here on hold as many descriptors as this system allows us.
/// Says how many those are.
pub(super) fn raise_descriptor_limit(needed: u64) -> Result<u64> {
    let now = getrlimit(Resource::Nofile);
    // Root may go beyond the hard limit; others take what there is.
    let wanted = needed.max(65_536);
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: Some(wanted) }).is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })
            .context("cannot raise the limit of open files")?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(wanted))
}

/// Names and versions of everything that takes part, for the report.
pub(super) struct Facts(pub(super) Vec<(&'static str, String)>);

impl Facts {
    pub(super) fn gather(sheave: &Path) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let network = match std::env::var(MARK).as_deref() {
            Ok("own") => "a network namespace of its own".to_owned(),
            Ok(why) => format!("the system's own network, shared with everything else ({why})"),
            Err(_) => "unknown".to_owned(),
        };
        Ok(Self(vec![
            ("sheave", peers::version_of(sheave, "--version")),
            ("nginx", peers::version_of(&tools::NGINX.path()?, "-v")),
            ("HAProxy", peers::version_of(&tools::HAPROXY.path()?, "-v")),
            ("engines of the other peers", Programs::engines()?),
            ("Go", tools::GO.path().map_or("not here".to_owned(), |go| peers::version_of(&go, "version"))),
            ("wrk", peers::version_of(&tools::WRK.path()?, "-v")),
            ("h2load", peers::version_of(&tools::H2LOAD.path()?, "--version")),
            ("rustc", peers::version_of(Path::new("rustc"), "-V")),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("processor", format!("{}, {cores} cores", cpu.unwrap_or("of an unknown make"))),
            ("network", network),
            ("congestion control", read("/proc/sys/net/ipv4/tcp_congestion_control")),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists() {
        assert_eq!(cores_in("0-1"), [0, 1]);
        assert_eq!(cores_in("2,5-7"), [2, 5, 6, 7]);
        assert_eq!(cores_in(""), Vec::<u32>::new());
    }
}
