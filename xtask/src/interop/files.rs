//! The files that go through the proxy, and their digests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// A file that every origin can serve as `/files/NAME`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sample {
    /// 10 KiB: head and body in one segment.
    Small,
    /// 1 MiB: more than the buffers in between.
    Medium,
    /// 64 MiB: more than the proxy may hold.
    Large,
    /// 1 GiB.
    Huge,
}

impl Sample {
    const ALL: [Self; 4] = [Self::Small, Self::Medium, Self::Large, Self::Huge];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small.bin",
            Self::Medium => "medium.bin",
            Self::Large => "large.bin",
            Self::Huge => "huge.bin",
        }
    }

    pub(super) fn len_bytes(self) -> u64 {
        match self {
            Self::Small => 10 << 10,
            Self::Medium => 1 << 20,
            Self::Large => 64 << 20,
            Self::Huge => 1 << 30,
        }
    }

    /// The length for people.
    pub(super) fn size(self) -> &'static str {
        match self {
            Self::Small => "10 KiB",
            Self::Medium => "1 MiB",
            Self::Large => "64 MiB",
            Self::Huge => "1 GiB",
        }
    }
}

/// All samples on disk, in `ROOT/files`.
pub(super) struct Files {
    root: PathBuf,
    digests: BTreeMap<Sample, String>,
}

impl Files {
    /// Writes them, unless an earlier run left them. No two blocks of 64 KiB of a file are equal, so a block that is
    /// lost, doubled or out of place shows.
    pub(super) fn create(root: PathBuf) -> Result<Self> {
        let folder = root.join("files");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut digests = BTreeMap::new();
        for sample in Sample::ALL {
            let path = folder.join(sample.name());
            let digest = match left_by_an_earlier_run(&path, sample) {
                Some(digest) => digest,
                None => write(&path, sample).with_context(|| format!("{} ({})", path.display(), sample.size()))?,
            };
            digests.insert(sample, digest);
        }
        Ok(Self { root, digests })
    }

    /// What an origin serves as `/`.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the samples lie.
    pub(super) fn folder(&self) -> PathBuf {
        self.root.join("files")
    }

    pub(super) fn path(&self, sample: Sample) -> PathBuf {
        self.folder().join(sample.name())
    }

    /// SHA-256 in hexadecimal.
    pub(super) fn digest(&self, sample: Sample) -> &str {
        &self.digests[&sample]
    }
}

/// The digest is written when the file is whole.
fn left_by_an_earlier_run(path: &Path, sample: Sample) -> Option<String> {
    let is_whole = fs::metadata(path).is_ok_and(|file| file.len() == sample.len_bytes());
    let digest = fs::read_to_string(path.with_extension("sha256")).ok()?;
    is_whole.then_some(digest)
}

fn write(path: &Path, sample: Sample) -> Result<String> {
    if sample == Sample::Huge { marks(path, sample) } else { noise(path, sample) }?;
    let digest = sha256(path)?;
    fs::write(path.with_extension("sha256"), &digest)?;
    Ok(digest)
}

/// Pseudo-random bytes, the same in every run.
fn noise(path: &Path, sample: Sample) -> Result<()> {
    let mut file = std::io::BufWriter::with_capacity(1 << 16, File::create(path)?);
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ sample.len_bytes();
    for _ in 0..sample.len_bytes() / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// Zeros, with its own number in every block of 64 KiB: a gibibyte that takes a sixteenth of it on disk.
fn marks(path: &Path, sample: Sample) -> Result<()> {
    let file = File::create(path)?;
    file.set_len(sample.len_bytes())?;
    for offset in (0..sample.len_bytes()).step_by(64 << 10) {
        file.write_all_at(&(offset + 1).to_le_bytes(), offset)?;
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let said = command::output(Command::new("sha256sum").arg("--binary").arg(path))?;
    Ok(said.split_whitespace().next().context("sha256sum printed nothing")?.to_owned())
}
