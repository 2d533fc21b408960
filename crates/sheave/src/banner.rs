//! What the process says when it is ready: what listens where, what is in force, and what to try next.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use crate::address::Scheme;

/// All that is worth saying at the start.
#[derive(Debug)]
pub(crate) struct Banner {
    /// Where connections are accepted, with real ports.
    pub(crate) listening: Vec<(Scheme, SocketAddr)>,
    /// Where requests go, and whether that is the demo origin; absent when this process is the origin.
    pub(crate) origins: Option<Passing>,
    /// Where the admin pages are.
    pub(crate) admin: Vec<SocketAddr>,
    /// How many workers.
    pub(crate) workers: usize,
    /// The descriptor limit, and whether it was raised.
    pub(crate) descriptors: String,
    /// How many client connections fit.
    pub(crate) max_connections: u64,
    /// Timeouts and limits by name, as one would write them.
    pub(crate) in_force: Vec<(&'static str, Vec<(&'static str, String)>)>,
    /// Where the access log goes, if anywhere.
    pub(crate) access_log: Option<String>,
}

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Passing {
    /// The origins.
    pub(crate) to: Vec<String>,
    /// How one is chosen.
    pub(crate) balance: &'static str,
    /// Whether they are one demo origin of our own.
    pub(crate) is_demo: bool,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = if self.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", self.workers) };
        writeln!(f, "sheave {}, {workers}", env!("CARGO_PKG_VERSION"))?;
        for (scheme, address) in &self.listening {
            writeln!(f, "listening on {}://{address}", scheme.label())?;
        }
        match &self.origins {
            None => writeln!(f, "serving the demo origin")?,
            Some(Passing { to, is_demo: true, .. }) => {
                writeln!(f, "passing requests to {}, a demo origin of our own: use --to for yours", to.join(", "))?;
            }
            Some(Passing { to, balance, .. }) if to.len() > 1 => {
                writeln!(f, "passing requests to {} ({balance})", to.join(", "))?;
            }
            Some(Passing { to, .. }) => writeln!(f, "passing requests to {}", to.join(", "))?,
        }
        for address in &self.admin {
            writeln!(f, "admin on http://{address}")?;
        }
        if let Some(access_log) = &self.access_log {
            writeln!(f, "access log to {access_log}")?;
        }
        writeln!(f, "room for {} client connections: {}", self.max_connections, self.descriptors)?;
        for (title, values) in &self.in_force {
            let mut line = format!("{title}: ");
            for (index, (name, value)) in values.iter().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                write!(line, "{comma}{name} {value}")?;
            }
            writeln!(f, "{line}")?;
        }
        let Some((scheme, first)) = self.listening.first() else { return Ok(()) };
        // A certificate is seldom for the address that is at hand.
        let (curl, first) = match scheme {
            Scheme::Http | Scheme::H2c => ("curl", format!("http://{}", reachable(first))),
            Scheme::Https => ("curl -k", format!("https://{}", reachable(first))),
        };
        writeln!(f, "try:")?;
        let is_ours = self.origins.as_ref().is_none_or(|origins| origins.is_demo);
        writeln!(f, "  {curl} -i {first}/")?;
        if is_ours {
            writeln!(f, "  {curl} -d hello {first}/echo")?;
            writeln!(f, "  {curl} -o /dev/null {first}/bytes/100m")?;
        }
        if let Some(admin) = self.admin.first().map(reachable) {
            writeln!(f, "  curl http://{admin}/connections")?;
        }
        write!(f, "stop: ctrl-c drains, a second one ends at once")
    }
}

/// An address that a client on this machine can use: a listener on all addresses, of either version of IP, is reached at
/// the loopback one.
fn reachable(address: &SocketAddr) -> SocketAddr {
    let mut address = *address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_listens_where_and_what_to_try() {
        let banner = Banner {
            listening: vec![
                (Scheme::Http, "[::]:8080".parse().expect("address")),
                (Scheme::Https, "[::1]:8081".parse().expect("address")),
            ],
            origins: Some(Passing {
                to: vec!["http://127.0.0.1:40001".to_owned()],
                balance: "round-robin",
                is_demo: true,
            }),
            admin: vec!["127.0.0.1:9901".parse().expect("address")],
            workers: 2,
            descriptors: "65536 open files (raised from 1024)".to_owned(),
            max_connections: 32_000,
            in_force: vec![("timeouts", vec![("head", "15s".to_owned()), ("idle", "1m15s".to_owned())])],
            access_log: Some("standard output".to_owned()),
        };
        let expected = format!(
            "\
sheave {}, 2 workers
listening on http://[::]:8080
listening on https://[::1]:8081
passing requests to http://127.0.0.1:40001, a demo origin of our own: use --to for yours
admin on http://127.0.0.1:9901
access log to standard output
room for 32000 client connections: 65536 open files (raised from 1024)
timeouts: head 15s, idle 1m15s
try:
  curl -i http://127.0.0.1:8080/
  curl -d hello http://127.0.0.1:8080/echo
  curl -o /dev/null http://127.0.0.1:8080/bytes/100m
  curl http://127.0.0.1:9901/connections
stop: ctrl-c drains, a second one ends at once",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(banner.to_string(), expected);
    }

    #[test]
    fn names_several_origins_and_how_they_are_chosen() {
        let banner = Banner {
            listening: vec![(Scheme::Https, "127.0.0.1:8080".parse().expect("address"))],
            origins: Some(Passing {
                to: vec!["http://a:80".to_owned(), "http://b:80/x".to_owned()],
                balance: "least-outstanding",
                is_demo: false,
            }),
            admin: vec![],
            workers: 1,
            descriptors: "1024 open files".to_owned(),
            max_connections: 480,
            in_force: vec![],
            access_log: None,
        };
        let text = banner.to_string();
        assert!(text.contains("1 worker\n"), "{text}");
        assert!(text.contains("passing requests to http://a:80, http://b:80/x (least-outstanding)\n"), "{text}");
        assert!(!text.contains("/echo") && !text.contains("admin"), "{text}");
        assert!(text.contains("  curl -k -i https://127.0.0.1:8080/\n"), "{text}");
    }
}
