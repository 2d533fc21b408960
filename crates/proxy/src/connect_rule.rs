//! Where CONNECT may lead: patterns of hosts and ports, held against names and against the addresses that they have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use sheave_net::host_port::HostPort;

/// One pattern: `example.com:443`, `*.internal:5432`, `10.0.0.0/8:*`, `[fd00::/8]:8000-8999`, `*:443`.
///
/// - A name stands for itself, in any case; `*.name` for every name below it, however deep; `*` for every name and every
///   public address.
/// - A network, or an address, stands for the addresses in it: asked for as such, or by a name that has them.
/// - A port is a number, a range of them, or `*`.
///
/// A name that a pattern allows leads to its public addresses only. To others (loopback, private, link-local and all that
/// is not routed on the Internet) only a network leads that names them: whoever controls a name must not choose a machine
/// behind the proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRule {
    host: Host,
    ports: RangeInclusive<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Any,
    Name(String),
    /// With the dot at its front.
    Below(String),
    Network(IpNet),
}

/// Why a text is no pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectRuleError {
    /// There is no port, or it is none.
    Port,
    /// The host is none.
    Host,
    /// The network has bits behind its prefix.
    Network,
}

impl fmt::Display for ConnectRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "write a port behind the host, such as example.com:443, 10.0.0.0/8:8000-8999 or *.internal:*",
            Self::Host => {
                "write a name, *.name, an address or a network in front of the port, such as example.com:443, \
                 *.internal:5432, 10.0.0.0/8:* or [fd00::/8]:22"
            }
            Self::Network => "the network has bits behind its prefix",
        })
    }
}

impl std::error::Error for ConnectRuleError {}

impl FromStr for ConnectRule {
    type Err = ConnectRuleError;

    fn from_str(text: &str) -> Result<Self, ConnectRuleError> {
        let (host, ports) = text.rsplit_once(':').ok_or(ConnectRuleError::Port)?;
        Ok(Self { ports: read_ports(ports).ok_or(ConnectRuleError::Port)?, host: read_host(host)? })
    }
}

fn read_ports(text: &str) -> Option<RangeInclusive<u16>> {
    // `parse` would take a sign.
    let port = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
    };
    match (text, text.split_once('-')) {
        ("*", _) => Some(1..=u16::MAX),
        (_, None) => port(text).map(|port| port..=port),
        (_, Some((first, last))) => Some(port(first)?..=port(last)?).filter(|ports| !ports.is_empty()),
    }
}

fn read_host(text: &str) -> Result<Host, ConnectRuleError> {
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let network = match in_brackets {
        Some(text) => {
            Some(read_network(text).filter(|network| matches!(network, IpNet::V6(_))).ok_or(ConnectRuleError::Host)?)
        }
        None => read_network(text).filter(|network| matches!(network, IpNet::V4(_))),
    };
    if let Some(network) = network {
        return if network.trunc() == network { Ok(Host::Network(network)) } else { Err(ConnectRuleError::Network) };
    }
    if text == "*" {
        return Ok(Host::Any);
    }
    let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let name = HostPort::new(name, 1).ok().filter(|it| it.literal().is_none()).ok_or(ConnectRuleError::Host)?;
    let name = normal(name.host());
    Ok(if is_below { Host::Below(format!(".{name}")) } else { Host::Name(name) })
}

fn read_network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A name in the form in which names are compared.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl fmt::Display for ConnectRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*{name}")?,
            Host::Network(network @ IpNet::V4(_)) => write!(f, "{network}")?,
            Host::Network(network @ IpNet::V6(_)) => write!(f, "[{network}]")?,
        }
        match (self.ports.start(), self.ports.end()) {
            (1, &u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

impl ConnectRule {
    fn names(&self, name: &str, port: u16) -> bool {
        self.ports.contains(&port)
            && match &self.host {
                Host::Any => true,
                Host::Name(it) => it == name,
                Host::Below(it) => name.ends_with(it.as_str()) && name.len() > it.len(),
                Host::Network(_) => false,
            }
    }

    fn holds(&self, address: SocketAddr) -> bool {
        self.ports.contains(&address.port())
            && matches!(&self.host, Host::Network(network) if network.contains(&address.ip().to_canonical()))
    }
}

/// What is known of a target before its name is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// It is nobody's to ask for.
    Denied,
    /// It is an address, and may be connected to.
    Allowed(SocketAddr),
    /// It is a name: what may be connected to depends on its addresses.
    LookUp {
        /// Whether the name itself is allowed.
        by_name: bool,
    },
}

/// Judges what is asked for.
pub(crate) fn judge(rules: &[ConnectRule], target: &HostPort) -> Asked {
    if let Some(address) = target.literal() {
        let is_any = || rules.iter().any(|rule| rule.host == Host::Any && rule.ports.contains(&address.port()));
        return if is_in_network(rules, address) || (is_public(address.ip()) && is_any()) {
            Asked::Allowed(address)
        } else {
            Asked::Denied
        };
    }
    let name = normal(target.host());
    let by_name = rules.iter().any(|rule| rule.names(&name, target.port()));
    let is_network = |rule: &ConnectRule| matches!(rule.host, Host::Network(_)) && rule.ports.contains(&target.port());
    if by_name || rules.iter().any(is_network) { Asked::LookUp { by_name } } else { Asked::Denied }
}

/// Whether an address may be connected to that a name was found to have.
pub(crate) fn allows_address(rules: &[ConnectRule], address: SocketAddr, by_name: bool) -> bool {
    is_in_network(rules, address) || (by_name && is_public(address.ip()))
}

fn is_in_network(rules: &[ConnectRule], address: SocketAddr) -> bool {
    rules.iter().any(|rule| rule.holds(address))
}

/// Whether an address belongs to the Internet, and to nobody's own network: what IANA's registries of special-purpose
/// addresses (RFC 6890) call globally reachable, without the ways to write an IPv4 address that is not.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || (a == 100 && (b & 0xC0) == 64) // RFC 6598
        || (a == 192 && b == 0 && c == 0) // RFC 6890
        || (a == 192 && b == 88 && c == 99) // RFC 7526
        || (a == 198 && (b & 0xFE) == 18) // RFC 2544
        || a >= 240) // RFC 1112
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // RFC 6052 §2.1: an IPv4 address behind a translator.
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => embedded(high, low),
        // RFC 3056: one behind a relay.
        [0x2002, high, low, ..] => embedded(high, low),
        // RFC 4291 §2.4: of global unicast, 2000::/3 is all that is given out. RFC 2928: 2001::/23 is for protocols.
        [0x2001, second, ..] if second < 0x200 => false,
        // RFC 3849, RFC 9637: for documentation.
        [0x2001, 0xDB8, ..] => false,
        [0x3FFF, second, ..] if second < 0x1000 => false,
        [first, ..] => (first & 0xE000) == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<ConnectRule> {
        texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
    }

    #[test]
    fn patterns_are_read_and_shown() {
        for (text, shown) in [
            ("example.com:443", "example.com:443"),
            ("EXAMPLE.com.:443", "example.com:443"),
            ("*.internal:5432", "*.internal:5432"),
            ("*:443", "*:443"),
            ("*:*", "*:*"),
            ("a:1-65535", "a:*"),
            ("a:8000-8999", "a:8000-8999"),
            ("10.0.0.0/8:*", "10.0.0.0/8:*"),
            ("192.0.2.1:80", "192.0.2.1/32:80"),
            ("[fd00::/8]:22", "[fd00::/8]:22"),
            ("[::1]:22", "[::1/128]:22"),
        ] {
            let rule: ConnectRule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rule.to_string(), shown);
        }
        use ConnectRuleError::{Host, Network, Port};
        for (text, error) in [
            ("", Port),
            ("example.com", Port),
            ("example.com:", Port),
            ("example.com:0", Port),
            ("example.com:+1", Port),
            ("example.com:65536", Port),
            ("example.com:9-8", Port),
            ("example.com:https", Port),
            (":443", Host),
            ("*.:443", Host),
            ("*.*:443", Host),
            ("a.*:443", Host),
            ("*a:443", Host),
            ("a b:443", Host),
            ("*.10.0.0.1:443", Host),
            ("10.0.0.0/33:443", Host),
            ("10.1:443", Host),
            ("fd00::/8:443", Host),
            ("[10.0.0.1]:443", Host),
            ("[fd00::/8:443", Host),
            ("http://a:443", Host),
            ("10.1.0.0/8:443", Network),
            ("[fd00::1/8]:443", Network),
        ] {
            assert_eq!(text.parse::<ConnectRule>(), Err(error), "{text}");
        }
    }

    #[test]
    fn what_may_be_asked_for() {
        let with_networks = rules(&["example.com:443", "*.internal:5432", "10.0.0.0/8:*", "[fd00::/8]:22"]);
        let (named, unnamed) = (Asked::LookUp { by_name: true }, Asked::LookUp { by_name: false });
        let allowed = |text: &str| Asked::Allowed(text.parse().expect("an address"));
        for (target, asked) in [
            ("example.com:443", named),
            ("EXAMPLE.COM.:443", named),
            ("db.internal:5432", named),
            ("a.b.internal:5432", named),
            // Whatever the name, it may lead into the network.
            ("internal:5432", unnamed),
            ("example.com:80", unnamed),
            ("notexample.com:443", unnamed),
            ("example.com.evil.test:443", unnamed),
            ("xinternal:5432", unnamed),
            ("10.1.2.3:1", allowed("10.1.2.3:1")),
            ("[::ffff:10.1.2.3]:1", allowed("[::ffff:10.1.2.3]:1")),
            ("[fd12::1]:22", allowed("[fd12::1]:22")),
            ("[fd12::1]:23", Asked::Denied),
            ("11.1.2.3:1", Asked::Denied),
            ("127.0.0.1:443", Asked::Denied),
        ] {
            assert_eq!(judge(&with_networks, &target.parse().expect(target)), asked, "{target}");
        }
        let no_network = rules(&["example.com:443", "*:8443"]);
        for (target, asked) in [
            ("example.com:80", Asked::Denied),
            ("anything:8443", named),
            ("192.0.3.1:8443", allowed("192.0.3.1:8443")),
            ("127.0.0.1:8443", Asked::Denied),
            ("[::1]:8443", Asked::Denied),
            ("192.0.3.1:443", Asked::Denied),
        ] {
            assert_eq!(judge(&no_network, &target.parse().expect(target)), asked, "{target}");
        }
        assert_eq!(judge(&[], &"example.com:443".parse().expect("is one")), Asked::Denied);
    }

    #[test]
    fn a_name_leads_to_its_public_addresses_and_into_networks_that_are_named() {
        let rules = rules(&["*:443", "10.0.0.0/8:443"]);
        for (address, by_name, is_allowed) in [
            ("8.8.8.8:443", true, true),
            ("8.8.8.8:443", false, false),
            ("10.9.8.7:443", false, true),
            ("10.9.8.7:443", true, true),
            ("10.9.8.7:444", true, false),
            ("127.0.0.1:443", true, false),
            ("192.168.1.1:443", true, false),
            ("169.254.169.254:443", true, false),
            ("[::1]:443", true, false),
            ("[::ffff:127.0.0.1]:443", true, false),
            ("[::ffff:10.9.8.7]:443", true, true),
            ("[2606:4700::1111]:443", true, true),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(allows_address(&rules, address, by_name), is_allowed, "{address} {by_name}");
        }
    }

    #[test]
    fn addresses_that_are_nobodys_own() {
        for text in ["1.1.1.1", "8.8.8.8", "100.63.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255"] {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
        for text in ["2001:200::1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1"] {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
        for text in [
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
    }
}
