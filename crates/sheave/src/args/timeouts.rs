//! How long is waited for whom. A timeout is never zero, and never off.

use std::time::Duration;

use clap::Args;

use crate::duration::{OrOff, parse_timeout, parse_timeout_or_off};
use crate::limit::{Limit, parse_size_or_off};

/// How long clients are waited for.
#[derive(Args, Debug)]
#[command(next_help_heading = "Timeouts towards clients")]
pub(crate) struct ClientTimeouts {
    /// From accept to a connection that can carry requests: its PROXY header, and the TLS handshake; then it is closed.
    ///
    /// Where there is neither, it means nothing.
    #[arg(long, visible_alias = "tls-handshake-timeout", value_name = "TIME", value_parser = parse_timeout, default_value = "10s")]
    pub(crate) handshake_timeout: Duration,

    /// From then to the first byte of the first request; then the connection is closed.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "30s")]
    pub(crate) first_byte_timeout: Duration,

    /// From a head's first byte to its last; then 408.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "15s")]
    pub(crate) head_timeout: Duration,

    /// Between two reads of a request's body; then 408.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "30s")]
    pub(crate) body_timeout: Duration,

    /// The slowest that a request's body may come, in bytes a second, or `off`; then 408.
    ///
    /// Averaged over twice --body-timeout, in which a slow beginning is borne; counted only while the client is waited
    /// for. A body that stops meets --body-timeout; one that drips, this.
    #[arg(long, value_name = "SIZE", value_parser = parse_size_or_off, default_value = "240")]
    pub(crate) body_min_rate: Limit,

    /// Between two exchanges on a connection; then it is closed.
    ///
    /// Keep it longer than that of the load balancer in front, which else meets connections that are being closed.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "75s")]
    pub(crate) idle_timeout: Duration,

    /// Tell clients how long an idle connection stays open, so that they need not guess: `Keep-Alive: timeout=`, a tenth
    /// less than --idle-timeout, at least a second.
    ///
    /// The promise is kept, also in a drain, whose quiet time then begins when the last promise ends; only --drain-grace
    /// ends it. So a drain with idle clients takes longer.
    #[arg(long)]
    pub(crate) announce_keep_alive: bool,

    /// How old a connection may become, or `off`; up to a tenth less by chance. Then the next response says `Connection:
    /// close`.
    ///
    /// Nothing is cut off: an exchange under way goes on, and an idle connection is left to --idle-timeout, because closing
    /// it at any other moment could cross a request.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout_or_off, default_value = "1h")]
    pub(crate) max_age: OrOff,

    /// Between two writes while a peer, client or origin, takes nothing; then its connection is reset.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "30s")]
    pub(crate) write_timeout: Duration,

    /// One exchange as a whole, from the head's last byte to the response's last, or `off`.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout_or_off, default_value = "off")]
    pub(crate) exchange_timeout: OrOff,

    /// How long a client that is still sending is read from after the last response, so that it gets that response.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "5s")]
    pub(crate) linger_timeout: Duration,
}

/// How long origins are waited for.
#[derive(Args, Debug)]
#[command(next_help_heading = "Timeouts towards origins")]
pub(crate) struct OriginTimeouts {
    /// From the call to an established connection; then another address, or 504.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "5s")]
    pub(crate) connect_timeout: Duration,

    /// For what lies between TCP and HTTP: TLS, and the PROXY header; then another origin, or 504.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "10s")]
    pub(crate) upstream_handshake_timeout: Duration,

    /// From a request's last byte to its response's head; then 504.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "60s")]
    pub(crate) response_timeout: Duration,

    /// Between two reads of a response's body; then the client's connection is reset, as part of it was passed on.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "60s")]
    pub(crate) upstream_body_timeout: Duration,

    /// How long a connection is parked for reuse at most; less where the origin was seen, or says, to close earlier.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "30s")]
    pub(crate) upstream_idle_timeout: Duration,

    /// How old a connection may become, or `off`; up to a tenth less by chance. Then it is closed once it is idle.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout_or_off, default_value = "1h")]
    pub(crate) upstream_max_age: OrOff,

    /// How long a request waits for a connection where there may be no more of them; then 503.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "5s")]
    pub(crate) queue_timeout: Duration,
}
