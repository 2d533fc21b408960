//! Listening sockets that were open when this process began: of socket activation, or a predecessor's.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;

use super::names::{Name, Purpose};
use super::predecessor::Predecessor;
use crate::address::Scheme;
use crate::exit::Failure;

/// More than this is no number of sockets that anybody meant.
const MAX_INHERITED: usize = 1024;

/// A socket that listens, and whose it is.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    /// The socket.
    pub(crate) socket: TcpListener,
    /// Nobody but this process and its successors listens on it: it was bound by a sheave. If not, it outlives us.
    pub(crate) is_ours: bool,
    /// What is spoken on it, where somebody said so.
    pub(crate) scheme: Option<Scheme>,
}

/// What this process was started with.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<(Purpose, SocketAddr, ListeningSocket)>,
    predecessor: Option<Predecessor>,
}

impl Inherited {
    /// Takes what the environment says is ours (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`; sd_listen_fds(3)).
    ///
    /// To be called before there are threads: it takes the variables out of the environment, so that no child takes
    /// them for its own. A `LISTEN_PID` of another process means that nothing is ours; without one, all is: a
    /// predecessor cannot know its successor's number before it runs.
    ///
    /// # Errors
    ///
    /// A line that says which descriptor is no listening TCP socket.
    pub(crate) fn take() -> Result<Self, Failure> {
        let announced = env::var("LISTEN_FDS").ok();
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        if let Some(count) = announced
            && !count.parse::<usize>().is_ok_and(|count| count <= MAX_INHERITED)
        {
            return Err(Failure::start(format!(
                "cannot take the inherited sockets: LISTEN_FDS is {count:?}, which is no number up to {MAX_INHERITED}; \
                 correct or unset it"
            )));
        }
        let mut found = ListenFd::from_env();
        let mut names = names.split(':');
        let mut inherited = Self::default();
        for index in 0..found.len() {
            let name = names.next().unwrap_or_default();
            let taken = match Name::read(name) {
                Name::Line => inherited.take_line(&mut found, index),
                Name::Listening { purpose, is_ours } => inherited.take_socket(&mut found, index, purpose, is_ours),
            };
            taken.map_err(|error| {
                let number = index + 3;
                Failure::start(format!(
                    "cannot listen on the inherited descriptor {number} ({name:?}): {error}; sheave takes listening TCP \
                     sockets (systemd: ListenStream=HOST:PORT)"
                ))
            })?;
        }
        Ok(inherited)
    }

    fn take_line(&mut self, found: &mut ListenFd, index: usize) -> io::Result<()> {
        // It is a connection and no listener; the type is only a way to the descriptor.
        if let Some(line) = found.take_unix_listener(index)? {
            self.predecessor = Some(Predecessor::new(UnixStream::from(OwnedFd::from(line)))?);
        }
        Ok(())
    }

    fn take_socket(&mut self, found: &mut ListenFd, index: usize, purpose: Purpose, is_ours: bool) -> io::Result<()> {
        let Some(socket) = found.take_tcp_listener(index)? else { return Ok(()) };
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        let address = socket.local_addr()?;
        self.sockets.push((purpose, address, ListeningSocket { socket, is_ours, scheme: None }));
        Ok(())
    }

    /// Whether there are sockets for clients.
    pub(crate) fn has_clients(&self) -> bool {
        self.sockets.iter().any(|(purpose, ..)| *purpose == Purpose::Clients)
    }

    /// Whether one of the sockets for `purpose` serves what would be bound to one of `candidates`.
    pub(crate) fn serves(&self, purpose: Purpose, candidates: &[SocketAddr]) -> bool {
        self.sockets.iter().any(|(its, address, _)| *its == purpose && is_served_by(candidates, *address))
    }

    /// Notes what was said for addresses that sockets for clients serve, each with what it may mean: for one socket each, in
    /// this order, which is the one in which a predecessor bound them.
    pub(crate) fn assign_schemes(&mut self, from: &[(Option<Scheme>, Vec<SocketAddr>)]) {
        let mut left: Vec<_> = from.iter().collect();
        for (purpose, address, socket) in &mut self.sockets {
            if *purpose != Purpose::Clients {
                continue;
            }
            let serves = |said: &&(_, Vec<SocketAddr>)| is_served_by(&said.1, *address);
            socket.scheme = match left.iter().position(serves) {
                Some(index) => left.remove(index).0,
                // A name may have two addresses.
                None => from.iter().find(serves).and_then(|(scheme, _)| *scheme),
            };
        }
    }

    /// Takes what listens at one of `candidates` for the admin pages, where whoever activated us did not name it so.
    pub(crate) fn assign_admin(&mut self, candidates: &[SocketAddr]) {
        for (purpose, address, _) in &mut self.sockets {
            if candidates.contains(address) {
                *purpose = Purpose::Admin;
            }
        }
    }

    /// The sockets for `purpose`; there are none afterwards.
    pub(crate) fn take_sockets(&mut self, purpose: Purpose) -> Vec<ListeningSocket> {
        let (taken, left) = std::mem::take(&mut self.sockets).into_iter().partition(|(its, ..)| *its == purpose);
        self.sockets = left;
        let taken: Vec<_> = taken;
        taken.into_iter().map(|(.., socket)| socket).collect()
    }

    /// The process before this one, if it handed over to us.
    pub(crate) fn take_predecessor(&mut self) -> Option<Predecessor> {
        self.predecessor.take()
    }
}

/// Whether a socket at `inherited` serves what would be bound to one of `candidates`. Port 0 is any port: it is how the
/// predecessor came by its own.
fn is_served_by(candidates: &[SocketAddr], inherited: SocketAddr) -> bool {
    candidates.iter().any(|candidate| {
        let is_all = inherited.ip().is_unspecified() && (inherited.is_ipv6() || candidate.is_ipv4());
        (candidate.port() == 0 || candidate.port() == inherited.port()) && (candidate.ip() == inherited.ip() || is_all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_not_bound() {
        for (candidate, inherited, is_served) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:40001", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("[::1]:80", "[::]:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("[::]:80", "[::1]:80", false),
            ("0.0.0.0:80", "[::]:80", true),
        ] {
            let [candidate, inherited] = [candidate, inherited].map(|text| text.parse().expect(text));
            assert_eq!(is_served_by(&[candidate], inherited), is_served, "{candidate} by {inherited}");
        }
    }
}
