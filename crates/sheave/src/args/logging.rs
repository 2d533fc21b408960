//! What is written down, and where.

use clap::Args;

use crate::access_log::{Format, LogTarget};

/// What is written down, and where.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Logging {
    /// Where to write a line for each exchange: a file, `-` for standard output, or `off`.
    ///
    /// Written by a thread of its own, five times a second; lines of different workers may change places within that. A
    /// destination that is too slow loses lines, which are counted, and never holds up a request. HUP or USR1 opens the
    /// file anew.
    #[arg(long, value_name = "FILE", default_value = "off")]
    pub(crate) access_log: LogTarget,

    /// How its lines look.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub(crate) access_log_format: Format,

    /// For tests: log every connection that did not end benignly, and exit with code 5 if there was one.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Print warnings and errors only: no banner, and no report of a drain that lost nothing.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
