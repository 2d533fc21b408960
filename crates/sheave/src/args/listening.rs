//! Where to listen, and with how many workers.

use clap::Args;
use ipnet::IpNet;

use crate::address::ListenAddress;
use crate::limit;
use crate::network;

/// Where clients are served if nobody says so and nothing is inherited.
const DEFAULT_PORT: u16 = 8080;

/// Where to listen, and with how many workers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listening {
    /// Where to accept connections; may be given more than once.
    ///
    /// `http://` or `https://` may go before; without either, TLS is spoken where there is a certificate (`--tls-cert`).
    /// `HOST:PORT`, `[::1]:PORT`; `:PORT` for all addresses of the machine; `PORT` alone for the loopback address. Port 0
    /// lets the system choose one, which is then printed. Sockets that are inherited (systemd's socket activation, a
    /// predecessor) are served in any case, and an address that one of them serves is not bound. [default:
    /// 127.0.0.1:8080; nothing when sockets for clients are inherited]
    #[arg(long, value_name = "ADDR")]
    pub(crate) from: Vec<ListenAddress>,

    /// Where to serve /metrics, /healthz, /readyz, /connections, /origins and /drain.
    ///
    /// Not meant for the public. An inherited socket that is named `admin` is served in any case. [default: off; 127.0.0.1:9901 when the demo origin runs behind the proxy]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<ListenAddress>,

    /// Whose connections begin with a PROXY header that names the client; may be given more than once [default: nobody's].
    ///
    /// Balancers send it, in version 1 or 2. From these addresses a connection without one is refused, within
    /// `--handshake-timeout`; from others none is looked for, as anybody could send it. Access log, limits on clients,
    /// forwarding fields and `--trust-forwarded` know the client that was named.
    #[arg(long, value_name = "CIDR", value_parser = network::parse)]
    pub(crate) proxy_protocol_from: Vec<IpNet>,

    /// How many worker threads share the connections [default: one for each core].
    #[arg(long, value_name = "N", value_parser = limit::parse_count)]
    pub(crate) workers: Option<u64>,
}

impl Listening {
    /// Where clients are served when nothing is inherited.
    pub(crate) fn addresses(&self) -> Vec<ListenAddress> {
        if self.from.is_empty() { vec![ListenAddress::loopback(DEFAULT_PORT)] } else { self.from.clone() }
    }
}
