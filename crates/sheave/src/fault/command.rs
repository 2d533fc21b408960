//! `sheave origin --fault …`: from its arguments to its exit code.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sheave_lifecycle::observe::Silent;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::limits::raise_file_limit;
use sheave_net::tcp_listen::TcpAcceptor;
use sheave_net::tcp_options::TcpOptions;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use tokio::net::{TcpListener, TcpSocket};

use super::origin::FaultyOrigin;
use super::pages::Pages;
use super::plan::Faults;
use super::spec::{Fault, HELP, Spec};
use crate::address::Scheme;
use crate::args::Listening;
use crate::bind::bind;
use crate::exit::{Exit, Failure};
use crate::say;
use crate::signal::{Signals, Told};

/// Runs an origin with faults until a signal ends it; then prints what it has seen.
///
/// # Errors
///
/// A line that says why it could not start.
pub(crate) async fn run(specs: &[Spec], listening: &Listening, is_quiet: bool) -> Result<Exit, Failure> {
    if specs.contains(&Spec::Help) {
        say::output(HELP);
        return Ok(Exit::Drained);
    }
    let list: Vec<Fault> = specs.iter().filter_map(Spec::fault).collect();
    let faults = Faults::new(&list).map_err(|error| Failure::usage(format!("--fault: {error}")))?;
    let mut signals = Signals::listen().map_err(|error| cannot_start(&error))?;
    raise_file_limit();
    let is_refusing = faults.is_refusing;
    let origin = FaultyOrigin::new(faults);
    let mut sockets = Vec::new();
    for address in listening.addresses() {
        if address.scheme.is_some_and(Scheme::is_secured) {
            return Err(Failure::usage(format!(
                "--from {address}: an origin with --fault speaks no TLS; write http://"
            )));
        }
        sockets.extend(bind(&address, "--from")?);
    }
    let mut lines = Vec::new();
    let mut held = Vec::new();
    for socket in sockets {
        let address = socket.local_addr().map_err(|error| cannot_start(&error))?;
        if is_refusing {
            drop(socket);
            held.push(hold(address).map_err(|error| cannot_start(&error))?);
            lines.push(format!("refusing connections on {address}"));
        } else {
            let origin = origin.clone();
            let listener = TcpListener::from_std(socket).map_err(|error| cannot_start(&error))?;
            tokio::spawn(async move { origin.accept(listener).await });
            lines.push(format!("listening on http://{address}"));
        }
    }
    if let Some(address) = &listening.admin {
        for socket in bind(address, "--admin")? {
            let address = socket.local_addr().map_err(|error| cannot_start(&error))?;
            let acceptor = TcpAcceptor::from_std(socket, &TcpOptions::default())
                .map_err(|fault| cannot_start(&io::Error::from_raw_os_error(fault.errno.0)))?;
            let pages = Pages(origin.clone());
            let server =
                Server::new(pages, ServerConfig::default(), Clock::start(), Arc::new(Silent), Drain::default());
            tokio::spawn(async move { server.serve(acceptor).await });
            lines.push(format!("admin on http://{address}"));
        }
    }
    if !is_quiet {
        let names: Vec<&str> = list.iter().map(Fault::name).collect();
        say::error(format_args!(
            "sheave {}, an origin that misbehaves: {}\n{}\nstop: ctrl-c prints what it has seen, and so does HUP",
            env!("CARGO_PKG_VERSION"),
            names.join(", "),
            lines.join("\n")
        ));
    }
    while !matches!(signals.next().await, Told::Drain(_)) {
        say::output(origin.tally().counts());
    }
    say::output(origin.tally().counts());
    Ok(Exit::Drained)
}

/// Takes the port, and does not listen: whoever connects is refused, and nobody else can have it.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::start(format!("cannot start the origin: {error}; raise the descriptor limit (ulimit -n)"))
}
