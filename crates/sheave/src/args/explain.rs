//! What is to be explained.

use std::time::Duration;

use clap::Args;

use crate::address::OriginAddress;
use crate::duration::parse_timeout;

/// `sheave explain`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Explain")]
pub(crate) struct ExplainArguments {
    /// Where the process that is asked about has its admin pages: what it was given with --admin.
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:9901")]
    pub(crate) admin: OriginAddress,

    /// How long it is watched, under the load that is to be explained.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_timeout, default_value = "5s")]
    pub(crate) watch: Duration,
}
