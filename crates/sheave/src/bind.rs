//! From where to listen, as it was said, to sockets that listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use sheave_net::bind_error::{BindError, BindErrorKind};
use sheave_net::tcp_listen::{ListenOptions, bind_tcp};

use crate::address::{Host, ListenAddress};
use crate::exit::Failure;

/// Listens to all that an address means: one socket for an IP address; one for all addresses of the machine, of both
/// versions of IP where it speaks both; one for each address of a name.
///
/// `flag` is the argument that can be changed, for the message.
///
/// # Errors
///
/// A line that says what is in the way, where, and what to do.
pub(crate) fn bind(address: &ListenAddress, flag: &str) -> Result<Vec<TcpListener>, Failure> {
    let candidates = match &address.host {
        Some(Host::Ip(ip)) => vec![SocketAddr::new(*ip, address.port)],
        None => return bind_all(address.port).map(|socket| vec![socket]).map_err(|error| failure(&error, flag)),
        Some(Host::Name(name)) => resolve(name, address.port, flag)?,
    };
    let mut sockets: Vec<TcpListener> = Vec::new();
    let mut passed_over = None;
    for mut candidate in candidates {
        if candidate.port() == 0
            && let Some(first) = sockets.first().and_then(|socket| socket.local_addr().ok())
        {
            // All addresses of a name get the port that the kernel chose for the first.
            candidate.set_port(first.port());
        }
        match bind_tcp(candidate, &options(candidate.ip())) {
            Ok(socket) => sockets.push(socket),
            // `localhost` often names ::1 on machines that have no such address.
            Err(error) if is_absent(error.kind) => passed_over = Some(error),
            Err(error) => return Err(failure(&error, flag)),
        }
    }
    match passed_over {
        Some(error) if sockets.is_empty() => Err(failure(&error, flag)),
        _ => Ok(sockets),
    }
}

/// All that an address may mean, whether or not this machine has it.
///
/// # Errors
///
/// A line that says that its name means nothing, and what to do.
pub(crate) fn candidates(address: &ListenAddress, flag: &str) -> Result<Vec<SocketAddr>, Failure> {
    match &address.host {
        Some(Host::Ip(ip)) => Ok(vec![SocketAddr::new(*ip, address.port)]),
        None => {
            let all = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
            Ok(all.map(|ip| SocketAddr::new(ip, address.port)).to_vec())
        }
        Some(Host::Name(name)) => resolve(name, address.port, flag),
    }
}

/// All addresses of the machine.
fn bind_all(port: u16) -> Result<TcpListener, BindError> {
    let [v6, v4] = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
    match bind_tcp(SocketAddr::new(v6, port), &options(v6)) {
        Err(error) if is_absent(error.kind) => bind_tcp(SocketAddr::new(v4, port), &options(v4)),
        bound => bound,
    }
}

fn resolve(name: &str, port: u16, flag: &str) -> Result<Vec<SocketAddr>, Failure> {
    let found = (name, port).to_socket_addrs().map(|found| {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        found.for_each(|address| {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        });
        addresses
    });
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(Failure::start(format!(
            "cannot listen on {name}:{port}: the name has no address; write an address instead ({flag})"
        ))),
        Err(error) => Err(Failure::start(format!(
            "cannot listen on {name}:{port}: the name cannot be resolved ({error}); check its spelling, or write an \
             address instead ({flag})"
        ))),
    }
}

fn options(ip: IpAddr) -> ListenOptions {
    // The backlog is what bursts of new connections wait in while workers are busy; the kernel caps it.
    ListenOptions { backlog: 4096, v6_only: ip.is_ipv6() && !ip.is_unspecified(), ..ListenOptions::default() }
}

const fn is_absent(kind: BindErrorKind) -> bool {
    matches!(kind, BindErrorKind::NotLocal | BindErrorKind::NoFamily)
}

fn failure(error: &BindError, flag: &str) -> Failure {
    Failure::start(format!("{error} ({flag})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<Vec<SocketAddr>, String> {
        let address = text.parse::<ListenAddress>().expect(text);
        match bind(&address, "--from") {
            Ok(sockets) => Ok(sockets.iter().map(|socket| socket.local_addr().expect("an address")).collect()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn binds_what_was_said() {
        let one = listen("127.0.0.1:0").expect("binds");
        assert!(one.len() == 1 && one[0].ip().is_loopback() && one[0].port() != 0, "{one:?}");
        let all = listen(":0").expect("binds");
        assert!(all.len() == 1 && all[0].ip().is_unspecified(), "{all:?}");
        let name = listen("localhost:0").expect("binds");
        assert!(name.iter().all(|address| address.ip().is_loopback() && address.port() == name[0].port()), "{name:?}");
    }

    #[test]
    fn says_what_is_in_the_way() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = taken.local_addr().expect("an address").port();
        let error = listen(&format!("127.0.0.1:{port}")).expect_err("is taken");
        assert!(error.starts_with(&format!("cannot listen on 127.0.0.1:{port}: the address is in use")), "{error}");
        assert!(error.contains("choose another port (--from)") && !error.contains('\n'), "{error}");
        let error = listen("name.invalid:0").expect_err("RFC 6761 §6.4: never resolves");
        assert!(error.contains("cannot be resolved") && error.contains("--from"), "{error}");
        let error = listen("192.0.2.1:0").expect_err("RFC 5737: nobody's");
        assert!(error.contains("no such address"), "{error}");
    }
}
