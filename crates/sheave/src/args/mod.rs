//! The command line: what can be said, in which units, with which defaults.

mod command;
mod drain;
mod explain;
mod faults;
mod http2;
mod limits;
mod listening;
mod logging;
mod origins;
mod race;
mod retries;
mod sockets;
mod timeouts;
mod tls;
mod tunnels;

pub(crate) use command::{Arguments, Command, OriginArguments, ProxyArguments};
pub(crate) use drain::DrainArguments;
pub(crate) use explain::ExplainArguments;
pub(crate) use http2::ClientHttp2;
pub(crate) use limits::{ClientLimits, OriginLimits, Over};
pub(crate) use listening::Listening;
pub(crate) use logging::Logging;
pub(crate) use origins::{Balance, HostHeader, Origins, ToProxyProtocol, UpstreamHttp2};
pub(crate) use race::{Demonstration, RaceArguments};
pub(crate) use retries::{CarefulReuse, Retries};
pub(crate) use sockets::{ClientSockets, OriginSockets, Switch};
pub(crate) use timeouts::{ClientTimeouts, OriginTimeouts};
pub(crate) use tls::{ClientTlsArguments, OriginTlsArguments};
pub(crate) use tunnels::{OFF, TunnelArguments};
