//! The programs on the other side of a connection, and how each is started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::Running;
use crate::{command, tools, workspace};

/// nginx with `config`, in which `{{folder}}` is a folder of its own; `prefix` goes before its command line.
pub(crate) fn nginx(name: &str, config: &str, folder: &Path, prefix: &[&str]) -> Result<Running> {
    let home = folder.join(name);
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let config = config.replace("{{folder}}", &home.display().to_string());
    let path = write(folder, &format!("{name}.conf"), &config)?;
    let mut command = Command::new(tools::NGINX.path()?);
    // Before it has read its configuration it logs to where it was built for, unless told.
    command.arg("-e").arg(home.join("error.log")).arg("-p").arg(&home).arg("-c").arg(path);
    Running::start(name, &command::behind(prefix, &command), folder)
}

/// HAProxy with `config`, in the foreground, as one process; `prefix` goes before its command line.
pub(crate) fn haproxy(name: &str, config: &str, folder: &Path, prefix: &[&str]) -> Result<Running> {
    let path = write(folder, &format!("{name}.cfg"), config)?;
    let mut command = Command::new(tools::HAPROXY.path()?);
    command.args(["-db", "-f"]).arg(path);
    Running::start(name, &command::behind(prefix, &command), folder)
}

/// Python's own `http.server`: HTTP/1.0, a connection a request.
pub(crate) fn http_server(addr: SocketAddr, root: &Path, folder: &Path) -> Result<Running> {
    let mut command = Command::new(tools::PYTHON.path()?);
    command.args(["-m", "http.server", "--bind"]).arg(addr.ip().to_string()).arg(addr.port().to_string());
    command.arg("--directory").arg(root);
    Running::start("http-server", &command, folder)
}

/// uvicorn with the ASGI origin, closing idle connections after a second without having told so.
pub(crate) fn uvicorn(addr: SocketAddr, files: &Path, folder: &Path) -> Result<Running> {
    write(folder, "asgi_origin.py", include_str!("../peers/asgi_origin.py"))?;
    let mut command = Command::new(python_with_uvicorn()?);
    command.args(["-m", "uvicorn", "asgi_origin:app", "--log-level", "warning", "--timeout-keep-alive", "1"]);
    command.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string(), "--app-dir"]).arg(folder);
    command.env("FILES", files);
    Running::start("uvicorn", &command, folder)
}

/// Node's own HTTP server.
pub(crate) fn node(addr: SocketAddr, files: &Path, folder: &Path) -> Result<Running> {
    let script = write(folder, "node-origin.mjs", include_str!("../peers/node-origin.mjs"))?;
    let mut command = Command::new(tools::NODE.path()?);
    command.arg(script).arg(addr.to_string()).env("FILES", files);
    Running::start("node", &command, folder)
}

/// Writes `text` to `folder/name` and returns the path.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The release that the interop run was written with.
const UVICORN: &str = "uvicorn==0.54.0";

/// A Python of the project's own below the target folder, with uvicorn in it.
pub(crate) fn python_with_uvicorn() -> Result<PathBuf> {
    let home = workspace::target_dir().join("tools").join("python");
    let python = home.join("bin").join("python");
    let has_it = |python: &Path| {
        let asked = command::capture(Command::new(python).args(["-c", "import uvicorn"]));
        asked.is_ok_and(|output| output.status.success())
    };
    if has_it(&python) {
        return Ok(python);
    }
    println!("uvicorn is not here yet; installing it below {}", home.display());
    let system = tools::PYTHON.path()?;
    let make = || command::capture(Command::new(&system).args(["-m", "venv", "--clear"]).arg(&home));
    if !make()?.status.success() {
        // Debian keeps venv's parts in a package of their own.
        tools::install(&["python3-venv"])?;
        let again = make()?;
        ensure!(again.status.success(), "python3 -m venv failed:\n{}", command::both(&again).trim_end());
    }
    command::output(Command::new(&python).args(["-m", "pip", "install", "--quiet", UVICORN]))?;
    ensure!(has_it(&python), "pip installed {UVICORN}, but {} cannot import it", python.display());
    Ok(python)
}

/// The first line that mentions a version when `program` is asked for it, for reports.
pub(crate) fn version_of(program: &Path, argument: &str) -> String {
    let said = command::capture(Command::new(program).arg(argument)).map(|output| command::both(&output));
    let said = said.unwrap_or_default();
    let line = said.lines().next().unwrap_or("version unknown");
    // HAProxy adds its home page, wrk its copyright.
    let line = [" https:", " Copyright"].iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
    line.trim_end_matches([' ', '-']).to_owned()
}
