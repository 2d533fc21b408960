//! One proxy an origin: start both, try everything, read the books, end it while it works, and tell all in a table.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};

use super::checks::{CHECKS, DROPS, Target};
use super::curl::Curl;
use super::files::Files;
use super::ledger;
use super::origins::{ORIGINS, Offers, Origin};
use crate::process::{Running, free_addrs};
use crate::{peers, proc_fs, tools, workspace};

/// What to run.
#[derive(Default)]
pub(crate) struct Options {
    /// Names of set-ups; all when empty.
    pub(crate) only: Vec<String>,
    /// Clients speak to the origins themselves: what fails now is not the proxy's fault.
    pub(crate) direct: bool,
    /// A proxy that is built already; `None` builds the release binary.
    pub(crate) binary: Option<PathBuf>,
}

/// The most that the proxy may ever hold, whatever its origins and clients do. A worker's buffers and 64 connections
/// are less than a tenth of it; a body of 64 MiB that is collected somewhere is more.
const MEMORY_BOUND_BYTES: u64 = 48 << 20;

/// HAProxy in front is a set-up of its own.
const FRONT: &str = "haproxy";

/// Runs all set-ups; `false` when a check failed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let known: Vec<&str> = ORIGINS.iter().map(|origin| origin.name).chain([FRONT]).collect();
    if let Some(name) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no set-up `{name}`; they are {}", known.join(", "));
    }
    let began = Instant::now();
    tools::need(&[tools::CURL, tools::WRK, tools::H2LOAD, tools::NGINX, tools::HAPROXY, tools::PYTHON, tools::NODE])?;
    peers::python_with_uvicorn()?;
    let binary = match (&options.binary, options.direct) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => None,
        (None, false) => Some(workspace::release_binary()?),
    };
    let home = workspace::target_dir().join("interop");
    let files = Files::create(home.join("root"))?;
    let mut table = Table::default();
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|one| one == name);
    for origin in ORIGINS.iter().filter(|origin| wanted(origin.name)) {
        let folder = fresh(&home, origin.name)?;
        set_up(&mut table, origin.name, |table| behind(table, origin, &files, &folder, binary.as_deref()));
    }
    if let (true, Some(binary)) = (wanted(FRONT), &binary) {
        let folder = fresh(&home, FRONT)?;
        set_up(&mut table, FRONT, |table| in_front(table, &files, &folder, binary));
    }
    Ok(table.sum_up(began.elapsed(), &home))
}

/// An empty folder for one set-up's logs and configuration.
fn fresh(home: &Path, name: &str) -> Result<PathBuf> {
    let folder = home.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A set-up that does not even start is a failed check, and the others still run.
fn set_up(table: &mut Table, name: &'static str, run: impl FnOnce(&mut Table) -> Result<()>) {
    table.peer = name;
    if let Err(error) = run(table) {
        table.check("set-up", || Err(error));
    }
}

/// A running proxy with its addresses.
struct Proxy {
    running: Running,
    from: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    fn start(binary: &Path, to: SocketAddr, folder: &Path) -> Result<Self> {
        let [from, admin] = free_addrs()?;
        let mut command = Command::new(binary);
        command.args(["proxy", "--workers", "2", "--access-log", "off"]);
        command.args(["--from", &from.to_string(), "--to", &to.to_string(), "--admin", &admin.to_string()]);
        let mut running = Running::start("sheave", &command, folder)?;
        running.wait_until_it_listens(from)?;
        running.wait_until_it_listens(admin)?;
        Ok(Self { running, from, admin })
    }

    /// The checks of the proxy itself, once its clients are gone; they end it.
    fn examine(mut self, table: &mut Table, offers: &Offers) {
        let (pid, admin) = (self.running.pid(), self.admin);
        table.check("the proxy's memory", || {
            let peak = proc_fs::peak_memory_bytes(pid)?;
            ensure!(
                peak <= MEMORY_BOUND_BYTES,
                "{} MiB at its peak; the bound is {}",
                peak >> 20,
                MEMORY_BOUND_BYTES >> 20
            );
            Ok(format!("{} MiB at its peak", peak >> 20))
        });
        table.check("its books: opened = live + closed", || ledger::balances(admin));
        table.check("its books: no 5xx of its own", || ledger::no_errors_of_its_own(admin));
        table.check("SIGTERM", || if offers.drips { self.end_while_it_works() } else { self.end() });
    }

    /// A response is under way when SIGTERM comes: it arrives whole, and the exit code is 0.
    fn end_while_it_works(&mut self) -> Result<String> {
        let from = self.from;
        let said = thread::scope(|scope| {
            let response = scope.spawn(move || Curl::new().url(from, "/drip").text());
            thread::sleep(Duration::from_millis(400));
            let ended = self.end();
            let said = response.join().expect("a check does not panic").context("the response under way")?;
            ended.map(|_| said)
        })?;
        ensure!(said.body == DROPS, "the response under way was cut to {:?}", said.body);
        Ok("exit code 0, the response under way arrived whole".to_owned())
    }

    fn end(&mut self) -> Result<String> {
        self.running.terminate();
        match self.running.wait(Duration::from_secs(15))? {
            Some(status) if status.code() == Some(0) => Ok("exit code 0".to_owned()),
            Some(status) => bail!("it ended with {status}; it said:\n{}", self.running.said()),
            None => bail!("it still runs 15 s after SIGTERM; it said:\n{}", self.running.said()),
        }
    }
}

/// Clients, the proxy (or nothing), the origin.
fn behind(table: &mut Table, origin: &Origin, files: &Files, folder: &Path, binary: Option<&Path>) -> Result<()> {
    let [addr] = free_addrs()?;
    let mut running = (origin.start)(addr, files, folder)?;
    running.wait_until_it_listens(addr)?;
    let proxy = binary.map(|binary| Proxy::start(binary, addr, folder)).transpose()?;
    let base = proxy.as_ref().map_or(addr, |proxy| proxy.from);
    try_all(table, &Target { base, files, offers: &origin.offers, direct: proxy.is_none() }, &mut running)?;
    if let Some(proxy) = proxy {
        proxy.examine(table, &origin.offers);
    }
    Ok(())
}

/// Clients, HAProxy, the proxy, nginx.
fn in_front(table: &mut Table, files: &Files, folder: &Path, binary: &Path) -> Result<()> {
    let [addr, front_addr] = free_addrs()?;
    let origin = &ORIGINS[0];
    let mut running = (origin.start)(addr, files, folder)?;
    running.wait_until_it_listens(addr)?;
    let proxy = Proxy::start(binary, addr, folder)?;
    let config = include_str!("../../peers/haproxy-front.cfg")
        .replace("{{addr}}", &front_addr.to_string())
        .replace("{{to}}", &proxy.from.to_string());
    let mut front = peers::haproxy("haproxy-front", &config, folder, &[])?;
    front.wait_until_it_listens(front_addr)?;
    try_all(table, &Target { base: front_addr, files, offers: &origin.offers, direct: false }, &mut running)?;
    // HAProxy keeps its connections to the proxy: they close with it.
    drop(front);
    proxy.examine(table, &origin.offers);
    Ok(())
}

fn try_all(table: &mut Table, target: &Target<'_>, origin: &mut Running) -> Result<()> {
    for check in CHECKS.iter().filter(|check| (check.fits)(target.offers)) {
        table.check(check.name, || (check.run)(target));
        origin.expect_alive().context("no more checks here: the origin is gone")?;
    }
    Ok(())
}

/// The checks that were made, printed as they end.
#[derive(Default)]
struct Table {
    peer: &'static str,
    passed: usize,
    failures: Vec<String>,
}

impl Table {
    fn check(&mut self, name: &str, run: impl FnOnce() -> Result<String>) {
        if self.passed + self.failures.len() == 0 {
            println!("{:<6} {:<12} {:<36} {:>6}   seen", "", "peer", "check", "s");
        }
        let start = Instant::now();
        let outcome = run();
        let secs = start.elapsed().as_secs_f64();
        let (word, seen) = match &outcome {
            Ok(seen) => ("ok", seen.clone()),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        let line = format!("{word:<6} {:<12} {name:<36} {secs:>6.2}   {}", self.peer, seen.trim_end());
        println!("{line}");
        match outcome {
            Ok(_) => self.passed += 1,
            Err(_) => self.failures.push(line.lines().next().unwrap_or_default().to_owned()),
        }
    }

    fn sum_up(&self, took: Duration, logs: &Path) -> bool {
        let all = self.passed + self.failures.len();
        println!("\n{all} checks in {:.0} s, {} failed", took.as_secs_f64(), self.failures.len());
        if !self.failures.is_empty() {
            println!("{}", self.failures.join("\n"));
            println!("The logs of both sides are below {}.", logs.display());
            println!("`cargo xtask interop --direct` makes the same checks without the proxy.");
        }
        // No check at all is no proof.
        self.failures.is_empty() && all > 0
    }
}
