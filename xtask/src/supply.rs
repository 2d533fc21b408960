//! The supply chain: cargo-deny over every dependency, offline where the network does not reach the advisories.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::gate::{Options, Outcome};
use crate::{command, fuzz, workspace};

/// The one release that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

const REPEAT: &str = "cargo xtask ci --only deny";

/// Licences, bans and sources from what is here; advisories when their database can be fetched.
pub(crate) fn check(_: &Options) -> Result<Outcome> {
    let program = cargo_deny()?;
    for manifest in ["Cargo.toml", fuzz::MANIFEST] {
        let mut offline = deny(&program, manifest);
        offline.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
        println!("$ {}", command::line(&offline));
        if !command::succeeds(&mut offline)? {
            return Ok(Outcome::Failed(REPEAT.to_owned()));
        }
    }
    let fetched = command::capture(deny(&program, "Cargo.toml").args(["fetch", "db"]))?;
    if !fetched.status.success() {
        let said = command::both(&fetched);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim();
        return Ok(Outcome::PassedWithout(format!("advisories: their database cannot be fetched ({last})")));
    }
    for manifest in ["Cargo.toml", fuzz::MANIFEST] {
        let mut advisories = deny(&program, manifest);
        advisories.args(["check", "--disable-fetch", "advisories"]);
        println!("$ {}", command::line(&advisories));
        if !command::succeeds(&mut advisories)? {
            return Ok(Outcome::Failed(REPEAT.to_owned()));
        }
    }
    Ok(Outcome::Passed)
}

fn deny(program: &PathBuf, manifest: &str) -> Command {
    let mut command = Command::new(program);
    let root = workspace::root();
    command.current_dir(&root).arg("--manifest-path").arg(manifest).arg("--config").arg("deny.toml");
    command
}

/// The pinned cargo-deny under the target folder, built there when it is missing.
///
/// It runs for a second a day and is compiled on every fresh machine, so it is built without optimisation: 40 seconds
/// of two cores instead of several minutes.
fn cargo_deny() -> Result<PathBuf> {
    let home = workspace::target_dir().join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = home.join("bin").join("cargo-deny");
    if program.exists() {
        return Ok(program);
    }
    let mut install = workspace::cargo();
    install
        .args(["install", "--locked", "--quiet", "--version", CARGO_DENY, "--root"])
        .arg(&home)
        .arg("cargo-deny")
        .env("CARGO_TARGET_DIR", home.join("build"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    println!(
        "cargo-deny {CARGO_DENY} is not here yet; building it once, about a minute\n$ {}",
        command::line(&install)
    );
    ensure!(command::succeeds(&mut install)?, "cargo-deny could not be built; is the package registry reachable?");
    std::fs::remove_dir_all(home.join("build")).context("cannot remove cargo-deny's build folder")?;
    Ok(program)
}
