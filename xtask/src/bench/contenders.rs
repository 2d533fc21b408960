//! Everybody who is compared, and how each is started: with one worker on its core, set up to win.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::environment::Cores;
use super::programs::Programs;
use super::scenario::{Class, Front, Scenario, Work};
use crate::process::{Running, free_addrs};
use crate::{command, peers, workspace};

/// A name on the command line: `--peer NAME=COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    name: String,
    command: String,
}

impl Peer {
    /// Takes `NAME=COMMAND` apart; `{listen}`, `{origin}`, `{tls}`, `{certificate}` and `{key}` are filled in later.
    ///
    /// # Errors
    /// There is no `=`, or the command would listen nowhere.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("--peer takes NAME=COMMAND")?;
        if name.is_empty() || !command.contains("{listen}") {
            return Err(
                "--peer takes NAME=COMMAND; the command says {listen}, and {origin} if it is a proxy".to_owned()
            );
        }
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }
}

/// How a contender is started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Sheave {
        logs: bool,
    },
    /// As `cargo build --release` makes it.
    Unprofiled,
    Nginx {
        logs: bool,
    },
    Haproxy,
    /// A program of `bench/peers` with its addresses as arguments; with TLS if it knows that.
    Program {
        name: &'static str,
        has_tls: bool,
    },
    /// An example of ours.
    Example {
        name: &'static str,
    },
    /// A program in Go.
    Go {
        name: &'static str,
    },
    Other(Peer),
}

/// Somebody who may take part.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) class: Class,
    kind: Kind,
    /// Moves bytes and understands none: what no proxy can fall below.
    is_a_limit: bool,
}

impl Contender {
    /// All of them, in the order of a round.
    pub(super) fn all(peers: &[Peer]) -> Vec<Self> {
        let one = |name: &str, class, kind| Self { name: name.to_owned(), class, kind, is_a_limit: false };
        let program = |name, has_tls| Kind::Program { name, has_tls };
        let mut all = vec![
            one("sheave", Class::Proxies, Kind::Sheave { logs: false }),
            one("nginx", Class::Proxies, Kind::Nginx { logs: false }),
            one("haproxy", Class::Proxies, Kind::Haproxy),
            one("hyper", Class::Proxies, program("bench-proxy-hyper", true)),
            one("pingora", Class::Proxies, program("bench-proxy-pingora", false)),
            one("sheave unprofiled", Class::Proxies, Kind::Unprofiled),
            one("sheave logging", Class::Proxies, Kind::Sheave { logs: true }),
            one("nginx logging", Class::Proxies, Kind::Nginx { logs: true }),
            Self { is_a_limit: true, ..one("tokio relay", Class::Proxies, program("bench-relay-tokio", false)) },
            Self { is_a_limit: true, ..one("epoll relay", Class::Proxies, program("bench-relay-epoll", false)) },
            one("sheave", Class::Servers, Kind::Example { name: "bare_hello" }),
            one("sheave service_fn", Class::Servers, Kind::Example { name: "bare_service" }),
            one("hyper", Class::Servers, program("bench-hello-hyper", false)),
            one("axum::serve", Class::Servers, program("bench-hello-axum", false)),
            one("actix-web", Class::Servers, program("bench-hello-actix", false)),
            one("go", Class::Servers, Kind::Go { name: "hello" }),
            Self { is_a_limit: true, ..one("bare tokio", Class::Servers, program("bench-hello-tokio", false)) },
            one("sheave", Class::Routers, Kind::Example { name: "bare_axum" }),
            one("axum::serve", Class::Routers, program("bench-hello-axum", false)),
            one("sheave", Class::Clients, Kind::Example { name: "calls" }),
            one("sheave by URL", Class::Clients, Kind::Example { name: "bare_client" }),
            one("hyper", Class::Clients, program("bench-calls-hyper", false)),
            one("reqwest", Class::Clients, program("bench-calls-reqwest", false)),
            one("go", Class::Clients, Kind::Go { name: "calls" }),
            Self { is_a_limit: true, ..one("bare tokio", Class::Clients, program("bench-calls-tokio", false)) },
        ];
        all.extend(peers.iter().map(|peer| one(&peer.name, Class::Proxies, Kind::Other(peer.clone()))));
        all
    }

    /// Whether it has a place in the scenario at all.
    pub(super) fn takes_part(&self, scenario: &Scenario) -> bool {
        let is_variant =
            matches!(self.kind, Kind::Sheave { logs: true } | Kind::Nginx { logs: true } | Kind::Unprofiled);
        let has_limit = match scenario.work {
            // A relay has a connection to the origin for each of its clients, always.
            Work::Wrk { closes, .. } => !closes,
            Work::Sparse { .. } | Work::IdleClients { .. } | Work::Calls { .. } => true,
            Work::H2load { .. } | Work::Handshakes { .. } | Work::ParkedOrigins { .. } => false,
        };
        let scales = matches!(self.kind, Kind::Sheave { .. } | Kind::Nginx { .. } | Kind::Haproxy);
        self.class == scenario.class
            && (scales || (scenario.origins == 1 && scenario.workers == 1))
            && (scenario.with_variants || !is_variant)
            && (!self.is_a_limit || (has_limit && scenario.front == Front::Http1))
    }

    /// What a client's calls are made with: everything but origin, number and time.
    pub(super) fn calls(&self, programs: &Programs) -> Result<Command> {
        match self.kind {
            Kind::Program { name, .. } => Ok(Command::new(programs.peer(name))),
            Kind::Example { name } => Ok(Command::new(programs.example(name))),
            Kind::Go { name } => Ok(Command::new(programs.go(name)?)),
            _ => bail!("{} is no client", self.name),
        }
    }
}

/// A contender that runs, and where it listens.
pub(super) struct Started {
    pub(super) name: String,
    pub(super) running: Running,
    plain: SocketAddr,
    http2: SocketAddr,
    tls: SocketAddr,
}

impl Started {
    pub(super) const fn addr(&self, front: Front) -> SocketAddr {
        match front {
            Front::Http1 => self.plain,
            Front::Http2 => self.http2,
            Front::Tls | Front::TlsHttp2 => self.tls,
        }
    }
}

/// Where contenders are started: the origin that stands behind them, and what they need.
pub(super) struct Place {
    pub(super) programs: Programs,
    pub(super) cores: Cores,
    /// The first of the origins.
    pub(super) origin: SocketAddr,
    /// How many each process may hold.
    descriptors: u64,
    folder: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    _origin: Running,
}

impl Place {
    /// Starts the origin on the load's core, at as many addresses as there are to be origins, and makes a certificate.
    pub(super) fn prepare(
        programs: Programs,
        cores: Cores,
        folder: &Path,
        descriptors: u64,
        origins: u16,
    ) -> Result<Self> {
        let [origin] = free_addrs()?;
        let mut bench_origin = Command::new(programs.peer("bench-origin"));
        bench_origin.args(addresses(origin, origins).map(|address| address.to_string()));
        let bench_origin = command::behind(&["taskset", "--cpu-list", &cores.others], &bench_origin);
        let mut running = Running::start("origin", &bench_origin, folder)?;
        running.wait_until_it_listens(origin)?;
        command::output(Command::new(programs.peer("bench-load")).arg("certificate").arg(folder))?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        // HAProxy wants both in one file.
        let both = [fs::read(&certificate)?, fs::read(&key)?].concat();
        fs::write(folder.join("both.pem"), both).context("cannot write the certificate")?;
        let folder = folder.to_owned();
        Ok(Self { programs, cores, origin, descriptors, folder, certificate, key, _origin: running })
    }

    /// Starts a proxy or a server, and waits until it listens.
    pub(super) fn start(&self, contender: &Contender, scenario: &Scenario) -> Result<Started> {
        let [plain, http2, tls] = free_addrs()?;
        let all_cores = format!("{},{}", self.cores.proxy, self.cores.others);
        let is_alone = scenario.workers == 1;
        let on_its_core = ["taskset", "--cpu-list", if is_alone { self.cores.proxy.as_str() } else { &all_cores }];
        let origins: Vec<_> = addresses(self.origin, scenario.origins).map(|address| address.to_string()).collect();
        let per_origin = |line: &dyn Fn((usize, &String)) -> String| -> String {
            origins.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
        };
        let run = |command: &Command| {
            Running::start(&file_name(&contender.name), &command::behind(&on_its_core, command), &self.folder)
        };
        let name = file_name(&contender.name);
        let log = self.folder.join(format!("{name}-access.log"));
        // A file of hundreds of MB from the last run is of no use to anybody.
        let _ = fs::remove_file(&log);
        // Two descriptors for each, whatever they do, and some for itself.
        let haproxy_connections = self.descriptors.saturating_sub(200) / 2;
        let filled = |text: &str, open: &str, close: &str| {
            let values = [
                ("listen", plain.to_string()),
                ("http2", http2.to_string()),
                ("tls", tls.to_string()),
                ("origin", self.origin.to_string()),
                ("workers", scenario.workers.to_string()),
                ("nginx-origins", per_origin(&|(_, origin)| format!("        server {origin};"))),
                ("haproxy-origins", per_origin(&|(n, origin)| format!("    server o{n} {origin} pool-max-conn 4096"))),
                ("certificate", self.certificate.display().to_string()),
                ("key", self.key.display().to_string()),
                ("descriptors", self.descriptors.to_string()),
                ("connections", haproxy_connections.to_string()),
                ("both", self.folder.join("both.pem").display().to_string()),
            ];
            values
                .iter()
                .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{open}{name}{close}"), value))
        };
        let fill = |text: &str| filled(text, "{{", "}}");
        // One socket may speak both; who has one for each is told so.
        let (mut at_http2, mut at_tls) = (plain, tls);
        let mut running = match &contender.kind {
            Kind::Sheave { .. } | Kind::Unprofiled => {
                let is_profiled = contender.kind != Kind::Unprofiled;
                let sheave = if is_profiled { self.programs.sheave() } else { self.programs.unprofiled() };
                let mut command = Command::new(sheave);
                command.args(["proxy", "--workers", &scenario.workers.to_string(), "--max-upstream-idle", "4096"]);
                // With a certificate, an address without a scheme would be one for TLS.
                let scheme = if self.programs.has_tls() { "http://" } else { "" };
                command.args(["--from", &format!("{scheme}{plain}")]);
                command.args(origins.iter().flat_map(|origin| ["--to", origin]));
                if self.programs.has_tls() {
                    command.args(["--from", &format!("https://{tls}")]);
                    command.arg("--tls-cert").arg(&self.certificate).arg("--tls-key").arg(&self.key);
                }
                command.arg("--access-log");
                if contender.kind == (Kind::Sheave { logs: true }) {
                    command.arg(&log)
                } else {
                    command.arg("off")
                };
                run(&command)?
            }
            Kind::Nginx { logs } => {
                at_http2 = http2;
                let log = if *logs { log.display().to_string() } else { "off".to_owned() };
                let config = fill(&template("nginx-proxy.conf")?).replace("{{log}}", &log);
                peers::nginx(&name, &config, &self.folder, &on_its_core)?
            }
            Kind::Haproxy => {
                if u64::from(scenario.work.connections()) > haproxy_connections {
                    bail!("with {} open files it takes {haproxy_connections} connections", self.descriptors);
                }
                at_http2 = http2;
                peers::haproxy(&name, &fill(&template("haproxy.cfg")?), &self.folder, &on_its_core)?
            }
            Kind::Program { name, has_tls } => {
                let mut command = Command::new(self.programs.peer(name));
                command.arg(plain.to_string());
                if contender.class == Class::Proxies {
                    command.arg(self.origin.to_string());
                }
                if *has_tls {
                    command.arg(tls.to_string()).arg(&self.certificate).arg(&self.key);
                }
                run(&command)?
            }
            Kind::Example { name } => run(Command::new(self.programs.example(name)).arg(plain.to_string()))?,
            Kind::Go { name } => run(Command::new(self.programs.go(name)?).arg(plain.to_string()))?,
            Kind::Other(peer) => {
                at_tls = if peer.command.contains("{tls}") { tls } else { plain };
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("exec {}", filled(&peer.command, "{", "}")));
                run(&command)?
            }
        };
        running.wait_until_it_listens(plain)?;
        Ok(Started { name: contender.name.clone(), running, plain, http2: at_http2, tls: at_tls })
    }
}

/// So many addresses of this machine, with the same port.
fn addresses(first: SocketAddr, count: u16) -> impl Iterator<Item = SocketAddr> {
    // 250 in a network: its first and its last address are nobody's.
    let ip =
        |index: u16| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + u32::from(index / 250 * 256 + index % 250));
    (0..count).map(move |index| if index == 0 { first } else { SocketAddr::from((ip(index), first.port())) })
}

/// `sheave logging` as `sheave-logging`.
fn file_name(name: &str) -> String {
    name.replace("::", "-").replace([' ', '/'], "-")
}

fn template(name: &str) -> Result<String> {
    let path = workspace::root().join("bench").join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::scenario::SCENARIOS;
    use super::*;

    #[test]
    fn peers_on_the_command_line() {
        let peer = Peer::parse("old=target/old proxy --from {listen} --to {origin}").unwrap();
        assert_eq!(peer.name, "old");
        for wrong in ["old", "=x {listen}", "old=x"] {
            assert!(Peer::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn origins_have_an_address_each() {
        let all: std::collections::HashSet<_> = addresses(([127, 0, 0, 1], 80).into(), 1000).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn every_scenario_has_its_base_and_sheave() {
        let all = Contender::all(&[]);
        for scenario in SCENARIOS {
            for name in ["sheave", scenario.class.base()] {
                let found = all.iter().filter(|one| one.name == name && one.takes_part(scenario)).count();
                assert_eq!(found, 1, "{name} in {}", scenario.name);
            }
        }
    }
}
