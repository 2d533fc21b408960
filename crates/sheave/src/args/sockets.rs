//! What is asked of TCP, towards clients and towards origins. The defaults are for all but special networks.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::duration::{OrOff, parse_timeout, parse_timeout_or_off};
use crate::limit::{Limit, parse_backlog, parse_buffer_or_auto, parse_size_or_off};
use crate::sockets::{KEEP_ALIVE_MAX, whole_seconds};

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Switch {
    /// In force.
    On,
    /// Not in force.
    Off,
}

/// What is asked of TCP towards clients.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sockets towards clients")]
pub(crate) struct ClientSockets {
    /// Connections that the kernel holds until they are accepted; beyond them clients are ignored and try again after a
    /// second.
    ///
    /// Bursts wait here while workers are busy or a limit is reached. The kernel caps it at net.core.somaxconn.
    #[arg(long, value_name = "N", value_parser = parse_backlog, default_value = "4096")]
    pub(crate) backlog: u16,

    /// Whether small writes leave at once (TCP_NODELAY).
    ///
    /// What is to leave together is written together here, so that to wait for more would only delay.
    #[arg(long, value_name = "SWITCH", value_enum, default_value_t = Switch::On)]
    pub(crate) tcp_nodelay: Switch,

    /// How long a client may be silent before the kernel asks whether it is there, or `off`; one that does not answer is
    /// given up after as long again. In whole seconds.
    ///
    /// Finds clients that vanished without a word, while it is they who are waited for. HTTP's keep-alive is another
    /// matter: --idle-timeout.
    #[arg(long, value_name = "TIME", value_parser = parse_keep_alive, default_value = "60s")]
    pub(crate) tcp_keep_alive: OrOff,

    /// How long sent bytes may stay unacknowledged, or not be taken, before the kernel gives the connection up
    /// (TCP_USER_TIMEOUT), or `off` [default: 2m, or twice --write-timeout if that is longer].
    ///
    /// It also ends what is left in the kernel of connections that are closed here, of which no timeout of ours knows any
    /// more. So that --write-timeout means something, it cannot be shorter than that.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout_or_off)]
    pub(crate) tcp_user_timeout: Option<OrOff>,

    /// The kernel's receive buffer of a connection (SO_RCVBUF), or `auto`, tuned by the kernel.
    #[arg(long, value_name = "SIZE", value_parser = parse_buffer_or_auto, default_value = "auto")]
    pub(crate) recv_buffer: Limit,

    /// The kernel's send buffer of a connection (SO_SNDBUF), or `auto`, tuned by the kernel.
    #[arg(long, value_name = "SIZE", value_parser = parse_buffer_or_auto, default_value = "auto")]
    pub(crate) send_buffer: Limit,

    /// Bytes that the kernel holds of a connection without having sent them, before it takes more (TCP_NOTSENT_LOWAT), or
    /// `off`, which leaves it to the send buffer.
    ///
    /// 128k or so saves the kernel's memory with many slow clients, and --write-timeout sees sooner that one stops; large
    /// responses to fast ones cost more wake-ups.
    #[arg(long, value_name = "SIZE", value_parser = parse_size_or_off, default_value = "off")]
    pub(crate) notsent_lowat: Limit,
}

/// What is asked of TCP towards origins.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sockets towards origins")]
pub(crate) struct OriginSockets {
    /// As --tcp-nodelay, towards origins.
    #[arg(long, value_name = "SWITCH", value_enum, default_value_t = Switch::On)]
    pub(crate) upstream_tcp_nodelay: Switch,

    /// As --tcp-keep-alive, towards origins: finds parked connections whose origin, or a firewall on the way, forgot them.
    #[arg(long, value_name = "TIME", value_parser = parse_keep_alive, default_value = "60s")]
    pub(crate) upstream_tcp_keep_alive: OrOff,

    /// As --tcp-user-timeout, towards origins.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout_or_off)]
    pub(crate) upstream_tcp_user_timeout: Option<OrOff>,

    /// As --recv-buffer, towards origins.
    #[arg(long, value_name = "SIZE", value_parser = parse_buffer_or_auto, default_value = "auto")]
    pub(crate) upstream_recv_buffer: Limit,

    /// As --send-buffer, towards origins.
    #[arg(long, value_name = "SIZE", value_parser = parse_buffer_or_auto, default_value = "auto")]
    pub(crate) upstream_send_buffer: Limit,

    /// As --notsent-lowat, towards origins.
    #[arg(long, value_name = "SIZE", value_parser = parse_size_or_off, default_value = "off")]
    pub(crate) upstream_notsent_lowat: Limit,
}

/// Reads a time that TCP's keep-alive can have, or `off`.
fn parse_keep_alive(text: &str) -> Result<OrOff, String> {
    if text == "off" {
        return Ok(OrOff::Off);
    }
    let time: Duration = parse_timeout(text)?;
    if whole_seconds(time) != time || time > KEEP_ALIVE_MAX {
        return Err("write whole seconds, up to 9h, or `off`: the kernel counts no finer".to_owned());
    }
    Ok(OrOff::After(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_time_is_one_that_the_kernel_can_have() {
        let after = |seconds| Ok(OrOff::After(Duration::from_secs(seconds)));
        for (text, read) in [("1s", after(1)), ("1m", after(60)), ("9h", after(32_400)), ("off", Ok(OrOff::Off))] {
            assert_eq!(parse_keep_alive(text), read, "{text}");
        }
        for text in ["0", "500ms", "1s500ms", "10h", "", "on"] {
            assert!(parse_keep_alive(text).is_err(), "{text:?}");
        }
    }
}
