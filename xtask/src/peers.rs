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
    let mut command = Command::new(python()?);
    command.args(["-m", "uvicorn", "asgi_origin:app", "--log-level", "warning", "--timeout-keep-alive", "1"]);
    command.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string(), "--app-dir"]).arg(folder);
    command.env("FILES", files);
    Running::start("uvicorn", &command, folder)
}

/// Hypercorn with the same origin: HTTP/1.1 and HTTP/2, over TLS where it has a certificate and a key.
pub(crate) fn hypercorn(
    addr: SocketAddr,
    files: &Path,
    identity: Option<&(PathBuf, PathBuf)>,
    folder: &Path,
) -> Result<Running> {
    write(folder, "asgi_origin.py", include_str!("../peers/asgi_origin.py"))?;
    // Its default is 1,000. With the request beyond that it says GOAWAY, and can send nothing more of the responses under way:
    // on a busy machine one of them is cut, and nobody can ask for it again.
    let config = write(folder, "hypercorn.toml", "keep_alive_max_requests = 1000000\n")?;
    let mut command = Command::new(python()?);
    command.args(["-m", "hypercorn", "asgi_origin:app", "--log-level", "warning", "--bind", &addr.to_string()]);
    command.arg("--config").arg(config);
    if let Some((certificate, key)) = identity {
        command.arg("--certfile").arg(certificate).arg("--keyfile").arg(key);
    }
    command.current_dir(folder).env("FILES", files);
    Running::start("hypercorn", &command, folder)
}

/// Node's own HTTP servers; `how` is what the script says.
pub(crate) fn node(addr: SocketAddr, files: &Path, how: &[&Path], folder: &Path) -> Result<Running> {
    let script = write(folder, "node-origin.mjs", include_str!("../peers/node-origin.mjs"))?;
    let mut command = Command::new(tools::NODE.path()?);
    command.arg(script).arg(addr.to_string()).args(how).env("FILES", files);
    Running::start("node", &command, folder)
}

/// Writes `text` to `folder/name` and returns the path.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The releases that the interop run was written with.
const PACKAGES: [&str; 4] = ["uvicorn==0.54.0", "hypercorn==0.18.0", "grpcio==1.85.1", "websockets==17.4"];

/// A Python of the project's own below the target folder, with the packages in it.
pub(crate) fn python() -> Result<PathBuf> {
    let home = workspace::target_dir().join("tools").join("python");
    let python = home.join("bin").join("python");
    let has_it = |python: &Path| {
        let asked = command::capture(Command::new(python).args(["-c", "import uvicorn, hypercorn, grpc, websockets"]));
        asked.is_ok_and(|output| output.status.success())
    };
    if has_it(&python) {
        return Ok(python);
    }
    println!("Python's packages are not here yet; installing them below {}", home.display());
    let system = tools::PYTHON.path()?;
    let make = || command::capture(Command::new(&system).args(["-m", "venv", "--clear"]).arg(&home));
    if !make()?.status.success() {
        // Debian keeps venv's parts in a package of their own.
        tools::install(&["python3-venv"])?;
        let again = make()?;
        ensure!(again.status.success(), "python3 -m venv failed:\n{}", command::both(&again).trim_end());
    }
    command::output(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    ensure!(has_it(&python), "pip installed {}, but {} cannot import them", PACKAGES.join(", "), python.display());
    Ok(python)
}

/// The release that the interop run was written with.
const WS: &str = "ws@8.23.0";

/// A folder below the target folder with the packages that Node's scripts need.
pub(crate) fn node_modules() -> Result<PathBuf> {
    let home = workspace::target_dir().join("tools").join("node");
    let package = home.join("node_modules").join("ws").join("package.json");
    if package.is_file() {
        return Ok(home);
    }
    println!("Node's packages are not here yet; installing them below {}", home.display());
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let mut npm = Command::new(tools::NPM.path()?);
    command::output(npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&home).arg(WS))?;
    ensure!(package.is_file(), "npm installed {WS}, but {} is not there", package.display());
    Ok(home)
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
