//! How much is allowed: of clients, of messages, of connections to origins.

use clap::{Args, ValueEnum};

use crate::limit::{
    Limit, parse_count, parse_count_or_off, parse_head_size, parse_number, parse_size_or_off, parse_small_count_or_off,
};

/// What becomes of whoever is beyond a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Over {
    /// Connections wait in the kernel's backlog; a client beyond its own limit, and a request, get 503.
    Wait,
    /// 503 with `Retry-After`.
    #[value(name = "503")]
    Answer,
    /// The connection is closed without an answer.
    Close,
}

/// How much clients are allowed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ClientLimits {
    /// Client connections at a time, shared evenly among workers; then as --over-limit says [default: what the descriptor
    /// limit allows].
    ///
    /// While somebody waits for a place, responses say `Connection: close`, and connections that are idle give way, the
    /// idle longest first.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) max_connections: Option<u64>,

    /// Connections at a time of one client address, over all workers, or `off`; then 503, or as --over-limit says. An IPv6
    /// network of 64 bits is one address.
    ///
    /// Clients behind one address translator, or one load balancer, are one.
    #[arg(long, value_name = "N", value_parser = parse_small_count_or_off, default_value = "off")]
    pub(crate) max_connections_per_client: Limit,

    /// New connections a second, over all workers, with one second's worth at once, or `off`; then as --over-limit says.
    #[arg(long, value_name = "N", value_parser = parse_small_count_or_off, default_value = "off")]
    pub(crate) accept_rate: Limit,

    /// Handshakes (TLS, the PROXY header) under way at a time, shared evenly among workers; whoever is beyond waits for a
    /// turn, within --handshake-timeout, or is closed, as --over-limit says.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "4096")]
    pub(crate) max_handshakes: u64,

    /// Requests under way at a time, over all workers, or `off`; then 503, or as --over-limit says.
    #[arg(long, value_name = "N", value_parser = parse_small_count_or_off, default_value = "off")]
    pub(crate) max_requests_in_flight: Limit,

    /// What becomes of whoever is beyond one of these limits.
    #[arg(long, value_enum, default_value_t = Over::Wait)]
    pub(crate) over_limit: Over,

    /// Requests on one connection, or `off`; the last response says `Connection: close`.
    #[arg(long, value_name = "N", value_parser = parse_count_or_off, default_value = "10000")]
    pub(crate) max_requests: Limit,

    /// Bytes of a message's head, at most 64k; then 431, or 502 when it is a response's.
    #[arg(long, value_name = "SIZE", value_parser = parse_head_size, default_value = "32k")]
    pub(crate) max_head: u64,

    /// Bytes of a request line, at most 64k; then 414.
    #[arg(long, value_name = "SIZE", value_parser = parse_head_size, default_value = "16k")]
    pub(crate) max_request_line: u64,

    /// Fields of a message's head; then 431, or 502 when it is a response's.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "128")]
    pub(crate) max_fields: u64,

    /// Bytes of a request's body, or `off`; then 413. Bodies are passed on as they come and not held in memory.
    #[arg(long, value_name = "SIZE", value_parser = parse_size_or_off, default_value = "off")]
    pub(crate) max_body: Limit,
}

/// How many connections origins are given.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct OriginLimits {
    /// Connections to one origin address at a time, shared evenly among workers, one each at least; then requests wait.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "10000")]
    pub(crate) max_upstream_connections: u64,

    /// Connections to all origins at a time, over all workers; then parked ones make room, and requests wait [default: what
    /// the descriptor limit allows].
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) max_upstream_total: Option<u64>,

    /// Connections to one origin address that are parked for reuse at a time, shared evenly among workers.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "1024")]
    pub(crate) max_upstream_idle: u64,

    /// Requests that may wait for a connection to one origin address, shared evenly among workers; then 503.
    #[arg(long, value_name = "N", value_parser = parse_number, default_value = "1024")]
    pub(crate) max_queue: u64,

    /// Requests on one connection to an origin, or `off`; then it is closed.
    #[arg(long, value_name = "N", value_parser = parse_count_or_off, default_value = "10000")]
    pub(crate) upstream_max_requests: Limit,

    /// Requests that share one connection of HTTP/2 to an origin at a time, or as many as it allows, if that is fewer; then a
    /// further connection is opened.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value = "100")]
    pub(crate) upstream_max_streams: u32,

    /// Connections that are kept parked to each origin address, shared evenly among workers: fresh ones are opened before
    /// they are asked for.
    #[arg(long, value_name = "N", value_parser = parse_number, default_value = "0")]
    pub(crate) prewarm: u64,
}
