//! The proxies that are compared and the origin behind them, each with one worker on its core.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::environment::Cores;
use crate::process::{Running, free_addrs};
use crate::{command, peers, workspace};

/// A proxy under load.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) addr: SocketAddr,
    pub(super) running: Running,
}

/// The name that ratios are to.
pub(super) const BASE: &str = "nginx";

/// Everything that runs beside wrk.
pub(super) struct Field {
    /// In the order of a round.
    pub(super) contenders: Vec<Contender>,
    _origin: Running,
}

impl Field {
    /// Starts the origin and the proxies, which then all stay: an idle one costs nothing, a fresh one would be cold.
    pub(super) fn start(sheave: &Path, cores: &Cores, folder: &Path) -> Result<Self> {
        let [origin_addr, addr_1, addr_2, addr_3] = free_addrs()?;
        let on_proxy_core = ["taskset", "--cpu-list", cores.proxy.as_str()];
        let on_other_core = ["taskset", "--cpu-list", cores.others.as_str()];

        let root = folder.join("root");
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        fs::write(root.join("100k.bin"), "0123456789abcdef".repeat(6400))?;
        let config = template("nginx-origin.conf")?
            .replace("{{addr}}", &origin_addr.to_string())
            .replace("{{root}}", &root.display().to_string())
            .replace("{{1k}}", &"0123456789abcdef".repeat(64));
        let mut origin = peers::nginx("origin", &config, folder, &on_other_core)?;
        origin.wait_until_it_listens(origin_addr)?;

        let to = origin_addr.to_string();
        let filled = |name: &str, addr: SocketAddr| {
            Ok::<_, anyhow::Error>(template(name)?.replace("{{addr}}", &addr.to_string()).replace("{{to}}", &to))
        };
        let mut command = Command::new(sheave);
        command.args(["proxy", "--workers", "1", "--access-log", "off"]);
        command.args(["--from", &addr_1.to_string(), "--to", &to]);
        let nginx = filled("nginx-proxy.conf", addr_2)?;
        let haproxy = filled("haproxy.cfg", addr_3)?;
        let mut contenders = vec![
            Contender {
                name: "sheave",
                addr: addr_1,
                running: Running::start("sheave", &command::behind(&on_proxy_core, &command), folder)?,
            },
            Contender { name: BASE, addr: addr_2, running: peers::nginx("nginx", &nginx, folder, &on_proxy_core)? },
            Contender {
                name: "haproxy",
                addr: addr_3,
                running: peers::haproxy("haproxy", &haproxy, folder, &on_proxy_core)?,
            },
        ];
        for contender in &mut contenders {
            contender.running.wait_until_it_listens(contender.addr)?;
        }
        Ok(Self { contenders, _origin: origin })
    }
}

fn template(name: &str) -> Result<String> {
    let path = workspace::root().join("bench").join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
