//! Where to listen, and with how many workers.

use clap::Args;

use crate::address::ListenAddress;
use crate::limit;

/// Where to listen, and with how many workers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listening {
    /// Where to accept connections; may be given more than once.
    ///
    /// `HOST:PORT`, `[::1]:PORT`; `:PORT` for all addresses of the machine; `PORT` alone for the loopback address. Port 0
    /// lets the system choose one, which is then printed.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) from: Vec<ListenAddress>,

    /// Where to serve /metrics, /healthz, /readyz and /connections.
    ///
    /// Not meant for the public. [default: off; 127.0.0.1:9901 when the demo origin runs behind the proxy]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<ListenAddress>,

    /// How many worker threads share the connections [default: one for each core].
    #[arg(long, value_name = "N", value_parser = limit::parse_count)]
    pub(crate) workers: Option<u64>,
}
