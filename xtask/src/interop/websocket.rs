//! WebSocket through the proxy: a tunnel, once both sides have agreed on it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::base::Speaks;
use super::certificates;
use super::proxy::Proxy;
use super::run::{Place, SetUp};
use super::table::Table;
use crate::process::{Running, free_addrs};
use crate::{command, peers, tools};

pub(super) const SET_UPS: &[SetUp] = &[SetUp { name: "websocket", run: websocket }];

/// One of the two libraries, as server and as client.
#[derive(Clone, Copy)]
struct Library {
    name: &'static str,
    command: fn(&Path) -> Result<Command>,
}

const LIBRARIES: [Library; 2] =
    [Library { name: "ws", command: node }, Library { name: "websockets", command: python }];

fn node(folder: &Path) -> Result<Command> {
    let script = peers::write(folder, "ws_peer.mjs", include_str!("../../peers/ws_peer.mjs"))?;
    let mut command = Command::new(tools::NODE.path()?);
    command.arg(script).env("MODULES", peers::node_modules()?);
    Ok(command)
}

fn python(folder: &Path) -> Result<Command> {
    let script = peers::write(folder, "ws_peer.py", include_str!("../../peers/ws_peer.py"))?;
    let mut command = Command::new(peers::python()?);
    command.arg(script);
    Ok(command)
}

/// One of the servers, and where it listens.
pub(super) fn start_one(place: &Place<'_>) -> Result<(Running, SocketAddr)> {
    start(&LIBRARIES[0], place)
}

fn start(server: &Library, place: &Place<'_>) -> Result<(Running, SocketAddr)> {
    let [addr] = free_addrs()?;
    let mut command = (server.command)(place.folder)?;
    command.arg("serve").arg(addr.to_string());
    let mut running = Running::start(server.name, &command, place.folder)?;
    running.wait_until_it_listens(addr)?;
    Ok((running, addr))
}

/// Each client with each server, with TLS and without.
fn websocket(table: &mut Table, place: &Place<'_>) -> Result<()> {
    for server in LIBRARIES {
        let (mut origin, addr) = start(&server, place)?;
        let proxy = Proxy::start(place.binary, &addr.to_string(), &[], place.folder)?;
        for client in LIBRARIES {
            for speaks in [Speaks::Http1, Speaks::Http1OverTls13] {
                table.speaks = speaks.name();
                let scheme = if speaks.is_secured() { "wss" } else { "ws" };
                let mut command = (client.command)(place.folder)?;
                command.arg("ask").arg(format!("{scheme}://{}/", proxy.base(speaks).addr));
                if speaks.is_secured() {
                    command.arg(certificates::authority());
                }
                table.check(&format!("{} with {}", client.name, server.name), || command::output(&mut command));
                origin.expect_alive()?;
            }
        }
        proxy.examine(table, None);
    }
    Ok(())
}
