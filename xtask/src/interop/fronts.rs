//! Other proxies in front of ours.

use anyhow::Result;

use super::base::{Base, Speaks};
use super::certificates;
use super::checks::Target;
use super::origins::{ORIGINS, Origin};
use super::proxy::Proxy;
use super::run::{Place, SetUp, try_all};
use super::table::Table;
use crate::peers;
use crate::process::free_addrs;

pub(super) const SET_UPS: &[SetUp] = &[
    SetUp { name: "haproxy", run: |table, place| haproxy(table, place, Speaks::Http1, "", "") },
    SetUp { name: "haproxy-h2c", run: |table, place| haproxy(table, place, Speaks::H2OverTls13, SECURED, "proto h2") },
    SetUp { name: "nginx-front", run: nginx },
];

/// How HAProxy is told to speak TLS with clients.
const SECURED: &str = "ssl crt {{bundle}} alpn h2,http/1.1";

/// nginx: the origin behind all of them.
fn origin() -> &'static Origin {
    &ORIGINS[0]
}

/// Clients, HAProxy, the proxy, nginx.
fn haproxy(table: &mut Table, place: &Place<'_>, speaks: Speaks, bind: &str, server: &str) -> Result<()> {
    let [addr, front_addr] = free_addrs()?;
    let mut running = (origin().start)(addr, place.files, place.folder)?;
    running[0].wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &addr.to_string(), &[], place.folder)?;
    let config = include_str!("../../peers/haproxy-front.cfg")
        .replace("{{addr}}", &format!("{front_addr} {bind}"))
        .replace("{{bundle}}", &certificates::server_bundle().display().to_string())
        .replace("{{to}}", &format!("{} {server}", proxy.plain));
    let mut front = peers::haproxy("haproxy-front", &config, place.folder, &[])?;
    front.wait_until_it_listens(front_addr)?;
    let base = Base { addr: front_addr, speaks };
    let target = Target { base, files: place.files, offers: &origin().offers, direct: false, with_long: true };
    try_all(table, &target, &mut running)?;
    // HAProxy keeps its connections to the proxy: they close with it.
    drop(front);
    proxy.examine(table, None);
    Ok(())
}

/// Clients that speak HTTP/2, nginx that speaks HTTP/1.1 over TLS, the proxy, nginx.
fn nginx(table: &mut Table, place: &Place<'_>) -> Result<()> {
    let [addr, front_addr] = free_addrs()?;
    let mut running = (origin().start)(addr, place.files, place.folder)?;
    running[0].wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &addr.to_string(), &[], place.folder)?;
    let config = include_str!("../../peers/nginx-front.conf")
        .replace("{{addr}}", &front_addr.to_string())
        .replace("{{to}}", &proxy.secured.to_string())
        .replace("{{cert}}", &certificates::server().display().to_string())
        .replace("{{key}}", &certificates::server_key().display().to_string())
        .replace("{{ca}}", &certificates::authority().display().to_string());
    let mut front = peers::nginx("nginx-front", &config, place.folder, &[])?;
    front.wait_until_it_listens(front_addr)?;
    let base = Base { addr: front_addr, speaks: Speaks::H2OverTls13 };
    let target = Target { base, files: place.files, offers: &origin().offers, direct: false, with_long: true };
    try_all(table, &target, &mut running)?;
    drop(front);
    proxy.examine(table, None);
    Ok(())
}
