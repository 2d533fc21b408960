//! What was said of sockets, as the kernel's options.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use sheave_net::tcp_listen::ListenOptions;
use sheave_net::tcp_options::{KeepAlive, TcpOptions};

use crate::args::{ClientSockets, OriginSockets, Switch};
use crate::duration::{self, OrOff};
use crate::exit::Failure;
use crate::limit::Limit;

/// The longest time of TCP's keep-alive that can be said; the kernel's own bound is 32,767 s.
pub(crate) const KEEP_ALIVE_MAX: Duration = Duration::from_hours(9);

/// Probes without an answer, a quarter of the time apart, until a peer is given up: as long again as the time itself.
const PROBES: u32 = 4;

/// Where the kernel gives a peer up that acknowledges nothing, unless somebody says otherwise.
const USER_TIMEOUT: Duration = Duration::from_mins(2);

/// The kernel's own options, before anything is said.
struct Said {
    nodelay: Switch,
    keep_alive: OrOff,
    user_timeout: Option<OrOff>,
    recv_buffer: Limit,
    send_buffer: Limit,
    notsent_lowat: Limit,
}

/// How client connections are listened for.
///
/// # Errors
///
/// Times contradict each other; the line says which.
pub(crate) fn listen(sockets: &ClientSockets, write_timeout: Duration) -> Result<ListenOptions, Failure> {
    let said = Said {
        nodelay: sockets.tcp_nodelay,
        keep_alive: sockets.tcp_keep_alive,
        user_timeout: sockets.tcp_user_timeout,
        recv_buffer: sockets.recv_buffer,
        send_buffer: sockets.send_buffer,
        notsent_lowat: sockets.notsent_lowat,
    };
    let tcp = options(&said, write_timeout, "--tcp-user-timeout")?;
    Ok(ListenOptions { tcp, backlog: sockets.backlog, ..ListenOptions::default() })
}

/// How origins are connected to.
///
/// # Errors
///
/// As for [`listen`].
pub(crate) fn connect(sockets: &OriginSockets, write_timeout: Duration) -> Result<TcpOptions, Failure> {
    let said = Said {
        nodelay: sockets.upstream_tcp_nodelay,
        keep_alive: sockets.upstream_tcp_keep_alive,
        user_timeout: sockets.upstream_tcp_user_timeout,
        recv_buffer: sockets.upstream_recv_buffer,
        send_buffer: sockets.upstream_send_buffer,
        notsent_lowat: sockets.upstream_notsent_lowat,
    };
    options(&said, write_timeout, "--upstream-tcp-user-timeout")
}

/// Makes a socket listen as was said, for the connections that come from now on. The backlog of one that is not ours is its
/// owner's to choose.
///
/// # Errors
///
/// As the kernel says it.
pub(crate) fn apply(options: &ListenOptions, socket: &TcpListener, is_ours: bool) -> io::Result<()> {
    options.tcp.apply(socket).map_err(|fault| io::Error::from_raw_os_error(fault.errno.0))?;
    if is_ours {
        // A socket that listens already only gets another backlog by it.
        rustix::net::listen(socket, options.backlog.into())?;
    }
    Ok(())
}

fn options(said: &Said, write_timeout: Duration, flag: &str) -> Result<TcpOptions, Failure> {
    let user_timeout = match said.user_timeout {
        None => Some(USER_TIMEOUT.max(write_timeout.saturating_mul(2))),
        Some(OrOff::Off) => None,
        Some(OrOff::After(time)) if time < write_timeout => {
            return Err(Failure::usage(format!(
                "{flag} {}: --write-timeout {} could never act, as the kernel would be quicker",
                duration::display(time),
                duration::display(write_timeout),
            )));
        }
        Some(OrOff::After(time)) => Some(time),
    };
    Ok(TcpOptions {
        nodelay: said.nodelay == Switch::On,
        keep_alive: said.keep_alive.duration().map(keep_alive),
        user_timeout,
        recv_buffer_bytes: said.recv_buffer.max().map(to_len),
        send_buffer_bytes: said.send_buffer.max().map(to_len),
        notsent_lowat_bytes: said.notsent_lowat.max().map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
    })
}

fn keep_alive(idle: Duration) -> KeepAlive {
    KeepAlive { idle, interval: whole_seconds(idle / PROBES).max(Duration::from_secs(1)), probes: PROBES }
}

/// The time without the part of it that is less than a second.
pub(crate) const fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

fn to_len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command, ProxyArguments};

    fn arguments(flags: &str) -> ProxyArguments {
        let words = ["sheave", "proxy"].into_iter().chain(flags.split_whitespace());
        match Arguments::try_parse_from(words).expect("is right").command {
            Command::Proxy(proxy) => *proxy,
            other => panic!("{other:?}"),
        }
    }

    fn both(flags: &str) -> Result<(ListenOptions, TcpOptions), String> {
        let said = arguments(flags);
        let write_timeout = said.client_timeouts.write_timeout;
        let listen = listen(&said.client_sockets, write_timeout).map_err(|failure| failure.to_string())?;
        let connect = connect(&said.origin_sockets, write_timeout).map_err(|failure| failure.to_string())?;
        Ok((listen, connect))
    }

    #[test]
    fn without_flags_the_libraries_defaults_are_in_force_and_a_user_timeout() {
        let (listen, connect) = both("").expect("fits");
        let tcp = TcpOptions { user_timeout: Some(Duration::from_mins(2)), ..TcpOptions::default() };
        assert_eq!((listen.tcp, connect, listen.backlog), (tcp, tcp, 4096));
        let patient = both("--write-timeout 5m").expect("fits");
        assert_eq!(patient.0.tcp.user_timeout, Some(Duration::from_mins(10)), "so that ours acts first");
    }

    #[test]
    fn every_flag_arrives() {
        let seconds = Duration::from_secs;
        let (listen, connect) = both(
            "--backlog 7 --tcp-nodelay off --tcp-keep-alive 20s --tcp-user-timeout 31s --recv-buffer 8k --send-buffer 9k \
             --notsent-lowat 10k --upstream-tcp-nodelay off --upstream-tcp-keep-alive 3s --upstream-tcp-user-timeout off \
             --upstream-recv-buffer 11k --upstream-send-buffer 12k --upstream-notsent-lowat 13k",
        )
        .expect("fits");
        let client = TcpOptions {
            nodelay: false,
            keep_alive: Some(KeepAlive { idle: seconds(20), interval: seconds(5), probes: 4 }),
            user_timeout: Some(seconds(31)),
            recv_buffer_bytes: Some(8 << 10),
            send_buffer_bytes: Some(9 << 10),
            notsent_lowat_bytes: Some(10 << 10),
        };
        let origin = TcpOptions {
            nodelay: false,
            keep_alive: Some(KeepAlive { idle: seconds(3), interval: seconds(1), probes: 4 }),
            user_timeout: None,
            recv_buffer_bytes: Some(11 << 10),
            send_buffer_bytes: Some(12 << 10),
            notsent_lowat_bytes: Some(13 << 10),
        };
        assert_eq!((listen.tcp, connect, listen.backlog), (client, origin, 7));
        assert_eq!(both("--tcp-keep-alive off").expect("fits").0.tcp.keep_alive, None);
    }

    #[test]
    fn a_timeout_of_ours_that_could_never_act_is_refused() {
        for flag in ["--tcp-user-timeout", "--upstream-tcp-user-timeout"] {
            let error = both(&format!("{flag} 10s")).expect_err("is shorter");
            assert!(error.contains(flag) && error.contains("--write-timeout 30s"), "{error}");
        }
        assert!(both("--tcp-user-timeout 10s --write-timeout 5s --upstream-tcp-user-timeout 5s").is_ok());
    }

    #[test]
    fn a_listening_socket_passes_on_what_was_said() {
        use std::net::TcpStream;

        let (listen, _) = both("--tcp-nodelay off --tcp-user-timeout 31s --notsent-lowat 10k").expect("fits");
        for is_ours in [true, false] {
            let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
            apply(&listen, &socket, is_ours).expect("the kernel takes it");
            let _client = TcpStream::connect(socket.local_addr().expect("an address")).expect("connects");
            let (accepted, _) = socket.accept().expect("accepts");
            assert!(!accepted.nodelay().expect("says"));
            let timeout = rustix::net::sockopt::tcp_user_timeout(&accepted).expect("says");
            assert_eq!(timeout, 31_000, "in milliseconds");
        }
    }
}
