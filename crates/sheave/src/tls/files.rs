//! Certificates and keys in files, and what is wrong with them: which file, what, and what to do.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sheave_net::tls::certificate::{Identity, PemFault, Roots};

use crate::duration;

/// Reads a certificate and its key. The flags are named in errors.
///
/// # Errors
///
/// A line that says which file, what is wrong with it, and what to do.
pub(super) fn identity(certificate: &Path, key: &Path, flags: [&str; 2]) -> Result<Identity, String> {
    let [certificate_flag, key_flag] = flags;
    let certificates = read(certificate, certificate_flag)?;
    let keys = read(key, key_flag)?;
    Identity::from_pem(&certificates, &keys).map_err(|fault| match fault {
        PemFault::NoKey | PemFault::EncryptedKey | PemFault::BadKey(_) => wrong(key, key_flag, &fault),
        PemFault::Mismatch => format!(
            "the private key in {} is not the key of the first certificate in {}: give the files of one and the same \
             certificate, in the same order, the server's own certificate before those of its issuers ({certificate_flag}, \
             {key_flag})",
            key.display(),
            certificate.display()
        ),
        fault => wrong(certificate, certificate_flag, &fault),
    })
}

/// Reads a bundle of issuers' certificates.
///
/// # Errors
///
/// As for [`identity`].
pub(super) fn roots(path: &Path, flag: &str) -> Result<Roots, String> {
    Roots::from_pem(&read(path, flag)?).map_err(|fault| wrong(path, flag, &fault))
}

fn read(path: &Path, flag: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "check its path",
            io::ErrorKind::PermissionDenied => "let this process's user read it",
            _ => "it has to be a file that can be read",
        };
        format!("cannot read {}: {error}; {remedy} ({flag})", path.display())
    })
}

fn wrong(path: &Path, flag: &str, fault: &PemFault) -> String {
    format!("{}: {fault} ({flag})", path.display())
}

/// What is worth a warning about a certificate's time, if anything is.
pub(super) fn untimely(identity: &Identity) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let validity = identity.validity();
    if let Some(since) = validity.expired_for(now) {
        return Some(format!("it expired {} ago: clients refuse it; renew it", duration::display(since)));
    }
    let until = validity.begins_in(now)?;
    Some(format!(
        "it is valid only in {}: until then clients refuse it; check this machine's clock",
        duration::display(until)
    ))
}

/// What tells one state of a file from the next without reading it; `None` where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// The file's, behind all links: whoever renews certificates may exchange a link alone.
    pub(super) fn of(path: &Path) -> Self {
        let stamp = |file: Metadata| (file.ino(), file.size(), file.mtime(), file.mtime_nsec());
        Self(fs::metadata(path).ok().map(stamp))
    }
}
