//! What may stop being HTTP, and how long it may go on.

use std::time::Duration;

use clap::Args;
use sheave_proxy::connect_rule::ConnectRule;
use sheave_proxy::upgrade::is_protocol;

use crate::duration::{OrOff, parse, parse_timeout, parse_timeout_or_off};

/// What may stop being HTTP, and how long it may go on.
#[derive(Args, Debug)]
#[command(next_help_heading = "Tunnels")]
pub(crate) struct TunnelArguments {
    /// A protocol that clients may switch to through us, as `Upgrade` names it: NAME or NAME/VERSION, or `off` for none;
    /// may be given more than once.
    ///
    /// What else clients offer is not passed on, and HTTP's own (h2c) never is.
    #[arg(long, value_name = "PROTOCOL", value_parser = parse_upgrade, default_value = "websocket")]
    pub(crate) upgrade: Vec<String>,

    /// Where CONNECT may lead: HOST:PORT; may be given more than once [default: nowhere, CONNECT gets 501].
    ///
    /// HOST is a name, `*.NAME`, `*`, an address or a network in CIDR notation (IPv6 in brackets); PORT is a number, a
    /// range, or `*`. A name leads to its public addresses only, unless a network names others: who controls a name must not
    /// reach machines behind the proxy by it.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) connect_allow: Vec<ConnectRule>,

    /// Without a byte either way; then both connections are reset.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "1h")]
    pub(crate) tunnel_idle_timeout: Duration,

    /// How old a tunnel may become, or `off`; then both connections are reset.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout_or_off, default_value = "off")]
    pub(crate) tunnel_max_age: OrOff,

    /// How long a drain lets tunnels go on before they are reset; more or less than --drain-grace [default: as long].
    #[arg(long, value_name = "TIME", value_parser = parse)]
    pub(crate) tunnel_grace: Option<Duration>,
}

/// The word that stands for no protocol.
pub(crate) const OFF: &str = "off";

fn parse_upgrade(text: &str) -> Result<String, String> {
    if text == OFF || is_protocol(text) {
        return Ok(text.to_owned());
    }
    Err("write a protocol's name, such as websocket, or a name and a version, such as irc/6.9; HTTP itself is none"
        .to_owned())
}
