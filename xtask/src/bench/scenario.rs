//! The table of scenarios: what the clients ask for, over how many connections.

/// One kind of load. A new one is a row of [`SCENARIOS`]; a new path needs a location in `bench/nginx-origin.conf`.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// For the report.
    pub(super) about: &'static str,
    /// Client connections at once.
    pub(super) connections: u32,
    pub(super) path: &'static str,
    /// Length of the origin's response body.
    pub(super) response_len: u64,
    /// wrk's script in `bench/`, where the request is more than a GET.
    pub(super) script: Option<&'static str>,
    /// Every request says `Connection: close` and the next one connects anew.
    pub(super) closes: bool,
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "get-1k",
        about: "GET of 1 KiB, 64 connections kept alive",
        connections: 64,
        path: "/1k",
        response_len: 1 << 10,
        script: None,
        closes: false,
    },
    Scenario {
        name: "get-1k-c1024",
        about: "GET of 1 KiB, 1,024 connections kept alive",
        connections: 1024,
        path: "/1k",
        response_len: 1 << 10,
        script: None,
        closes: false,
    },
    Scenario {
        name: "get-100k",
        about: "GET of 100 KiB, 64 connections kept alive",
        connections: 64,
        path: "/100k.bin",
        response_len: 100 << 10,
        script: None,
        closes: false,
    },
    Scenario {
        name: "post-16k",
        about: "POST of 16 KiB, 64 connections kept alive",
        connections: 64,
        path: "/post",
        response_len: 6,
        script: Some("post-16k.lua"),
        closes: false,
    },
    Scenario {
        name: "conn-per-request",
        about: "GET of 1 KiB, a new connection for each request, 64 at once",
        connections: 64,
        path: "/1k",
        response_len: 1 << 10,
        script: None,
        closes: true,
    },
];
