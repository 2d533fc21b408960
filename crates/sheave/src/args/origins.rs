//! Where requests go, and what they say of where they came from.

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use sheave_net::endpoint::ProxyHeader;

use crate::address::OriginAddress;
use crate::network;

/// Where requests go.
#[derive(Args, Debug)]
#[command(next_help_heading = "Origins")]
pub(crate) struct Origins {
    /// Where to pass requests to; may be given more than once [default: a demo origin of our own].
    ///
    /// `HOST:PORT`, or `http://HOST[:PORT][/BASE]`, or the same with `https://` for TLS (RFC 9110 §4.2.2) or `h2c://` for
    /// HTTP/2 without TLS. The base goes before the path of every request. Names are looked up again from time to time; one
    /// that is unknown is a warning, and its requests get 502 until it is known.
    #[arg(long, value_name = "URL")]
    pub(crate) to: Vec<OriginAddress>,

    /// Whether `https://` origins are offered HTTP/2; they choose.
    #[arg(long, value_enum, default_value_t = UpstreamHttp2::On)]
    pub(crate) upstream_http2: UpstreamHttp2,

    /// How a request's origin is chosen among several.
    #[arg(long, value_enum, default_value_t = Balance::RoundRobin)]
    pub(crate) balance: Balance,

    /// What `Host` origins see.
    #[arg(long, value_enum, default_value_t = HostHeader::Keep)]
    pub(crate) host_header: HostHeader,

    /// Begin each connection to an origin with a PROXY header of this version, which names the client.
    ///
    /// The origin must expect it. Such a connection serves that client's connection alone, and closes as usual when idle; so
    /// there are as many as clients, and none can be opened ahead (`--prewarm`).
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) to_proxy_protocol: Option<ToProxyProtocol>,

    /// Whose X-Forwarded-* and Forwarded are believed and passed on; may be given more than once [default: nobody's].
    #[arg(long, value_name = "CIDR", value_parser = network::parse)]
    pub(crate) trust_forwarded: Vec<IpNet>,

    /// Pass on fields whose names hold `_`, also for clients that are not trusted.
    ///
    /// They are dropped by default: origins that turn fields into environment variables take them for those with `-`.
    #[arg(long)]
    pub(crate) keep_underscores: bool,
}

/// Whether HTTP/2 is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum UpstreamHttp2 {
    /// HTTP/2, or else HTTP/1.1.
    On,
    /// HTTP/1.1 alone.
    Off,
}

/// How a request's origin is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastOutstanding,
}

impl Balance {
    /// Its name, as `--balance` has it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastOutstanding => "least-outstanding",
        }
    }
}

/// Which PROXY header origins are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ToProxyProtocol {
    /// A line of text.
    V1,
    /// The binary one.
    V2,
}

impl ToProxyProtocol {
    /// Its name, as `--to-proxy-protocol` has it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// As the libraries have it.
    pub(crate) const fn header(self) -> ProxyHeader {
        match self {
            Self::V1 => ProxyHeader::V1,
            Self::V2 => ProxyHeader::V2,
        }
    }
}

/// What `Host` origins see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum HostHeader {
    /// What the client sent.
    Keep,
    /// The origin's own name and port, as `--to` has it.
    Origin,
}
