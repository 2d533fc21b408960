//! Streams of one HTTP/2 connection: many at once, some reset, some not read, one that is a WebSocket; by Node's client.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::base::Speaks;
use super::certificates;
use super::files::Sample;
use super::origins::{ORIGINS, Origin};
use super::proxy::Proxy;
use super::run::{Place, SetUp};
use super::table::Table;
use super::websocket;
use crate::process::free_addrs;
use crate::{command, peers, tools};

pub(super) const SET_UPS: &[SetUp] = &[
    SetUp { name: "streams-h1", run: |table, place| streams(table, place, "node") },
    SetUp { name: "streams-h2", run: |table, place| streams(table, place, "node-h2") },
    SetUp { name: "streams-ws", run: over_websocket },
];

/// What the client can do, by its own names and for the table.
const ASKED: [(&str, &str); 5] = [
    ("many", "streams: many at once"),
    ("reset", "streams: some are reset"),
    ("stall", "streams: one is not read"),
    ("turns", "streams: both directions in turns"),
    ("trailers", "streams: trailers"),
];

/// Longer than the client's own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Node's HTTP/2 client, the proxy, one of the origins.
fn streams(table: &mut Table, place: &Place<'_>, origin: &str) -> Result<()> {
    let origin: &Origin = ORIGINS.iter().find(|it| it.name == origin).expect("is in the table");
    let [addr] = free_addrs()?;
    let mut running = (origin.start)(addr, place.files, place.folder)?;
    running[0].wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &format!("{}://{addr}", origin.scheme), &[], place.folder)?;
    for (what, name) in ASKED {
        ask(table, place, &proxy, what, name)?;
        running[0].expect_alive()?;
    }
    proxy.examine(table, None);
    Ok(())
}

/// Node's HTTP/2 client with a WebSocket on a stream, the proxy, a WebSocket server over HTTP/1.1. RFC 8441
fn over_websocket(table: &mut Table, place: &Place<'_>) -> Result<()> {
    let (_server, addr) = websocket::start_one(place)?;
    let proxy = Proxy::start(place.binary, &addr.to_string(), &[], place.folder)?;
    ask(table, place, &proxy, "websocket", "WebSocket over HTTP/2")?;
    proxy.examine(table, None);
    Ok(())
}

fn ask(table: &mut Table, place: &Place<'_>, proxy: &Proxy, what: &str, name: &str) -> Result<()> {
    let script = peers::write(place.folder, "h2_client.mjs", include_str!("../../peers/h2_client.mjs"))?;
    let digests = format!("small={},large={}", place.files.digest(Sample::Small), place.files.digest(Sample::Large));
    for speaks in [Speaks::H2c, Speaks::H2OverTls13] {
        table.speaks = speaks.name();
        let mut client = command::bounded(tools::NODE.path()?, PATIENCE);
        client.arg::<&Path>(&script).arg(what).arg(proxy.base(speaks).to_string()).arg(&digests);
        if speaks.is_secured() {
            client.arg(certificates::authority());
        }
        table.check(name, || command::output(&mut client));
    }
    Ok(())
}
