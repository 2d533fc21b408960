//! Puts the process together: sockets, logs, workers, the admin address; then waits for its end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;

use sheave_lifecycle::drain::DrainReport;
use sheave_lifecycle::observe::Silent;
use sheave_metrics::metrics::Metrics;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::limits::{FileLimit, raise_file_limit};
use sheave_net::tcp_listen::TcpAcceptor;
use sheave_net::tcp_options::TcpOptions;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::role::{Role, WorkerContext};
use super::worker;
use crate::address::ListenAddress;
use crate::admin::{Admin, Readiness};
use crate::args::{Listening, Logging};
use crate::balance::{self, BalancedListener, Loads, Place};
use crate::banner::{Banner, Passing};
use crate::bind::bind;
use crate::config::InForce;
use crate::exit::{Exit, Failure};
use crate::lifetime::{self, Crew, Event};
use crate::logs::Logs;
use crate::room::{self, Room};
use crate::say;
use crate::signal::Signals;

/// Admin connections at a time: enough for a few scrapers and people.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// What a process is to be.
pub(crate) struct Setup<'a> {
    /// Where to listen, and how many workers.
    pub(crate) listening: &'a Listening,
    /// Where the admin pages are, if nobody says otherwise.
    pub(crate) default_admin: Option<ListenAddress>,
    /// What clients are held to.
    pub(crate) server: ServerConfig,
    /// How many client connections there may be, if somebody says so.
    pub(crate) max_connections: Option<u64>,
    /// How many descriptors each needs.
    pub(crate) descriptors_each: u64,
    /// What is logged where.
    pub(crate) logging: &'a Logging,
}

/// A process that listens and does not accept yet.
pub(crate) struct Process {
    listening: Vec<TcpListener>,
    admin: Vec<TcpListener>,
    workers: usize,
    server: ServerConfig,
    files: FileLimit,
    room: Room,
    logs: Logs,
    is_quiet: bool,
    clock: Clock,
    signals: Signals,
}

impl Process {
    /// Takes hold of all that can be refused: descriptors, sockets, log files, signals. Within a runtime.
    ///
    /// # Errors
    ///
    /// A line that says what, where, and what to do.
    pub(crate) fn prepare(setup: Setup<'_>) -> Result<Self, Failure> {
        // First of all: whoever can connect to us can also be about to end us, and a drain it shall be.
        let signals = Signals::listen().map_err(|error| {
            Failure::start(format!("cannot listen to signals: {error}; raise the descriptor limit (ulimit -n)"))
        })?;
        let files = raise_file_limit();
        let workers = match setup.listening.workers {
            Some(workers) => usize::try_from(workers).unwrap_or(usize::MAX).min(MAX_WORKERS),
            None => std::thread::available_parallelism().map_or(1, NonZero::get),
        };
        let mut listening = Vec::new();
        for address in &setup.listening.from {
            listening.extend(bind(address, "--from")?);
        }
        let admin = match setup.listening.admin.as_ref().or(setup.default_admin.as_ref()) {
            Some(address) => bind(address, "--admin")?,
            None => Vec::new(),
        };
        let logs = Logs::open(setup.logging, workers)?;
        let room = Room::new(setup.max_connections, files, workers as u64, setup.descriptors_each);
        let server =
            ServerConfig { max_connections: room::share(room.max_connections, workers as u64), ..setup.server };
        let is_quiet = setup.logging.quiet;
        Ok(Self { listening, admin, workers, server, files, room, logs, is_quiet, clock: Clock::start(), signals })
    }

    /// How many workers there will be.
    pub(crate) const fn workers(&self) -> usize {
        self.workers
    }

    /// Starts the workers and the admin pages, says so, and serves until the process is drained.
    ///
    /// # Errors
    ///
    /// A line that says why it could not start.
    pub(crate) async fn run(
        self,
        role: impl Role,
        passing: Option<Passing>,
        in_force: Vec<InForce>,
    ) -> Result<Exit, Failure> {
        let metrics = Arc::new(Metrics::new(self.workers));
        let readiness = Readiness::default();
        let (events, mut happened) = unbounded_channel();
        let mut banner = Banner {
            listening: addresses(&self.listening),
            origins: passing,
            admin: addresses(&self.admin),
            workers: self.workers,
            descriptors: self.files.to_string(),
            max_connections: self.room.max_connections,
            in_force,
            access_log: self.logs.access_log().map(str::to_owned),
        };
        banner.listening.dedup();
        if let Some(warning) = self.room.warning(self.files) {
            tracing::warn!("{warning}");
        }
        let admin = Admin::new(Arc::clone(&metrics), readiness.clone(), self.logs.access_counter());
        serve_admin(admin, self.admin, self.clock).map_err(|error| cannot_start(&error))?;

        let loads = Loads::new(self.workers);
        let mut places: Vec<Vec<Place>> = (0..self.workers).map(|_| Vec::new()).collect();
        for socket in self.listening {
            let shares = balance::share(socket, &loads).map_err(|error| cannot_start(&error))?;
            places.iter_mut().zip(shares).for_each(|(worker, share)| worker.push(share));
        }
        let mut crew = Crew { drains: Vec::new(), plan: self.server.drain, clock: self.clock };
        for (number, places) in places.into_iter().enumerate() {
            let drain = Drain::default();
            crew.drains.push(drain.clone());
            let observer = self.logs.observer(number, metrics.shard(number));
            let context = WorkerContext { clock: self.clock, observer };
            let (role, config) = (role.clone(), self.server);
            let begin = move || begin(&role, context, &config, drain, places);
            let told = events.clone();
            let ended = Box::new(move |report| {
                // Nobody listens any more only when the process is ending anyway.
                let _ = told.send(Event::Ended(report));
            });
            worker::start(format!("worker-{number}"), begin, ended).map_err(|error| cannot_start(&error))?;
        }
        tokio::spawn(listen_to_signals(self.signals, events));
        if !self.is_quiet {
            say::error(&banner);
        }
        let end = lifetime::until_drained(&mut happened, &crew, &readiness, || self.logs.reopen()).await;
        end.log();
        self.logs.close();
        Ok(end.exit())
    }
}

/// More threads than this are a slip of the pen.
const MAX_WORKERS: usize = 1024;

/// Within a worker's runtime: its handler and its listeners, and what it does with them until its end.
fn begin<R: Role>(
    role: &R,
    context: WorkerContext,
    config: &ServerConfig,
    drain: Drain,
    places: Vec<Place>,
) -> io::Result<impl Future<Output = DrainReport> + use<R>> {
    let handler = role.handler(context.clone())?;
    let listeners = places.into_iter().map(Place::listen).collect::<io::Result<Vec<_>>>()?;
    let server = Server::new(handler, *config, context.clock, context.observer, drain);
    Ok(async move {
        let report = serve_all(&server, listeners).await;
        R::ended(server.handler());
        report
    })
}

/// Serves what all listeners accept, until a drain has ended every connection.
async fn serve_all<H>(server: &Server<H>, listeners: Vec<BalancedListener>) -> DrainReport
where
    H: sheave_server::handler::Handler<balance::CountedSocket>,
{
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let server = server.clone();
            tokio::spawn(async move { server.serve(listener).await })
        })
        .collect();
    let mut whole = DrainReport::default();
    for task in tasks {
        match task.await {
            // Each has the report of all; the one that was made last is the whole one.
            Ok(report) if report.told >= whole.told => whole = report,
            Ok(_) => {}
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    whole
}

/// Serves the admin pages from the main thread, whose runtime has nothing else to do: they answer while workers are busy.
fn serve_admin(admin: Admin, sockets: Vec<TcpListener>, clock: Clock) -> io::Result<()> {
    let config = ServerConfig { max_connections: MAX_ADMIN_CONNECTIONS, ..ServerConfig::default() };
    let server = Server::new(admin, config, clock, Arc::new(Silent), Drain::default());
    for socket in sockets {
        let acceptor = TcpAcceptor::from_std(socket, &TcpOptions::default())
            .map_err(|fault| io::Error::from_raw_os_error(fault.errno.0))?;
        let server = server.clone();
        tokio::spawn(async move { server.serve(acceptor).await });
    }
    Ok(())
}

async fn listen_to_signals(mut signals: Signals, events: UnboundedSender<Event>) {
    while events.send(Event::Told(signals.next().await)).is_ok() {}
}

fn addresses(sockets: &[TcpListener]) -> Vec<SocketAddr> {
    sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::start(format!(
        "cannot start a worker: {error}; raise the limits on descriptors and processes (ulimit -n, ulimit -u), or lower \
         --workers"
    ))
}
