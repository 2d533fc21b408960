//! Programs that chores need, installed from the distribution's packages when they are missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// A program and the Debian package that brings it.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
}

pub(crate) const CMAKE: Tool = Tool { program: "cmake", package: "cmake" };
pub(crate) const CXX: Tool = Tool { program: "g++", package: "g++" };
pub(crate) const CURL: Tool = Tool { program: "curl", package: "curl" };
pub(crate) const GO: Tool = Tool { program: "go", package: "golang-go" };
pub(crate) const H2LOAD: Tool = Tool { program: "h2load", package: "nghttp2-client" };
pub(crate) const HAPROXY: Tool = Tool { program: "haproxy", package: "haproxy" };
pub(crate) const IP: Tool = Tool { program: "ip", package: "iproute2" };
pub(crate) const LLVM_PROFDATA: Tool = Tool { program: "llvm-profdata-19", package: "llvm-19" };
pub(crate) const NGINX: Tool = Tool { program: "nginx", package: "nginx" };
pub(crate) const NODE: Tool = Tool { program: "node", package: "nodejs" };
pub(crate) const NPM: Tool = Tool { program: "npm", package: "npm" };
pub(crate) const OPENSSL: Tool = Tool { program: "openssl", package: "openssl" };
pub(crate) const PYTHON: Tool = Tool { program: "python3", package: "python3" };
pub(crate) const VALGRIND: Tool = Tool { program: "valgrind", package: "valgrind" };
pub(crate) const WRK: Tool = Tool { program: "wrk", package: "wrk" };

impl Tool {
    /// Where it is.
    ///
    /// # Errors
    /// It is not installed.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        find(self.program).with_context(|| format!("{} is missing; install the package {}", self.program, self.package))
    }
}

/// Sees to it that each tool is there.
///
/// # Errors
/// One is missing and could not be installed: the message names the packages.
pub(crate) fn need(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    println!("missing programs; installing the packages {}", packages.join(" "));
    install(&packages)?;
    if let Some(tool) = missing.iter().find(|tool| find(tool.program).is_none()) {
        bail!("the package {} was installed, but {} is still not on the PATH", tool.package, tool.program);
    }
    Ok(())
}

/// The full path of a program; also where daemons live, which is not on every PATH.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// `apt-get install`, with one `apt-get update` when the package lists are empty or old.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("install the packages {} and try again", packages.join(" "));
    if find("apt-get").is_none() {
        bail!("this system has no apt-get: {by_hand} (these are Debian's names)");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("only root may install packages: sudo apt-get install {}, and try again", packages.join(" "));
    }
    if apt_get(&["install", "--yes", "--no-install-recommends"], packages)? {
        return Ok(());
    }
    if apt_get(&["update"], &[])? && apt_get(&["install", "--yes", "--no-install-recommends"], packages)? {
        return Ok(());
    }
    bail!("apt-get failed, as told above: {by_hand}")
}

fn apt_get(verb: &[&str], packages: &[&str]) -> Result<bool> {
    let mut apt_get = Command::new("apt-get");
    apt_get.arg("--quiet=2").args(verb).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    // nginx and haproxy would start as services on port 80; in runlevel 1 their scripts start nothing.
    apt_get.env("RUNLEVEL", "1").current_dir(Path::new("/"));
    println!("$ {}", command::line(&apt_get));
    command::succeeds(&mut apt_get)
}
