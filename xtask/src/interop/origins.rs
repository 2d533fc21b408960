//! The origins behind the proxy, and what each of them offers.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::base::Speaks;
use super::certificates;
use super::files::{Files, Sample};
use crate::peers;
use crate::process::{Running, free_addrs};

/// How an origin lets us see that an upload arrived as it was sent.
#[derive(Clone, Copy)]
pub(super) enum Upload {
    /// PUT stores it, GET brings it back.
    Put,
    /// POST answers with digest and length.
    Digest,
}

/// What an origin can do; it decides which checks fit.
pub(super) struct Offers {
    /// The largest file that is worth its time.
    pub(super) biggest: Sample,
    pub(super) upload: Option<Upload>,
    /// HEAD has a Content-Length.
    pub(super) knows_lengths: bool,
    /// Whether a client without a proxy in between can keep its connection.
    pub(super) keeps_alive: bool,
    pub(super) ranges: bool,
    pub(super) echoes: bool,
    pub(super) drips: bool,
    pub(super) hints: bool,
    /// It asks for a body whose client waits to be asked.
    pub(super) continues: bool,
    /// It counts POSTs, and closes connections after one idle second.
    pub(super) counts_posts: bool,
    /// How many clients at once it can stand.
    pub(super) connections: u32,
}

/// One origin: its name in the table, how it is reached, what it offers, and its start.
pub(super) struct Origin {
    pub(super) name: &'static str,
    /// What stands before `://` where the proxy is told of it.
    pub(super) scheme: &'static str,
    /// What it speaks itself: for clients without a proxy in between.
    pub(super) speaks: &'static [Speaks],
    /// What clients speak with a proxy before it; the first of them make the long checks, too.
    pub(super) clients: &'static [Speaks],
    pub(super) offers: Offers,
    /// Starts it; the first of the processes listens.
    pub(super) start: fn(SocketAddr, &Files, &Path) -> Result<Vec<Running>>,
}

use Speaks::{H2OverTls12, H2OverTls13, H2c, Http1, Http1OverTls12, Http1OverTls13};

pub(super) const ORIGINS: &[Origin] = &[
    Origin {
        name: "nginx",
        scheme: "http",
        speaks: &[Http1],
        clients: &[Http1, H2c, Http1OverTls12, Http1OverTls13, H2OverTls12, H2OverTls13],
        offers: FILES_AND_PUT,
        start: |addr, files, folder| nginx(addr, files, folder, ""),
    },
    Origin {
        name: "http.server",
        scheme: "http",
        speaks: &[Http1],
        clients: &[Http1],
        offers: Offers {
            biggest: Sample::Large,
            upload: None,
            knows_lengths: true,
            keeps_alive: false,
            ranges: false,
            echoes: false,
            drips: false,
            hints: false,
            continues: false,
            counts_posts: false,
            // It listens with a backlog of 5 and needs a connection a request.
            connections: 4,
        },
        start: |addr, files, folder| Ok(vec![peers::http_server(addr, files.root(), folder)?]),
    },
    Origin {
        name: "uvicorn",
        scheme: "http",
        speaks: &[Http1],
        clients: &[Http1, H2OverTls13],
        offers: Offers { hints: false, connections: 32, ..APPLICATION },
        start: |addr, files, folder| Ok(vec![peers::uvicorn(addr, &files.folder(), folder)?]),
    },
    Origin {
        name: "node",
        scheme: "http",
        speaks: &[Http1],
        clients: &[Http1, H2c],
        offers: APPLICATION,
        start: |addr, files, folder| Ok(vec![peers::node(addr, &files.folder(), &[], folder)?]),
    },
    Origin {
        name: "nginx-tls",
        scheme: "https",
        speaks: &[Http1OverTls12, Http1OverTls13],
        clients: &[Http1, H2OverTls13],
        offers: Offers { biggest: Sample::Large, ..FILES_AND_PUT },
        start: |addr, files, folder| nginx(addr, files, folder, "ssl"),
    },
    Origin {
        name: "nginx-h2",
        scheme: "https",
        speaks: &[H2OverTls13],
        clients: &[H2c, Http1, H2OverTls13],
        // nginx sends no 100 over HTTP/2.
        offers: Offers { biggest: Sample::Large, continues: false, ..FILES_AND_PUT },
        start: |addr, files, folder| nginx(addr, files, folder, "ssl http2"),
    },
    Origin {
        name: "haproxy-h2",
        scheme: "https",
        speaks: &[Http1OverTls12, H2OverTls12],
        clients: &[H2OverTls12, Http1OverTls12],
        offers: Offers { biggest: Sample::Large, ..FILES_AND_PUT },
        start: haproxy,
    },
    Origin {
        name: "node-h2",
        scheme: "https",
        speaks: &[H2OverTls13],
        clients: &[H2c, Http1, H2OverTls13],
        offers: Offers { counts_posts: false, ..APPLICATION },
        start: |addr, files, folder| {
            let (cert, key) = (certificates::server(), certificates::server_key());
            Ok(vec![peers::node(addr, &files.folder(), &[&cert, &key], folder)?])
        },
    },
    Origin {
        name: "node-h2c",
        scheme: "h2c",
        speaks: &[H2c],
        clients: &[H2c, Http1],
        offers: Offers { counts_posts: false, ..APPLICATION },
        start: |addr, files, folder| Ok(vec![peers::node(addr, &files.folder(), &[Path::new("h2c")], folder)?]),
    },
    Origin {
        name: "hypercorn",
        scheme: "https",
        speaks: &[H2OverTls13],
        clients: &[Http1, H2OverTls13],
        // hypercorn sends no 100 over HTTP/2.
        offers: Offers { hints: false, continues: false, counts_posts: false, connections: 16, ..APPLICATION },
        start: |addr, files, folder| {
            let identity = (certificates::server(), certificates::server_key());
            Ok(vec![peers::hypercorn(addr, &files.folder(), Some(&identity), folder)?])
        },
    },
    Origin {
        name: "hypercorn-h2c",
        scheme: "h2c",
        speaks: &[H2c],
        clients: &[H2c, Http1],
        // hypercorn sends no 100 over HTTP/2.
        offers: Offers { hints: false, continues: false, counts_posts: false, connections: 16, ..APPLICATION },
        start: |addr, files, folder| Ok(vec![peers::hypercorn(addr, &files.folder(), None, folder)?]),
    },
];

/// A server of files that takes uploads.
const FILES_AND_PUT: Offers = Offers {
    biggest: Sample::Huge,
    upload: Some(Upload::Put),
    knows_lengths: true,
    keeps_alive: true,
    ranges: true,
    echoes: false,
    drips: false,
    hints: false,
    continues: true,
    counts_posts: false,
    connections: 64,
};

/// An application that reads and writes bodies as they come.
const APPLICATION: Offers = Offers {
    biggest: Sample::Large,
    upload: Some(Upload::Digest),
    knows_lengths: false,
    keeps_alive: true,
    ranges: false,
    echoes: true,
    drips: true,
    hints: true,
    continues: true,
    counts_posts: true,
    connections: 64,
};

/// nginx, with `how` behind its address: `ssl` first, where it speaks TLS.
pub(super) fn nginx(addr: SocketAddr, files: &Files, folder: &Path, how: &str) -> Result<Vec<Running>> {
    let identity = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;",
        certificates::server().display(),
        certificates::server_key().display()
    );
    let config = include_str!("../../peers/nginx-origin.conf")
        .replace("{{addr}}", &format!("{addr} {how}"))
        .replace("{{tls}}", if how.starts_with("ssl") { &identity } else { "" })
        .replace("{{root}}", &files.root().display().to_string());
    Ok(vec![peers::nginx("nginx-origin", &config, folder, &[])?])
}

/// HAProxy that speaks TLS and HTTP/2, and nginx behind it.
fn haproxy(addr: SocketAddr, files: &Files, folder: &Path) -> Result<Vec<Running>> {
    let [behind] = free_addrs()?;
    let mut origin = nginx(behind, files, folder, "")?;
    origin[0].wait_until_it_listens(behind)?;
    let config = include_str!("../../peers/haproxy-front.cfg")
        .replace("{{addr}}", &format!("{addr} ssl crt {} alpn h2,http/1.1", certificates::server_bundle().display()))
        .replace("{{to}}", &behind.to_string());
    origin.insert(0, peers::haproxy("haproxy-origin", &config, folder, &[])?);
    Ok(origin)
}
