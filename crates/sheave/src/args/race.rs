//! What is demonstrated.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::duration::parse_timeout;
use crate::limit::parse_count;
use crate::share;

/// `sheave demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// What to demonstrate.
    #[command(subcommand)]
    pub(crate) demo: Demonstration,
}

/// What there is to see.
#[derive(Subcommand, Debug)]
pub(crate) enum Demonstration {
    /// Race requests against an origin that closes idle connections, with the proxy's protections on and off.
    ///
    /// Starts an origin and a proxy on loopback ports of their own, and drives GETs, PUTs and POSTs through them in waves.
    /// The pauses between the waves are swept from 3 ms before to 3 ms after the moment at which the origin closes what is
    /// idle. With the protections off the proxy asks no connection whether it lives, learns nothing, and tries nothing
    /// again. Exits with 0 if, with the protections on, no client saw an error but for POSTs that RFC 9110 §9.2.2 forbids
    /// to send again; with 3 if one did.
    Race(RaceArguments),
}

/// `sheave demo race`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Race")]
pub(crate) struct RaceArguments {
    /// How long each of the two runs lasts, in seconds.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "5")]
    pub(crate) seconds: u64,

    /// How many clients there are.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "32")]
    pub(crate) connections: u64,

    /// How long the origin keeps an idle connection.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "250ms")]
    pub(crate) idle_close: Duration,

    /// How much that time varies, both ways, such as 20% [default: not at all].
    #[arg(long, value_name = "SHARE", value_parser = share::parse)]
    pub(crate) jitter: Option<f64>,

    /// Let the origin close by RST instead of FIN.
    #[arg(long)]
    pub(crate) reset: bool,
}
