//! The proxy that is tried: how it is started, and what it must show at the end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::base::{Base, Speaks};
use super::certificates;
use super::checks::DROPS;
use super::curl::Curl;
use super::ledger;
use super::table::Table;
use crate::proc_fs;
use crate::process::{Running, free_addrs};

/// The most that the proxy may ever hold, whatever its origins and clients do. With HTTP/2's windows open on both sides, 64
/// connections hold up to 50 MiB; a body of 64 MiB that is collected somewhere, on top of what is held without it, is more.
const MEMORY_BOUND_BYTES: u64 = 60 << 20;

/// A running proxy with its addresses.
pub(super) struct Proxy {
    running: Running,
    /// Where clients connect to without TLS.
    pub(super) plain: SocketAddr,
    /// Where they connect to with TLS.
    pub(super) secured: SocketAddr,
    /// Where it tells of itself.
    pub(super) admin: SocketAddr,
}

impl Proxy {
    /// A proxy to `to`, with `more` arguments.
    pub(super) fn start(binary: &Path, to: &str, more: &[&str], folder: &Path) -> Result<Self> {
        let [plain, secured, admin] = free_addrs()?;
        let mut command = Command::new(binary);
        command.args(["proxy", "--workers", "2", "--access-log", "off", "--to", to]).args(more);
        command.args(["--from", &format!("http://{plain}"), "--from", &format!("https://{secured}")]);
        command.arg("--tls-cert").arg(certificates::server()).arg("--tls-key").arg(certificates::server_key());
        command.args(["--admin", &admin.to_string()]);
        if to.starts_with("https://") {
            command.arg("--upstream-ca").arg(certificates::authority());
        }
        let mut running = Running::start("sheave", &command, folder)?;
        for addr in [plain, secured, admin] {
            running.wait_until_it_listens(addr)?;
        }
        Ok(Self { running, plain, secured, admin })
    }

    /// Where clients reach it who speak so.
    pub(super) const fn base(&self, speaks: Speaks) -> Base {
        Base { addr: if speaks.is_secured() { self.secured } else { self.plain }, speaks }
    }

    /// The checks of the proxy itself, once its clients are gone; they end it. `drips` is where clients reach a `/drip`.
    pub(super) fn examine(self, table: &mut Table, drips: Option<Base>) {
        let admin = self.admin;
        table.speaks = "";
        table.check("its books: no 5xx of its own", || ledger::no_errors_of_its_own(admin));
        self.examine_failures(table, drips);
    }

    /// The same where failures were provoked, which it may have told.
    pub(super) fn examine_failures(mut self, table: &mut Table, drips: Option<Base>) {
        table.speaks = "";
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
        table.check("SIGTERM", || match drips {
            Some(base) => self.end_while_it_works(base),
            None => self.end(),
        });
    }

    /// A response is under way when SIGTERM comes: it arrives whole, and the exit code is 0.
    fn end_while_it_works(&mut self, base: Base) -> Result<String> {
        let said = thread::scope(|scope| {
            let response = scope.spawn(move || Curl::new().url(base, "/drip").text());
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
