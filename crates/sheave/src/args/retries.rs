//! When a request may be sent again. Only ever on evidence; how often is said here.

use clap::Args;

use crate::limit;
use crate::share;
use crate::size;

/// When a request may be sent again.
#[derive(Args, Debug)]
#[command(next_help_heading = "Retries")]
pub(crate) struct Retries {
    /// Attempts for one request, the first included; 1 switches retries off.
    ///
    /// A request is sent again only when no origin can have acted on it, or its method is idempotent and no byte of a
    /// response came.
    #[arg(long, value_name = "N", value_parser = limit::parse_count, default_value = "3")]
    pub(crate) retry_attempts: u64,

    /// Retries as a share of all requests, beyond 10 a second that are always allowed.
    #[arg(long, value_name = "SHARE", value_parser = share::parse, default_value = "20%")]
    pub(crate) retry_budget: f64,

    /// Bytes of a request's body that are kept for another attempt; a body that is longer is not sent again.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "64k")]
    pub(crate) retry_body: u64,

    /// Let `Idempotency-Key` vouch for requests whose method is not idempotent: they are sent again like those that are.
    #[arg(long)]
    pub(crate) retry_idempotency_key: bool,
}
