//! How the process ends.

use std::time::Duration;

use clap::Args;

use crate::duration::parse;

/// How the process ends: announce, go quiet, give grace, reset what is left.
#[derive(Args, Debug)]
#[command(next_help_heading = "Drain")]
pub(crate) struct DrainArguments {
    /// How long connections are still accepted once the drain began and /readyz says 503, for load balancers to notice.
    #[arg(long, value_name = "TIME", value_parser = parse, default_value = "0s")]
    pub(crate) drain_announce: Duration,

    /// How long an idle connection may still send the request that was already on its way.
    #[arg(long, value_name = "TIME", value_parser = parse, default_value = "200ms")]
    pub(crate) drain_quiet: Duration,

    /// How long exchanges that are under way may take before they are reset.
    #[arg(long, value_name = "TIME", value_parser = parse, default_value = "30s")]
    pub(crate) drain_grace: Duration,

    /// How long a successor (SIGUSR2) may take to say that it serves; after it, it is stopped, and this process serves on.
    #[arg(long, value_name = "TIME", value_parser = parse, default_value = "30s")]
    pub(crate) handover_timeout: Duration,
}
