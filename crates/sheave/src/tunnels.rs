//! From what was said of tunnels to what both sides hold them to.

use sheave_client::config::ClientConfig;
use sheave_proto::config::Timeouts;
use sheave_proxy::config::ProxyConfig;
use sheave_proxy::connect::ConnectPolicy;
use sheave_server::config::ServerConfig;

use crate::args::{OFF, TunnelArguments};
use crate::config::InForce;
use crate::duration;

impl TunnelArguments {
    fn upgrades(&self) -> Vec<String> {
        self.upgrade.iter().filter(|protocol| *protocol != OFF).cloned().collect()
    }

    fn timeouts(&self, timeouts: Timeouts) -> Timeouts {
        Timeouts { tunnel_idle: self.tunnel_idle_timeout, tunnel_age: self.tunnel_max_age.duration(), ..timeouts }
    }
}

/// What clients' tunnels are held to.
pub(crate) fn server(said: &TunnelArguments, mut config: ServerConfig) -> ServerConfig {
    config.connection.timeouts = said.timeouts(config.connection.timeouts);
    config.drain.tunnel_grace = said.tunnel_grace;
    // RFC 8441 §3: clients of HTTP/2 may ask for what clients of HTTP/1 may switch to.
    config.connection.http2.allows_extended_connect = !said.upgrades().is_empty();
    config
}

/// What tunnels to origins are held to.
pub(crate) fn client(said: &TunnelArguments, mut config: ClientConfig) -> ClientConfig {
    config.connection.timeouts = said.timeouts(config.connection.timeouts);
    config
}

/// Which tunnels there may be.
pub(crate) fn proxy(said: &TunnelArguments, config: ProxyConfig) -> ProxyConfig {
    let connect = ConnectPolicy::allowing(said.connect_allow.iter().cloned());
    ProxyConfig { upgrades: said.upgrades(), connect, ..config }
}

/// What is in force of it.
pub(crate) fn say(said: &TunnelArguments) -> InForce {
    let list = |all: Vec<String>| if all.is_empty() { OFF.to_owned() } else { all.join(" ") };
    let mut words = vec![
        ("upgrade", list(said.upgrades())),
        ("connect", list(said.connect_allow.iter().map(ToString::to_string).collect())),
        ("idle", duration::display(said.tunnel_idle_timeout)),
        ("age", said.tunnel_max_age.duration().map_or(OFF.to_owned(), duration::display)),
    ];
    words.extend(said.tunnel_grace.map(|grace| ("grace", duration::display(grace))));
    ("tunnels", words)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command, ProxyArguments};

    fn arguments(flags: &[&str]) -> Result<ProxyArguments, clap::Error> {
        let words = ["sheave", "proxy"].iter().chain(flags);
        match Arguments::try_parse_from(words)?.command {
            Command::Proxy(proxy) => Ok(*proxy),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_the_libraries_defaults_are_in_force() {
        let said = arguments(&[]).expect("needs none").tunnels;
        let mut defaults = ServerConfig::default();
        defaults.connection.http2.allows_extended_connect = true;
        assert_eq!(server(&said, ServerConfig::default()), defaults, "a library's user has to ask for it");
        let connection = client(&said, ClientConfig::default()).connection;
        assert_eq!(connection, ClientConfig::default().connection);
        let ours = proxy(&said, ProxyConfig::default());
        assert_eq!(ours.upgrades, ProxyConfig::default().upgrades);
        assert!(!ours.connect.is_on());
        let words = [("upgrade", "websocket"), ("connect", "off"), ("idle", "1h"), ("age", "off")];
        assert_eq!(say(&said), ("tunnels", words.map(|(name, value)| (name, value.to_owned())).to_vec()));
    }

    #[test]
    fn every_flag_arrives() {
        let said = arguments(&[
            "--upgrade=websocket",
            "--upgrade=irc/6.9",
            "--connect-allow=*.internal:5432",
            "--connect-allow=[fd00::/8]:8000-8999",
            "--tunnel-idle-timeout=1s",
            "--tunnel-max-age=2s",
            "--tunnel-grace=3s",
        ])
        .expect("is right")
        .tunnels;
        let seconds = Duration::from_secs;
        let server = server(&said, ServerConfig::default());
        assert_eq!(server.drain.tunnel_grace, Some(seconds(3)));
        for timeouts in [server.connection.timeouts, client(&said, ClientConfig::default()).connection.timeouts] {
            assert_eq!((timeouts.tunnel_idle, timeouts.tunnel_age), (seconds(1), Some(seconds(2))));
        }
        let proxy = proxy(&said, ProxyConfig::default());
        assert_eq!(proxy.upgrades, ["websocket", "irc/6.9"]);
        assert!(proxy.connect.is_on());
        let (_, words) = say(&said);
        assert_eq!(words[0].1, "websocket irc/6.9");
        assert_eq!(words[1].1, "*.internal:5432 [fd00::/8]:8000-8999");
        let off = arguments(&["--upgrade=off"]).expect("is right").tunnels;
        assert!(off.upgrades().is_empty());
        assert!(!super::server(&off, ServerConfig::default()).connection.http2.allows_extended_connect);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_flag() {
        for (flag, part) in [
            ("--upgrade=h2c", "HTTP itself is none"),
            ("--upgrade=a b", "write a protocol's name"),
            ("--connect-allow=example.com", "write a port"),
            ("--connect-allow=10.1.0.0/8:1", "bits behind its prefix"),
            ("--tunnel-idle-timeout=0", "a timeout cannot be zero"),
            ("--tunnel-max-age=0", "write `off`"),
        ] {
            let error = arguments(&[flag]).expect_err(flag).to_string();
            assert!(error.contains(part) && error.contains(flag.split('=').next().unwrap_or_default()), "{error}");
        }
    }
}
