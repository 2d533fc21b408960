//! An authority of the run's own, and what it has signed: for servers, and for a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, tools, workspace};

/// Where they lie.
fn folder() -> PathBuf {
    workspace::target_dir().join("interop").join("certificates")
}

/// The authority's own certificate: whom all clients and origins of the run believe.
pub(super) fn authority() -> PathBuf {
    folder().join("authority.pem")
}

/// For `localhost` and 127.0.0.1.
pub(super) fn server() -> PathBuf {
    folder().join("server.pem")
}

pub(super) fn server_key() -> PathBuf {
    folder().join("server.key")
}

/// Certificate and key in one file, as HAProxy wants them.
pub(super) fn server_bundle() -> PathBuf {
    folder().join("server.both")
}

/// For clients that show one.
pub(super) fn client() -> PathBuf {
    folder().join("client.pem")
}

pub(super) fn client_key() -> PathBuf {
    folder().join("client.key")
}

/// Makes all anew: keys are no secret here, and a day is long enough.
pub(super) fn create() -> Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = |name: &str| folder.join(name);
    let mut own = request("/CN=interop", &path("authority.key"))?;
    own.args(["-x509", "-days", "1", "-addext", "basicConstraints=critical,CA:TRUE"]);
    own.args(["-addext", "keyUsage=critical,keyCertSign"]).arg("-out").arg(authority());
    command::output(&mut own)?;
    sign("server", "subjectAltName=DNS:localhost,IP:127.0.0.1", &folder)?;
    sign("client", "subjectAltName=DNS:client.test", &folder)?;
    let both = [fs::read(server())?, fs::read(server_key())?].concat();
    Ok(fs::write(server_bundle(), both)?)
}

/// `openssl req` with a new key on P-256 in `key`.
fn request(subject: &str, key: &Path) -> Result<Command> {
    let mut request = Command::new(tools::OPENSSL.path()?);
    request.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject]);
    request.arg("-keyout").arg(key);
    Ok(request)
}

fn sign(name: &str, extension: &str, folder: &Path) -> Result<()> {
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    let mut asked = request(&format!("/CN={name}"), &path("key"))?;
    command::output(asked.args(["-addext", extension]).arg("-out").arg(path("csr")))?;
    let mut signed = Command::new(tools::OPENSSL.path()?);
    signed.args(["x509", "-req", "-days", "1", "-copy_extensions", "copy", "-in"]).arg(path("csr"));
    signed.arg("-CA").arg(authority()).arg("-CAkey").arg(folder.join("authority.key")).arg("-CAcreateserial");
    command::output(signed.arg("-out").arg(path("pem")))?;
    Ok(())
}
