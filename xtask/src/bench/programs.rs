//! What is built for a comparison: sheave, its examples, and the peers that are small programs of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{command, release, tools, workspace};

/// The peers stand outside the workspace: what they lean on is nobody else's.
const MANIFEST: &str = "bench/peers/Cargo.toml";

/// Those in Go, which are built where there is one.
const GO: &str = "bench/peers/go";

/// Where the programs are.
pub(super) struct Programs {
    sheave: PathBuf,
    unprofiled: PathBuf,
    has_tls: bool,
    peers: PathBuf,
    go: PathBuf,
}

impl Programs {
    /// Builds everything that is not there yet; `binary` is a sheave that is built already, and stands for the one that is
    /// handed out.
    pub(super) fn build(binary: Option<&Path>) -> Result<Self> {
        let sheave = match binary {
            Some(path) => path.canonicalize().with_context(|| format!("there is no binary {}", path.display()))?,
            None => release::binary()?,
        };
        let unprofiled = workspace::release_binary()?;
        let mut examples = workspace::cargo();
        examples.args(["build", "--release", "--package", "sheave"]);
        for name in ["bare_hello", "bare_service", "bare_client", "calls"] {
            examples.args(["--example", name]);
        }
        // By itself: what other crates' tests want of what both lean on is not to slow it down.
        let mut routers = workspace::cargo();
        routers.args(["build", "--release", "--package", "sheave-tower", "--example", "bare_axum"]);
        let target = workspace::target_dir().join("bench-peers");
        let mut peers = workspace::cargo();
        peers.args(["build", "--release", "--locked", "--manifest-path", MANIFEST]);
        peers.env("CARGO_TARGET_DIR", &target);
        let mut builds = vec![examples, routers, peers];
        if tools::GO.path().is_ok() {
            let mut go = Command::new(tools::GO.path()?);
            go.current_dir(workspace::root().join(GO))
                .args(["build", "-o"])
                .arg(target.join("go/"))
                .args(["./hello", "./calls"]);
            builds.push(go);
        }
        for mut build in builds {
            println!("$ {}", command::line(&build));
            ensure!(command::succeeds(&mut build)?, "this does not build; the compiler's words stand above");
        }
        let help = command::capture(Command::new(&sheave).args(["proxy", "--help"]))?;
        let has_tls = command::both(&help).contains("--tls-cert");
        Ok(Self { sheave, unprofiled, has_tls, peers: target.join("release"), go: target.join("go") })
    }

    pub(super) fn sheave(&self) -> &Path {
        &self.sheave
    }

    /// What `cargo build --release` makes.
    pub(super) fn unprofiled(&self) -> &Path {
        &self.unprofiled
    }

    /// Whether this sheave can speak TLS.
    pub(super) const fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// A program of `bench/peers`.
    pub(super) fn peer(&self, name: &str) -> PathBuf {
        self.peers.join(name)
    }

    /// A program of `bench/peers/go`.
    ///
    /// # Errors
    /// There is no Go here.
    pub(super) fn go(&self, name: &str) -> Result<PathBuf> {
        tools::GO.path().map(|_| self.go.join(name))
    }

    /// An example of one of our crates.
    pub(super) fn example(&self, name: &str) -> PathBuf {
        workspace::target_dir().join("release/examples").join(name)
    }

    /// `name version` for each engine that the peers are built on, from their lock file.
    pub(super) fn engines() -> Result<String> {
        let path = workspace::root().join(MANIFEST).with_file_name("Cargo.lock");
        let lock = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let engines =
            ["hyper", "hyper-util", "axum", "actix-web", "actix-http", "pingora-core", "reqwest", "tokio", "rustls"];
        let versions = engines.iter().filter_map(|name| Some(format!("{name} {}", version_in(&lock, name)?)));
        Ok(versions.collect::<Vec<_>>().join(", "))
    }
}

fn version_in<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"hyper-util\"\nversion = \"0.1.21\"\n\n[[package]]\nname = \"hyper\"\nversion = \"1.2.3\"\n";
        assert_eq!(version_in(lock, "hyper"), Some("1.2.3"));
        assert_eq!(version_in(lock, "tokio"), None);
    }

    #[test]
    fn every_engine_is_in_the_lock_file() {
        let engines = Programs::engines().unwrap();
        assert_eq!(engines.split(", ").count(), 9, "{engines}");
    }
}
