//! The origins behind the proxy, and what each of them offers.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::files::{Files, Sample};
use crate::peers;
use crate::process::Running;

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
    /// It counts POSTs, and closes connections after one idle second.
    pub(super) counts_posts: bool,
    /// How many clients at once it can stand.
    pub(super) connections: u32,
}

/// One origin: its name in the table, what it offers, and its start.
pub(super) struct Origin {
    pub(super) name: &'static str,
    pub(super) offers: Offers,
    pub(super) start: fn(SocketAddr, &Files, &Path) -> Result<Running>,
}

pub(super) const ORIGINS: &[Origin] = &[
    Origin {
        name: "nginx",
        offers: Offers {
            biggest: Sample::Huge,
            upload: Some(Upload::Put),
            knows_lengths: true,
            keeps_alive: true,
            ranges: true,
            echoes: false,
            drips: false,
            hints: false,
            counts_posts: false,
            connections: 64,
        },
        start: nginx,
    },
    Origin {
        name: "http.server",
        offers: Offers {
            biggest: Sample::Large,
            upload: None,
            knows_lengths: true,
            keeps_alive: false,
            ranges: false,
            echoes: false,
            drips: false,
            hints: false,
            counts_posts: false,
            // It listens with a backlog of 5 and needs a connection a request.
            connections: 4,
        },
        start: |addr, files, folder| peers::http_server(addr, files.root(), folder),
    },
    Origin {
        name: "uvicorn",
        offers: Offers {
            biggest: Sample::Large,
            upload: Some(Upload::Digest),
            knows_lengths: false,
            keeps_alive: true,
            ranges: false,
            echoes: true,
            drips: true,
            hints: false,
            counts_posts: true,
            connections: 32,
        },
        start: |addr, files, folder| peers::uvicorn(addr, &files.folder(), folder),
    },
    Origin {
        name: "node",
        offers: Offers {
            biggest: Sample::Large,
            upload: Some(Upload::Digest),
            knows_lengths: false,
            keeps_alive: true,
            ranges: false,
            echoes: true,
            drips: true,
            hints: true,
            counts_posts: true,
            connections: 64,
        },
        start: |addr, files, folder| peers::node(addr, &files.folder(), folder),
    },
];

fn nginx(addr: SocketAddr, files: &Files, folder: &Path) -> Result<Running> {
    let config = include_str!("../../peers/nginx-origin.conf")
        .replace("{{addr}}", &addr.to_string())
        .replace("{{root}}", &files.root().display().to_string());
    peers::nginx("nginx-origin", &config, folder, &[])
}
