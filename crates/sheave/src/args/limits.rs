//! How much is allowed: of clients, of messages, of connections to origins.

use clap::Args;

use crate::limit::{Limit, parse_count, parse_count_or_off, parse_head_size, parse_size_or_off};

/// How much clients are allowed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ClientLimits {
    /// Client connections at a time, over all workers; more wait in the kernel's backlog [default: what the descriptor
    /// limit allows].
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) max_connections: Option<u64>,

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
    /// Connections to one origin address at a time, shared evenly among workers, one each at least; then 503.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "10000")]
    pub(crate) max_upstream_connections: u64,

    /// Connections to one origin address that are parked for reuse at a time, shared evenly among workers.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "1024")]
    pub(crate) max_upstream_idle: u64,
}
