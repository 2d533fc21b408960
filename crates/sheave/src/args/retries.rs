//! When a request may be sent again. Only ever on evidence; how often is said here.

use clap::{Args, ValueEnum};

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

    /// Retries as a share of all requests, beyond those that `--retry-per-second` always allows.
    #[arg(long, value_name = "SHARE", value_parser = share::parse, default_value = "20%")]
    pub(crate) retry_budget: f64,

    /// Retries a second, in each worker, that are allowed whatever their share: a quiet proxy could not retry at all else.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32), default_value_t = 10)]
    pub(crate) retry_per_second: u32,

    /// Bytes of a request's body that are kept for another attempt; a body that is longer is not sent again.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "64k")]
    pub(crate) retry_body: u64,

    /// Let `Idempotency-Key` vouch for requests whose method is not idempotent: they are sent again like those that are.
    #[arg(long)]
    pub(crate) retry_idempotency_key: bool,

    /// Which connection a request gets that cannot be sent again (POST, PATCH) if its origin is just closing it.
    #[arg(long, value_enum, default_value_t = CarefulReuse::Younger)]
    pub(crate) careful_reuse: CarefulReuse,
}

/// Which connection a request gets that cannot be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CarefulReuse {
    /// One that was parked for much less than its origin keeps it, or a fresh one.
    Younger,
    /// Always a fresh one.
    Never,
    /// What every other request gets.
    Usual,
}

impl CarefulReuse {
    /// Its name, as `--careful-reuse` has it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Younger => "younger",
            Self::Never => "never",
            Self::Usual => "usual",
        }
    }
}
