//! Where things lie: the checkout, the target folder, the toolchain's host.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::command;

/// The checkout's top folder: the one that cargo runs us for, else the one that we were built in.
///
/// The two differ where several checkouts share one target folder.
pub(crate) fn root() -> PathBuf {
    let built_in = || env!("CARGO_MANIFEST_DIR").into();
    let mut path = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built_in));
    path.pop();
    path
}

/// Cargo's target folder: `CARGO_TARGET_DIR` where it is set (relative to the checkout), else `target/`.
pub(crate) fn target_dir() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The cargo that runs this chore, standing in the checkout.
///
/// `cargo run` tells its children about xtask's own package (`CARGO_MANIFEST_DIR` and its like); a child cargo must not
/// see that, or build scripts that watch those variables are rebuilt on every call.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let of_a_package = text.starts_with("CARGO_PKG_")
            || matches!(text, "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME");
        if of_a_package {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds the binary as it is released and returns its path.
pub(crate) fn release_binary() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "sheave"]);
    println!("$ {}", command::line(&build));
    ensure!(command::succeeds(&mut build)?, "the release binary does not build; the compiler's words stand above");
    Ok(target_dir().join("release").join("sheave"))
}

/// The workspace's packages with their declared dependencies; nothing is resolved or downloaded.
pub(crate) fn metadata() -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed; `cargo metadata --no-deps` in the checkout says why")
}

/// The target triple of the toolchain in use, such as `x86_64-unknown-linux-gnu`.
pub(crate) fn host() -> Result<String> {
    let version = command::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc -vV printed no `host:` line; is this a rustup toolchain?")?.trim().to_owned();
    ensure!(!host.is_empty(), "rustc -vV printed an empty `host:` line");
    Ok(host)
}
