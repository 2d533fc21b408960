//! The PROXY protocol: HAProxy announces clients to the proxy, which announces them to nginx.

use anyhow::{Context, Result, ensure};

use super::base::{Base, Speaks};
use super::checks::Target;
use super::curl::Curl;
use super::origins::{self, ORIGINS};
use super::proxy::Proxy;
use super::run::{Place, SetUp, try_all};
use super::table::Table;
use crate::peers;
use crate::process::free_addrs;

pub(super) const SET_UPS: &[SetUp] = &[
    // Each is sent one version and sends the other.
    SetUp { name: "proxy-v1", run: |table, place| announced(table, place, "send-proxy", "v2", Speaks::Http1) },
    SetUp { name: "proxy-v2", run: |table, place| announced(table, place, WITH_VALUES, "v1", Speaks::Http1) },
    // HAProxy passes TLS on as it comes; the headers go before it, on both sides.
    SetUp { name: "proxy-tls", run: |table, place| announced(table, place, WITH_VALUES, "v2", Speaks::Http1OverTls13) },
];

/// Version 2 with a checksum, and more.
const WITH_VALUES: &str = "send-proxy-v2 proxy-v2-options crc32c,authority";

/// An address of the loopback network that is neither HAProxy's nor the proxy's.
const CLIENT: &str = "127.0.0.5";

/// Clients, HAProxy that announces them, the proxy, nginx to which they are announced.
fn announced(table: &mut Table, place: &Place<'_>, server: &str, to: &str, speaks: Speaks) -> Result<()> {
    let [addr, front_addr] = free_addrs()?;
    let how = if speaks.is_secured() { "ssl proxy_protocol" } else { "proxy_protocol" };
    let mut origin = origins::nginx(addr, place.files, place.folder, how)?;
    origin[0].wait_until_it_listens(addr)?;
    let more = ["--proxy-protocol-from", "127.0.0.1", "--to-proxy-protocol", to];
    let scheme = if speaks.is_secured() { "https" } else { "http" };
    let proxy = Proxy::start(place.binary, &format!("{scheme}://{addr}"), &more, place.folder)?;
    // A check that fails once takes the server out: HAProxy would answer everything with 503.
    let checked = format!("{} {server} check check-send-proxy inter 100ms fall 1 rise 1", proxy.base(speaks).addr);
    let mut config = include_str!("../../peers/haproxy-front.cfg")
        .replace("{{addr}}", &front_addr.to_string())
        .replace("{{to}}", &checked);
    if speaks.is_secured() {
        config = config.replace("mode http", "mode tcp").replace("http-reuse always", "");
    }
    let mut front = peers::haproxy("haproxy-front", &config, place.folder, &[])?;
    front.wait_until_it_listens(front_addr)?;
    let base = Base { addr: front_addr, speaks };
    table.speaks = base.speaks.name();
    table.check("the origin knows the client", || {
        let said = Curl::new().arg("--interface").arg(CLIENT).url(base, "/who").url(base, "/who").text()?;
        let answers = said.answers.iter().map(|answer| answer.local.as_str());
        let expected: String = answers.map(|local| told(local, front_addr)).collect();
        ensure!(said.body == expected, "nginx was told\n{}instead of\n{expected}", said.body);
        ensure!(said.answers.iter().all(|answer| answer.local.starts_with(CLIENT)), "curl came from elsewhere");
        let first = said.body.lines().next().context("nginx said nothing")?;
        Ok(first.to_owned())
    });
    let target = Target { base, files: place.files, offers: &ORIGINS[0].offers, direct: false, with_long: true };
    try_all(table, &target, &mut origin)?;
    drop(front);
    proxy.examine(table, None);
    Ok(())
}

/// What nginx answers when curl has connected from `client` (address and port) to HAProxy at `front`: what the PROXY header
/// told, and what the forwarding field told.
fn told(client: &str, front: std::net::SocketAddr) -> String {
    let ip = client.split(' ').next().unwrap_or_default();
    format!("{client} to {} {} for {ip}\n", front.ip(), front.port())
}
