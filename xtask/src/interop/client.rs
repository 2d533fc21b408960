//! Our client against the origins themselves, without a proxy: what it fetches and sends arrives, over connections that it
//! keeps, also where the origin gives up waiting.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::base::Base;
use super::certificates;
use super::files::{Files, Sample};
use super::origins::{ORIGINS, Offers, Origin, Upload};
use super::run::{Place, SetUp};
use super::table::Table;
use crate::process::free_addrs;
use crate::{command, workspace};

pub(super) const SET_UPS: &[SetUp] = &[SetUp { name: "our-client", run: all }];

/// Longer than the client's own.
const PATIENCE: Duration = Duration::from_secs(80);

fn all(table: &mut Table, place: &Place<'_>) -> Result<()> {
    let program = build()?;
    for origin in ORIGINS {
        let folder = place.folder.join(origin.name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        table.peer = origin.name;
        if let Err(error) = one(table, origin, &program, place.files, &folder) {
            table.check("set-up", || Err(error));
        }
    }
    Ok(())
}

/// The example `fetch`, which does what it is told and says what came of it.
fn build() -> Result<PathBuf> {
    let mut build = workspace::cargo();
    build.args(["build", "--quiet", "--package", "sheave-client", "--example", "fetch"]);
    ensure!(command::succeeds(&mut build)?, "the client does not build; the compiler's words stand above");
    Ok(workspace::target_dir().join("debug").join("examples").join("fetch"))
}

fn one(table: &mut Table, origin: &Origin, program: &Path, files: &Files, folder: &Path) -> Result<()> {
    let [addr] = free_addrs()?;
    let mut running = (origin.start)(addr, files, folder)?;
    running[0].wait_until_it_listens(addr)?;
    let mut spoken = Vec::new();
    for &speaks in origin.speaks {
        // Which TLS it is, the two find out by themselves.
        if spoken.contains(&(speaks.is_h2(), speaks.is_secured())) {
            continue;
        }
        spoken.push((speaks.is_h2(), speaks.is_secured()));
        table.speaks = match (speaks.is_h2(), speaks.is_secured()) {
            (false, false) => "h1",
            (false, true) => "h1/TLS",
            (true, false) => "h2c",
            (true, true) => "h2/TLS",
        };
        let to = Target { base: Base { addr, speaks }, program, files, offers: &origin.offers };
        table.check("our client: files, one connection", || to.files_in_a_row());
        table.check("our client: 64 MiB", || to.large());
        if let Some(upload) = to.offers.upload {
            table.check("our client: an upload", || to.upload(upload));
        }
        if to.offers.counts_posts {
            table.check("our client: POST after the origin's close", || to.posts_around_the_close());
        }
    }
    Ok(())
}

/// What our client is pointed at.
struct Target<'a> {
    base: Base,
    program: &'a Path,
    files: &'a Files,
    offers: &'a Offers,
}

/// What it got: all contents in a row, and a line about each.
struct Got {
    content: Vec<u8>,
    lines: Vec<String>,
}

impl Target<'_> {
    fn fetch(&self, arguments: &[&str], paths: &[&str]) -> Result<Got> {
        let mut client: Command = command::bounded(self.program.to_owned(), PATIENCE);
        if self.base.speaks.is_h2() {
            client.arg("--http2");
        }
        if self.base.speaks.is_secured() {
            client.arg("--ca").arg(certificates::authority());
        }
        client.args(arguments).args(paths.iter().map(|path| format!("{}{path}", self.base)));
        let output = client.stdin(Stdio::null()).output().context("cannot start the client")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "the client failed ({}): {}", output.status, said.trim());
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        ensure!(lines.len() == paths.len(), "{} answers to {} requests: {}", lines.len(), paths.len(), said.trim());
        Ok(Got { content: output.stdout, lines })
    }

    fn is(&self, content: &[u8], samples: &[Sample]) -> Result<()> {
        let mut expected = Vec::new();
        for sample in samples {
            expected.extend(fs::read(self.files.path(*sample)).context("cannot read a sample")?);
        }
        ensure!(content == expected, "{} bytes came, which are not the {} of the files", content.len(), expected.len());
        Ok(())
    }

    /// A line as the client says it of a response with `status`.
    fn expected(&self, status: u16, connection: &str) -> String {
        let version = if self.base.speaks.is_h2() { "HTTP/2.0" } else { "HTTP/1.1" };
        format!("{status} {version} {connection}")
    }

    fn files_in_a_row(&self) -> Result<String> {
        let samples = [Sample::Small, Sample::Medium, Sample::Small];
        let got = self.fetch(&[], &samples.map(path))?;
        self.is(&got.content, &samples)?;
        if !self.offers.keeps_alive {
            return Ok("three files".to_owned());
        }
        let expected = ["new", "reused", "reused"].map(|connection| self.expected(200, connection));
        ensure!(got.lines == expected, "{:?} instead of {expected:?}", got.lines);
        Ok("three files, one connection".to_owned())
    }

    fn large(&self) -> Result<String> {
        let got = self.fetch(&[], &[path(Sample::Large)])?;
        self.is(&got.content, &[Sample::Large])?;
        Ok(Sample::Large.size().to_owned())
    }

    fn upload(&self, how: Upload) -> Result<String> {
        let sample = Sample::Medium;
        let file = self.files.path(sample);
        let file = file.to_str().context("the samples' path is no text")?;
        match how {
            Upload::Digest => {
                let got = self.fetch(&["--post", file], &["/digest"])?;
                let (heard, expected) = (
                    String::from_utf8_lossy(&got.content).into_owned(),
                    format!("{} {}", self.files.digest(sample), sample.len_bytes()),
                );
                ensure!(heard.trim() == expected, "the origin received `{heard}` instead of `{expected}`");
            }
            Upload::Put => {
                let stored = "/put/by-our-client.bin";
                let got = self.fetch(&["--put", file], &[stored])?;
                let is_stored = got.lines[0].starts_with("201 ") || got.lines[0].starts_with("204 ");
                ensure!(is_stored, "PUT was answered with `{}`", got.lines[0]);
                self.is(&self.fetch(&[], &[stored])?.content, &[sample])?;
            }
        }
        Ok(sample.size().to_owned())
    }

    /// The origin closes what was idle for a second, and has not said so. Requests that must not be sent twice come just
    /// before, at, and after that moment; none may fail.
    fn posts_around_the_close(&self) -> Result<String> {
        let file = self.files.path(Sample::Small);
        let file = file.to_str().context("the samples' path is no text")?;
        let expected = format!("{} {}", self.files.digest(Sample::Small), Sample::Small.len_bytes());
        let mut posts = 0;
        for pause in ["960", "990", "1000", "1010", "1100"] {
            let got = self.fetch(&["--post", file, "--pause", pause], &["/digest"; 3])?;
            let heard = String::from_utf8_lossy(&got.content).into_owned();
            ensure!(heard.matches(&expected).count() == 3, "with pauses of {pause} ms the origin received {heard:?}");
            posts += got.lines.len();
        }
        Ok(format!("{posts} answered"))
    }
}

const fn path(sample: Sample) -> &'static str {
    match sample {
        Sample::Small => "/files/small.bin",
        Sample::Medium => "/files/medium.bin",
        Sample::Large => "/files/large.bin",
        Sample::Huge => "/files/huge.bin",
    }
}
