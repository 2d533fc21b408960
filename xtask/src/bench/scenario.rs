//! The table of scenarios: who is compared, and what is asked of them over how many connections.

/// Who is compared with whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Reverse proxies, before the same origin; ratios are to nginx.
    Proxies,
    /// Servers that say hello; ratios are to hyper.
    Servers,
    /// Servers of a router of axum's that says hello; ratios are to axum's own.
    Routers,
    /// Clients of the same origin; ratios are to hyper-util.
    Clients,
}

impl Class {
    /// The contender that ratios are to.
    pub(super) const fn base(self) -> &'static str {
        match self {
            Self::Proxies => "nginx",
            Self::Servers | Self::Clients => "hyper",
            Self::Routers => "axum::serve",
        }
    }
}

/// What clients speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Front {
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    TlsHttp2,
}

impl Front {
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::Http1 | Self::Http2 => "http",
            Self::Tls | Self::TlsHttp2 => "https",
        }
    }
}

/// One kind of load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// wrk: each connection asks again as soon as it is answered.
    Wrk {
        connections: u32,
        /// wrk's script in `bench/`, where the request is more than a GET.
        script: Option<&'static str>,
        /// Every request says `Connection: close`, and the next one connects anew.
        closes: bool,
    },
    /// h2load: each connection keeps so many requests going.
    H2load { connections: u32, streams: u32 },
    /// So many requests a second, in turn over many connections that are idle meanwhile.
    Sparse { connections: u32, rate: u32 },
    /// A TLS handshake, one request, and the close; so many at once.
    Handshakes { is_resumed: bool, at_once: u32 },
    /// Memory: connections that have had a response each, and wait.
    IdleClients { connections: u32 },
    /// Memory: connections to the origin that wait in the pool.
    ParkedOrigins { connections: u32 },
    /// A client's calls, so many at once.
    Calls { at_once: u32 },
}

impl Work {
    /// Whether it counts bytes of memory, not time.
    pub(super) const fn is_memory(self) -> bool {
        matches!(self, Self::IdleClients { .. } | Self::ParkedOrigins { .. })
    }

    /// Connections that a proxy has at once towards its clients.
    pub(super) const fn connections(self) -> u32 {
        match self {
            Self::Wrk { connections, .. }
            | Self::H2load { connections, .. }
            | Self::Sparse { connections, .. }
            | Self::IdleClients { connections }
            | Self::ParkedOrigins { connections } => connections,
            Self::Handshakes { at_once, .. } | Self::Calls { at_once } => at_once,
        }
    }
}

/// One row of the comparison. A new path needs an answer in `bench/peers/epoll/src/bin/origin.rs`.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// For the report.
    pub(super) about: &'static str,
    pub(super) class: Class,
    pub(super) front: Front,
    pub(super) work: Work,
    pub(super) path: &'static str,
    /// Length of the origin's response body.
    pub(super) response_len: u64,
    /// How many origins stand behind a proxy.
    pub(super) origins: u16,
    /// Workers, threads or processes, of each proxy; with more than one it shares all cores with load and origin.
    pub(super) workers: u16,
    /// Whether contenders that log every exchange, and the sheave that nobody watched at work, stand beside the others.
    pub(super) with_variants: bool,
    /// The ratio to the base, or the bytes a connection, that sheave is to stay within.
    pub(super) aim: Option<f64>,
}

const KIB: u64 = 1 << 10;

impl Scenario {
    /// How many descriptors a proxy needs for it: two for each request, some for connections to each origin that wait.
    pub(super) fn descriptors(&self) -> u64 {
        let each = if matches!(self.work, Work::IdleClients { .. }) { 1 } else { 2 };
        u64::from(self.work.connections()) * each + u64::from(self.origins) * 8 + 512
    }
}

/// A GET of 1 KiB from a proxy; what differs is said in the row.
const PLAIN: Scenario = Scenario {
    name: "",
    about: "",
    class: Class::Proxies,
    front: Front::Http1,
    work: Work::Wrk { connections: 64, script: None, closes: false },
    path: "/1k",
    response_len: KIB,
    origins: 1,
    workers: 1,
    with_variants: false,
    aim: None,
};

const fn wrk(connections: u32) -> Work {
    Work::Wrk { connections, script: None, closes: false }
}

const fn upload(connections: u32, script: &'static str) -> Work {
    Work::Wrk { connections, script: Some(script), closes: false }
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "get-1k",
        about: "GET of 1 KiB, 64 connections kept alive",
        with_variants: true,
        aim: Some(0.88),
        ..PLAIN
    },
    Scenario { name: "get-1k-c1", about: "GET of 1 KiB, one connection", work: wrk(1), ..PLAIN },
    Scenario {
        name: "get-1k-c1024",
        about: "GET of 1 KiB, 1,024 connections kept alive",
        work: wrk(1024),
        aim: Some(0.78),
        ..PLAIN
    },
    Scenario { name: "get-1k-c8000", about: "GET of 1 KiB, 8,000 connections kept alive", work: wrk(8000), ..PLAIN },
    Scenario {
        name: "get-1k-c10000",
        about: "GET of 1 KiB, 10,000 connections kept alive",
        work: wrk(10_000),
        ..PLAIN
    },
    Scenario {
        name: "get-1k-w2",
        about: "GET of 1 KiB, 64 connections kept alive, two workers on the cores of load and origin",
        workers: 2,
        ..PLAIN
    },
    Scenario { name: "get-1k-o10", about: "GET of 1 KiB, 64 connections, 10 origins", origins: 10, ..PLAIN },
    Scenario { name: "get-1k-o100", about: "GET of 1 KiB, 64 connections, 100 origins", origins: 100, ..PLAIN },
    Scenario { name: "get-1k-o1000", about: "GET of 1 KiB, 64 connections, 1,000 origins", origins: 1000, ..PLAIN },
    Scenario {
        name: "get-100k",
        about: "GET of 100 KiB, 64 connections kept alive",
        path: "/100k",
        response_len: 100 * KIB,
        aim: Some(0.90),
        ..PLAIN
    },
    Scenario {
        name: "chunked-100k",
        about: "GET of 100 KiB in chunks of 8 KiB, 64 connections kept alive",
        path: "/chunked-100k",
        response_len: 100 * KIB,
        aim: Some(0.85),
        ..PLAIN
    },
    Scenario {
        name: "get-10m",
        about: "GET of 10 MiB, 8 connections kept alive",
        work: wrk(8),
        path: "/10m",
        response_len: 10 * KIB * KIB,
        aim: Some(0.90),
        ..PLAIN
    },
    Scenario {
        name: "post-16k",
        about: "POST of 16 KiB, 64 connections kept alive",
        work: upload(64, "post-16k.lua"),
        path: "/post",
        response_len: 6,
        aim: Some(0.75),
        ..PLAIN
    },
    Scenario {
        name: "post-10m",
        about: "POST of 10 MiB, 8 connections kept alive",
        work: upload(8, "post-10m.lua"),
        path: "/upload",
        response_len: 6,
        ..PLAIN
    },
    Scenario {
        name: "conn-per-request",
        about: "GET of 1 KiB, a new connection for each request, 64 at once",
        work: Work::Wrk { connections: 64, script: None, closes: true },
        aim: Some(0.97),
        ..PLAIN
    },
    Scenario {
        name: "sparse",
        about: "1,000 requests a second for 1 KiB over 5,000 connections, each idle for 5 s in between",
        work: Work::Sparse { connections: 5000, rate: 1000 },
        ..PLAIN
    },
    Scenario {
        name: "idle-memory",
        about: "memory of an idle client connection: 5,000 that have had a response each",
        work: Work::IdleClients { connections: 5000 },
        aim: Some(1000.0),
        ..PLAIN
    },
    Scenario {
        name: "idle-memory-c1000",
        about: "memory of an idle client connection: 1,000 that have had a response each",
        work: Work::IdleClients { connections: 1000 },
        ..PLAIN
    },
    Scenario {
        name: "idle-memory-c10000",
        about: "memory of an idle client connection: 10,000 that have had a response each",
        work: Work::IdleClients { connections: 10_000 },
        ..PLAIN
    },
    Scenario {
        name: "parked-memory",
        about: "memory of a parked connection to the origin: 1,000 that were in use at once",
        work: Work::ParkedOrigins { connections: 1000 },
        ..PLAIN
    },
    Scenario {
        name: "idle-memory-tls",
        about: "memory of an idle client connection behind TLS: 5,000 that have had a response each",
        front: Front::Tls,
        work: Work::IdleClients { connections: 5000 },
        aim: Some(7000.0),
        ..PLAIN
    },
    Scenario {
        name: "tls-get-1k",
        about: "GET of 1 KiB over TLS, 64 connections kept alive",
        front: Front::Tls,
        aim: Some(0.92),
        ..PLAIN
    },
    Scenario {
        name: "tls-get-100k",
        about: "GET of 100 KiB over TLS, 64 connections kept alive",
        front: Front::Tls,
        path: "/100k",
        response_len: 100 * KIB,
        aim: Some(0.45),
        ..PLAIN
    },
    Scenario {
        name: "tls-get-10m",
        about: "GET of 10 MiB over TLS, 8 connections kept alive",
        front: Front::Tls,
        work: wrk(8),
        path: "/10m",
        response_len: 10 * KIB * KIB,
        aim: Some(0.45),
        ..PLAIN
    },
    Scenario {
        name: "tls-handshake",
        about: "a full TLS handshake for each GET of 1 KiB, 16 at once",
        front: Front::Tls,
        work: Work::Handshakes { is_resumed: false, at_once: 16 },
        aim: Some(0.70),
        ..PLAIN
    },
    Scenario {
        name: "tls-resumed",
        about: "a resumed TLS handshake for each GET of 1 KiB, 16 at once",
        front: Front::Tls,
        work: Work::Handshakes { is_resumed: true, at_once: 16 },
        ..PLAIN
    },
    Scenario {
        name: "h2-s1",
        about: "GET of 1 KiB over HTTP/2, 32 connections of one stream",
        front: Front::Http2,
        work: Work::H2load { connections: 32, streams: 1 },
        ..PLAIN
    },
    Scenario {
        name: "h2-s10",
        about: "GET of 1 KiB over HTTP/2, 32 connections of 10 streams",
        front: Front::Http2,
        work: Work::H2load { connections: 32, streams: 10 },
        ..PLAIN
    },
    Scenario {
        name: "h2-s16",
        about: "GET of 1 KiB over HTTP/2, 32 connections of 16 streams",
        front: Front::Http2,
        work: Work::H2load { connections: 32, streams: 16 },
        aim: Some(0.85),
        ..PLAIN
    },
    Scenario {
        name: "h2-s100",
        about: "GET of 1 KiB over HTTP/2, 8 connections of 100 streams",
        front: Front::Http2,
        work: Work::H2load { connections: 8, streams: 100 },
        ..PLAIN
    },
    Scenario {
        name: "tls-h2-s16",
        about: "GET of 1 KiB over HTTP/2 and TLS, 32 connections of 16 streams",
        front: Front::TlsHttp2,
        work: Work::H2load { connections: 32, streams: 16 },
        aim: Some(0.85),
        ..PLAIN
    },
    Scenario {
        name: "server-hello",
        about: "a server that says hello, 64 connections kept alive",
        class: Class::Servers,
        path: "/",
        response_len: 13,
        aim: Some(0.93),
        ..PLAIN
    },
    Scenario {
        name: "axum-hello",
        about: "a router of axum's that says hello, 64 connections kept alive",
        class: Class::Routers,
        path: "/",
        response_len: 13,
        aim: Some(1.0),
        ..PLAIN
    },
    Scenario {
        name: "client-c1",
        about: "a client's GET of 1 KiB, one after another",
        class: Class::Clients,
        work: Work::Calls { at_once: 1 },
        aim: Some(1.0),
        ..PLAIN
    },
    Scenario {
        name: "client-c64",
        about: "a client's GET of 1 KiB, 64 at once",
        class: Class::Clients,
        work: Work::Calls { at_once: 64 },
        aim: Some(0.88),
        ..PLAIN
    },
];

/// Scenarios that differ in one number alone: how the cost of a unit of work grows with it.
pub(super) struct Curve {
    /// What grows.
    pub(super) about: &'static str,
    /// The number, and the scenario that has it.
    pub(super) points: &'static [(u32, &'static str)],
}

pub(super) const CURVES: &[Curve] = &[
    Curve {
        about: "client connections, all busy",
        points: &[
            (1, "get-1k-c1"),
            (64, "get-1k"),
            (1024, "get-1k-c1024"),
            (8000, "get-1k-c8000"),
            (10_000, "get-1k-c10000"),
        ],
    },
    Curve {
        about: "client connections, all idle",
        points: &[(1000, "idle-memory-c1000"), (5000, "idle-memory"), (10_000, "idle-memory-c10000")],
    },
    Curve { about: "workers", points: &[(1, "get-1k"), (2, "get-1k-w2")] },
    Curve {
        about: "origins",
        points: &[(1, "get-1k"), (10, "get-1k-o10"), (100, "get-1k-o100"), (1000, "get-1k-o1000")],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_each() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[..index].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
        }
    }

    #[test]
    fn curves_are_made_of_scenarios() {
        for (_, name) in CURVES.iter().flat_map(|curve| curve.points) {
            assert!(SCENARIOS.iter().any(|scenario| scenario.name == *name), "{name}");
        }
    }
}
