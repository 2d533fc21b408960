//! One set-up after the other: start all that it needs, try everything, and tell all in a table.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::announced;
use super::base::Base;
use super::certificates;
use super::checks::{CHECKS, Target};
use super::client;
use super::connect;
use super::files::Files;
use super::fronts;
use super::grpc;
use super::openssl;
use super::origins::{ORIGINS, Origin};
use super::proxy::Proxy;
use super::streams;
use super::table::Table;
use super::websocket;
use crate::process::{Running, free_addrs};
use crate::{peers, tools, workspace};

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

/// What a set-up is given: the sample files, an empty folder of its own, the proxy.
pub(super) struct Place<'a> {
    pub(super) files: &'a Files,
    pub(super) folder: &'a Path,
    pub(super) binary: &'a Path,
}

/// A set-up that makes no sense without the proxy: its name, and the doing.
pub(super) struct SetUp {
    pub(super) name: &'static str,
    pub(super) run: fn(&mut Table, &Place<'_>) -> Result<()>,
}

/// All set-ups beside those of an origin each.
fn others() -> impl Iterator<Item = &'static SetUp> {
    let all = [
        fronts::SET_UPS,
        announced::SET_UPS,
        openssl::SET_UPS,
        grpc::SET_UPS,
        streams::SET_UPS,
        websocket::SET_UPS,
        client::SET_UPS,
        connect::SET_UPS,
    ];
    all.into_iter().flatten()
}

/// Runs all set-ups; `false` when a check failed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let known: Vec<&str> = ORIGINS.iter().map(|origin| origin.name).chain(others().map(|other| other.name)).collect();
    if let Some(name) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no set-up `{name}`; they are {}", known.join(", "));
    }
    let began = Instant::now();
    let (http, programs) =
        ([tools::CURL, tools::WRK, tools::H2LOAD], [tools::NGINX, tools::HAPROXY, tools::PYTHON, tools::NODE]);
    tools::need(&http)?;
    tools::need(&programs)?;
    tools::need(&[tools::OPENSSL, tools::NPM])?;
    peers::python()?;
    peers::node_modules()?;
    certificates::create()?;
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
        set_up(&mut table, origin.name, |table| match &binary {
            Some(binary) => behind(table, origin, &Place { files: &files, folder: &folder, binary }),
            None => alone(table, origin, &files, &folder),
        });
    }
    let Some(binary) = &binary else { return Ok(table.sum_up(began.elapsed(), &home)) };
    for other in others().filter(|other| wanted(other.name)) {
        let folder = fresh(&home, other.name)?;
        set_up(&mut table, other.name, |table| (other.run)(table, &Place { files: &files, folder: &folder, binary }));
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
    table.speaks = "";
    if let Err(error) = run(table) {
        table.check("set-up", || Err(error));
    }
}

/// Clients and the origin.
fn alone(table: &mut Table, origin: &Origin, files: &Files, folder: &Path) -> Result<()> {
    let [addr] = free_addrs()?;
    let mut running = (origin.start)(addr, files, folder)?;
    running[0].wait_until_it_listens(addr)?;
    for speaks in origin.speaks {
        let base = Base { addr, speaks: *speaks };
        try_all(table, &Target { base, files, offers: &origin.offers, direct: true, with_long: true }, &mut running)?;
    }
    Ok(())
}

/// Clients, the proxy, the origin.
fn behind(table: &mut Table, origin: &Origin, place: &Place<'_>) -> Result<()> {
    let [addr] = free_addrs()?;
    let mut running = (origin.start)(addr, place.files, place.folder)?;
    running[0].wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &format!("{}://{addr}", origin.scheme), &[], place.folder)?;
    for (index, speaks) in origin.clients.iter().enumerate() {
        let base = proxy.base(*speaks);
        let target = Target { base, files: place.files, offers: &origin.offers, direct: false, with_long: index == 0 };
        try_all(table, &target, &mut running)?;
    }
    let drips = origin.offers.drips.then(|| proxy.base(origin.clients[0]));
    proxy.examine(table, drips);
    Ok(())
}

/// Makes all checks that fit.
pub(super) fn try_all(table: &mut Table, target: &Target<'_>, origin: &mut [Running]) -> Result<()> {
    let speaks = target.base.speaks;
    table.speaks = speaks.name();
    let fits =
        CHECKS.iter().filter(|check| (check.fits)(target.offers, speaks) && (target.with_long || !check.is_long));
    for check in fits {
        table.check(check.name, || (check.run)(target));
        origin.iter_mut().try_for_each(Running::expect_alive).context("no more checks here: the origin is gone")?;
    }
    Ok(())
}
