//! How an origin misbehaves.

use clap::Args;

use crate::fault::{HELP, Spec};

/// How an origin misbehaves.
#[derive(Args, Debug)]
#[command(next_help_heading = "Faults")]
pub(crate) struct FaultArguments {
    /// Misbehave on purpose, such as `idle-close=5s`; may be given more than once, and `help` lists what there is.
    // What a well-behaved origin holds its clients to means nothing to one that misbehaves.
    #[arg(
        long,
        value_name = "SPEC",
        long_help = HELP,
        conflicts_with_all = ["ClientTimeouts", "ClientLimits", "DrainArguments", "workers", "access_log",
                              "access_log_format"]
    )]
    pub(crate) fault: Vec<Spec>,
}
