//! The binary as it is handed out: compiled a second time, for what the first one was seen to do under load.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{Running, free_addrs};
use crate::{command, h2load, tools, workspace, wrk};

/// How long each load runs: what is counted is which way branches go, and that is soon known.
const TIME: Duration = Duration::from_secs(2);

/// What the first binary is watched at: the work of a proxy, in the proportion in which it should be quick.
const TRAINING: &[Load] = &[
    Load::wrk("/bytes/1k", &[], 64),
    Load::wrk("/bytes/1k", AS_A_BROWSER, 16),
    Load::wrk("/bytes/100k", &[], 32),
    Load::wrk("/chunked/100k", &[], 32),
    Load::wrk("/sha256", &["--script", "bench/post-16k.lua"], 32),
    Load::wrk("/bytes/1k", &["--header", "Connection: close"], 16),
    Load { tls: true, ..Load::wrk("/bytes/1k", AS_A_BROWSER, 64) },
    Load { tls: true, ..Load::wrk("/bytes/100k", &[], 32) },
    Load { tls: true, ..Load::wrk("/bytes/1k", &["--header", "Connection: close"], 16) },
    Load { http2: true, ..Load::wrk("/bytes/1k", &[], 32) },
    Load { http2: true, tls: true, ..Load::wrk("/bytes/1k", &[], 32) },
];

const AS_A_BROWSER: &[&str] = &[
    "--header",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "--header",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "--header",
    "Accept-Language: en-US,en;q=0.5",
    "--header",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "--header",
    "Cookie: session=0123456789abcdef; theme=dark",
];

/// One kind of work.
struct Load {
    path: &'static str,
    /// wrk's.
    options: &'static [&'static str],
    connections: u32,
    http2: bool,
    tls: bool,
}

impl Load {
    const fn wrk(path: &'static str, options: &'static [&'static str], connections: u32) -> Self {
        Self { path, options, connections, http2: false, tls: false }
    }

    /// Puts it on a proxy that listens at `plain`, and at `tls`.
    fn run(&self, plain: SocketAddr, tls: SocketAddr) -> Result<u64> {
        let url = if self.tls { format!("https://{tls}{}", self.path) } else { format!("http://{plain}{}", self.path) };
        if self.http2 {
            let mut command = Command::new(tools::H2LOAD.path()?);
            return h2load::run_for(&mut command, self.connections, 16, TIME, &url);
        }
        let mut command = Command::new(tools::WRK.path()?);
        command.current_dir(workspace::root()).args(self.options);
        Ok(wrk::run(&mut command, self.connections, TIME, &url)?.requests)
    }
}

/// Builds it, and says where it is.
pub(crate) fn run() -> Result<bool> {
    let binary = binary()?;
    println!("built: {}", binary.display());
    Ok(true)
}

/// Builds the binary that is handed out, and returns its path.
///
/// It is compiled with counters, set to work as a proxy, and compiled again for what was counted. The work is done once for
/// each build with counters.
///
/// # Errors
/// It does not build, a load went wrong, or what merges the counts is missing.
pub(crate) fn binary() -> Result<PathBuf> {
    tools::need(&[tools::H2LOAD, tools::WRK])?;
    let merge = profdata()?;
    let folder = workspace::target_dir().join("profile");
    let counting = build("counting", &format!("-Cprofile-generate={}", folder.join("counts").display()))?;
    let profile = folder.join("sheave.profdata");
    if !is_newer(&profile, &counting) {
        train(&counting, &folder)?;
        let mut merge = Command::new(merge);
        merge.args(["merge", "--output"]).arg(&profile).arg(folder.join("counts"));
        command::output(&mut merge)?;
    }
    // Cargo looks at flags alone: another profile has another name.
    let named = folder.join(format!("sheave-{:016x}.profdata", digest(&profile)?));
    if !named.exists() {
        fs::copy(&profile, &named).with_context(|| format!("cannot write {}", named.display()))?;
    }
    build("profiled", &format!("-Cprofile-use={}", named.display()))
}

/// Builds the binary with these flags, beside those that are set for all, in a folder of its own below the target folder.
///
/// `--target` keeps the flags out of build scripts and macros.
fn build(kind: &str, flags: &str) -> Result<PathBuf> {
    let folder = workspace::target_dir().join("profile").join(kind);
    let host = workspace::host()?;
    let flags = [std::env::var("RUSTFLAGS").unwrap_or_default().as_str(), flags].join(" ");
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--locked", "--package", "sheave", "--target", &host]);
    build.env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", flags.trim());
    println!("$ {}", command::line(&build));
    ensure!(command::succeeds(&mut build)?, "the release binary does not build; the compiler's words stand above");
    Ok(folder.join(host).join("release").join("sheave"))
}

/// Has the binary do all of [`TRAINING`]; its counts are in `folder` then.
fn train(binary: &Path, folder: &Path) -> Result<()> {
    let counts = folder.join("counts");
    if counts.exists() {
        fs::remove_dir_all(&counts).with_context(|| format!("cannot empty {}", counts.display()))?;
    }
    fs::create_dir_all(&counts).with_context(|| format!("cannot create {}", counts.display()))?;
    let [origin, plain, tls] = free_addrs()?;
    // What an origin does is not what a proxy does.
    let mut serve = Command::new(binary);
    serve.args(["origin", "--access-log", "off", "--from", &origin.to_string()]).env("LLVM_PROFILE_FILE", "/dev/null");
    let mut serving = Running::start("origin", &serve, folder)?;
    serving.wait_until_it_listens(origin)?;
    let mut proxy = Command::new(binary);
    proxy.args(["proxy", "--access-log", "off", "--workers", "1", "--to", &origin.to_string(), "--tls-self-signed"]);
    proxy.args(["--from", &format!("http://{plain}"), "--from", &format!("https://{tls}")]);
    proxy.env("LLVM_PROFILE_FILE", counts.join("%p.profraw"));
    let mut proxying = Running::start("proxy", &proxy, folder)?;
    proxying.wait_until_it_listens(plain)?;
    for load in TRAINING {
        let requests = load.run(plain, tls).with_context(|| format!("amid {}", load.path))?;
        let version = if load.http2 { "HTTP/2" } else { "HTTP/1.1" };
        println!("  {requests} requests: {version}{} {}", if load.tls { ", TLS" } else { "" }, load.path);
    }
    // Counts are written when it ends by itself.
    proxying.terminate();
    let ended = proxying.wait(Duration::from_secs(30))?;
    ensure!(ended.is_some_and(|status| status.success()), "the proxy did not end well; it said:\n{}", proxying.said());
    Ok(())
}

/// What merges counts: the toolchain's own, else the distribution's, which reads what rustc writes since LLVM 19.
fn profdata() -> Result<PathBuf> {
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let own = Path::new(sysroot.trim()).join("lib/rustlib").join(workspace::host()?).join("bin/llvm-profdata");
    if own.exists() {
        return Ok(own);
    }
    tools::need(&[tools::LLVM_PROFDATA])?;
    tools::LLVM_PROFDATA.path()
}

/// Whether `file` is there, and was written after `other`.
fn is_newer(file: &Path, other: &Path) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    written(file).is_some_and(|at| Some(at) > written(other))
}

fn digest(file: &Path) -> Result<u64> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manner_of_a_client_is_trained() {
        for (http2, tls) in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(TRAINING.iter().any(|load| load.http2 == http2 && load.tls == tls), "HTTP/2: {http2}, TLS: {tls}");
        }
        for load in TRAINING {
            let script = load.options.iter().find(|option| option.ends_with(".lua"));
            assert!(script.is_none_or(|script| workspace::root().join(script).exists()), "{script:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_newer() {
        let here = workspace::root().join("Cargo.toml");
        assert!(!is_newer(&here.with_file_name("nothing"), &here) && !is_newer(&here, &here));
    }
}
