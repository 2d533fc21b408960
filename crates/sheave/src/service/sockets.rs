//! The process's listening sockets: those that it inherits, and those that it binds beside them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::address::{ListenAddress, Scheme};
use crate::args::Listening;
use crate::bind::{bind, candidates};
use crate::exit::Failure;
use crate::handover::{Inherited, ListeningSocket, Purpose};

/// The process's listening sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// For clients.
    pub(crate) clients: Vec<ListeningSocket>,
    /// For the admin pages.
    pub(crate) admin: Vec<ListeningSocket>,
}

impl Sockets {
    /// All that is inherited, and what else is asked for. An address that an inherited socket serves is not bound.
    ///
    /// # Errors
    ///
    /// A line that says what is in the way, where, and what to do.
    pub(crate) fn open(
        inherited: &mut Inherited,
        listening: &Listening,
        default_admin: Option<&ListenAddress>,
    ) -> Result<Self, Failure> {
        let admin = listening.admin.as_ref().or(default_admin);
        if let Some(address) = admin {
            inherited.assign_admin(&candidates(address, "--admin")?);
        }
        let from = if inherited.has_clients() { listening.from.clone() } else { listening.addresses() };
        let said = from.iter().map(|address| Ok((address.scheme, candidates(address, "--from")?)));
        inherited.assign_schemes(&said.collect::<Result<Vec<_>, Failure>>()?);
        let mut clients = Vec::new();
        for address in &from {
            clients.extend(bind_unless_served(inherited, Purpose::Clients, address, "--from")?);
        }
        let mut admins = Vec::new();
        if let Some(address) = admin {
            admins.extend(bind_unless_served(inherited, Purpose::Admin, address, "--admin")?);
        }
        let mut beside = |bound: Vec<_>, purpose| inherited.take_sockets(purpose).into_iter().chain(bound).collect();
        Ok(Self { clients: beside(clients, Purpose::Clients), admin: beside(admins, Purpose::Admin) })
    }

    /// Clones of all, for a successor.
    ///
    /// # Errors
    ///
    /// As the kernel says it: one more descriptor is one too many.
    pub(crate) fn for_successor(&self) -> io::Result<Vec<Kept>> {
        let all = self.clients.iter().map(|socket| (Purpose::Clients, socket));
        let all = all.chain(self.admin.iter().map(|socket| (Purpose::Admin, socket)));
        all.map(|(purpose, its)| Ok(Kept { purpose, is_ours: its.is_ours, socket: its.socket.try_clone()? })).collect()
    }
}

/// A listening socket that is kept for a successor.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What for.
    pub(crate) purpose: Purpose,
    /// Nobody but us and our successors listens on it.
    pub(crate) is_ours: bool,
    /// The socket.
    pub(crate) socket: TcpListener,
}

fn bind_unless_served(
    inherited: &Inherited,
    purpose: Purpose,
    address: &ListenAddress,
    flag: &str,
) -> Result<Vec<ListeningSocket>, Failure> {
    if inherited.serves(purpose, &candidates(address, flag)?) {
        return Ok(Vec::new());
    }
    let bound = |socket| ListeningSocket { socket, is_ours: true, scheme: address.scheme };
    Ok(bind(address, flag)?.into_iter().map(bound).collect())
}

/// Where they listen.
pub(crate) fn addresses(sockets: &[ListeningSocket]) -> Vec<SocketAddr> {
    sockets.iter().filter_map(|its| its.socket.local_addr().ok()).collect()
}

/// Whether TLS is spoken on each: as was said, or else where there is a certificate.
///
/// # Errors
///
/// A line that says what contradicts what.
pub(crate) fn schemes(sockets: &[ListeningSocket], has_certificate: bool) -> Result<Vec<Scheme>, Failure> {
    let unsaid = if has_certificate { Scheme::Https } else { Scheme::Http };
    let schemes: Vec<_> = sockets.iter().map(|its| its.scheme.unwrap_or(unsaid)).collect();
    let is_any_secured = schemes.iter().any(|scheme| scheme.is_secured());
    if is_any_secured && !has_certificate {
        return Err(Failure::usage(
            "--from https://…: TLS needs a certificate (--tls-cert and --tls-key, or --tls-self-signed for a first try)"
                .to_owned(),
        ));
    }
    if has_certificate && !is_any_secured {
        return Err(Failure::usage(
            "there is a certificate (--tls-cert, --tls-self-signed), and TLS is spoken nowhere: every --from begins with \
             http://"
                .to_owned(),
        ));
    }
    Ok(schemes)
}
