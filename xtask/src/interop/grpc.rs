//! gRPC through the proxy: HTTP/2 on both sides, bodies that flow both ways at once, and trailers that decide.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::base::Speaks;
use super::certificates;
use super::proxy::Proxy;
use super::run::{Place, SetUp};
use super::table::Table;
use crate::process::{Running, free_addrs};
use crate::{command, peers};

pub(super) const SET_UPS: &[SetUp] = &[
    SetUp { name: "grpc", run: |table, place| grpc(table, place, "h2c") },
    SetUp { name: "grpc-tls", run: |table, place| grpc(table, place, "https") },
];

/// What the client can ask, by its own names and for the table.
const ASKED: [(&str, &str); 6] = [
    ("unary", "gRPC: unary, with metadata"),
    ("many", "gRPC: many calls at once"),
    ("upload", "gRPC: client streaming"),
    ("chat", "gRPC: bidirectional, in turns"),
    ("fail", "gRPC: errors in trailers"),
    ("cancel", "gRPC: a call is cancelled"),
];

/// Longer than the client's own.
const PATIENCE: Duration = Duration::from_secs(40);

/// grpcio, the proxy, grpcio.
fn grpc(table: &mut Table, place: &Place<'_>, scheme: &str) -> Result<()> {
    let [addr] = free_addrs()?;
    let script = peers::write(place.folder, "grpc_peer.py", include_str!("../../peers/grpc_peer.py"))?;
    let mut command = Command::new(peers::python()?);
    command.arg(&script).arg("serve").arg(addr.to_string());
    if scheme == "https" {
        command.arg(certificates::server()).arg(certificates::server_key());
    }
    let mut origin = Running::start("grpc-origin", &command, place.folder)?;
    origin.wait_until_it_listens(addr)?;
    let proxy = Proxy::start(place.binary, &format!("{scheme}://{addr}"), &[], place.folder)?;
    for speaks in [Speaks::H2c, Speaks::H2OverTls13] {
        table.speaks = speaks.name();
        for (what, name) in ASKED {
            let mut client = command::bounded(peers::python()?, PATIENCE);
            client.arg(&script).arg("ask").arg(what).arg(proxy.base(speaks).addr.to_string());
            if speaks.is_secured() {
                client.arg(certificates::authority());
            }
            table.check(name, || command::output(&mut client));
        }
    }
    proxy.examine(table, None);
    Ok(())
}
