//! Puts the process together: sockets, logs, workers, the admin address; then waits for its end.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::drain::DrainReport;
use sheave_lifecycle::handover::Stage;
use sheave_metrics::metrics::Metrics;
use sheave_net::balance::{self, BalancedListener, Loads, Place};
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::limits::{FileLimit, raise_file_limit};
use sheave_net::proxy_protocol::listen::{AnnouncedListener, Announcers};
use sheave_net::secured::Alpn;
use sheave_net::tcp_listen::ListenOptions;
use sheave_net::tls::listener::TlsListener;
use sheave_net::tls::server::ServerTls;
use sheave_server::admission::Admission;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::role::{ClientSocket, Role, WorkerContext};
use super::sockets::{Kept, Sockets, addresses, schemes};
use super::surroundings::{AdminPages, Around, keep_watched};
use super::worker;
use crate::address::{ListenAddress, Scheme};
use crate::admin::{Admin, DrainView, Readiness};
use crate::args::{ClientTlsArguments, Listening, Logging};
use crate::banner::{Banner, Passing};
use crate::config::InForce;
use crate::exit::{Exit, Failure};
use crate::handover::{Answer, Inherited, Predecessor, Relaunch, Trust};
use crate::lifetime::{self, Crew, Event};
use crate::logs::Logs;
use crate::network;
use crate::pulse::{Pulse, Pulses};
use crate::room::{self, Room};
use crate::say;
use crate::service_manager::{ServiceManager, Tell};
use crate::signal::Signals;
use crate::sockets;
use crate::spare_memory;
use crate::tls::{Certificates, OriginTls, Reload, Reread};

/// One towards the client, one towards the origin.
pub(crate) const DESCRIPTORS_OF_AN_EXCHANGE: u64 = 2;

/// What a process is to be.
pub(crate) struct Setup<'a> {
    /// Where to listen, and how many workers.
    pub(crate) listening: &'a Listening,
    /// Where the admin pages are, if nobody says otherwise.
    pub(crate) default_admin: Option<ListenAddress>,
    /// What clients are held to.
    pub(crate) server: ServerConfig,
    /// How client connections are listened for.
    pub(crate) listen: ListenOptions,
    /// What clients are shown by TLS.
    pub(crate) client_tls: &'a ClientTlsArguments,
    /// What is offered to them there, most wanted first.
    pub(crate) spoken: &'static [Alpn],
    /// How many client connections there may be, if somebody says so.
    pub(crate) max_connections: Option<u64>,
    /// How many descriptors each needs.
    pub(crate) descriptors_each: u64,
    /// What is logged where.
    pub(crate) logging: &'a Logging,
    /// How long a successor may take to say that it serves.
    pub(crate) handover_timeout: Duration,
    /// The sockets that were open when the process began.
    pub(crate) inherited: Inherited,
}

/// A process that listens and does not accept yet.
pub(crate) struct Process {
    sockets: Sockets,
    kept: Vec<Kept>,
    predecessor: Option<Predecessor>,
    handover_timeout: Duration,
    workers: usize,
    server: ServerConfig,
    listen: ListenOptions,
    certificates: Option<Certificates>,
    origin_tls: Option<OriginTls>,
    schemes: Vec<Scheme>,
    announcers: Option<Announcers>,
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
    pub(crate) fn prepare(mut setup: Setup<'_>) -> Result<Self, Failure> {
        // First of all: whoever can connect to us can also be about to end us, and a drain it shall be.
        let signals = Signals::listen().map_err(|error| {
            Failure::start(format!("cannot listen to signals: {error}; raise the descriptor limit (ulimit -n)"))
        })?;
        let files = raise_file_limit();
        let workers = match setup.listening.workers {
            Some(workers) => usize::try_from(workers).unwrap_or(usize::MAX).min(MAX_WORKERS),
            None => std::thread::available_parallelism().map_or(1, NonZero::get),
        };
        let sockets = Sockets::open(&mut setup.inherited, setup.listening, setup.default_admin.as_ref())?;
        let schemes = schemes(&sockets.clients, setup.client_tls.has_certificate())?;
        let kept = sockets.for_successor().map_err(|error| cannot_start(&error))?;
        let predecessor = setup.inherited.take_predecessor();
        let logs = Logs::open(setup.logging, workers)?;
        let certificates = Certificates::read(setup.client_tls, setup.spoken)?;
        let room = Room::new(setup.max_connections, files, workers as u64, setup.descriptors_each);
        let server = ServerConfig {
            max_connections: room::share(room.max_connections, workers as u64),
            max_handshakes: room::share(setup.server.max_handshakes as u64, workers as u64),
            ..setup.server
        };
        let is_quiet = setup.logging.quiet;
        let handover_timeout = setup.handover_timeout;
        let clock = Clock::start();
        Ok(Self {
            sockets,
            kept,
            predecessor,
            handover_timeout,
            workers,
            server,
            listen: setup.listen,
            certificates,
            origin_tls: None,
            schemes,
            announcers: network::any_of(&setup.listening.proxy_protocol_from),
            files,
            room,
            logs,
            is_quiet,
            clock,
            signals,
        })
    }

    /// What secures connections to origins is looked after, too.
    pub(crate) fn look_after(&mut self, origin_tls: Option<OriginTls>) {
        self.origin_tls = origin_tls;
    }

    /// How many workers there will be.
    pub(crate) const fn workers(&self) -> usize {
        self.workers
    }

    /// How many connections to origins there may be over all workers: as many as was asked for, or else as many as clients,
    /// as far as descriptors go.
    pub(crate) fn upstream_room(&self, asked: Option<u64>) -> usize {
        let fits = Room::new(None, self.files, self.workers as u64, DESCRIPTORS_OF_AN_EXCHANGE).max_connections;
        usize::try_from(asked.unwrap_or(fits)).unwrap_or(usize::MAX)
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
        mut in_force: Vec<InForce>,
    ) -> Result<Exit, Failure> {
        in_force.extend(self.certificates.as_ref().map(Certificates::say));
        let metrics = Arc::new(Metrics::new(self.workers));
        let readiness = Readiness::default();
        let (events, mut happened) = unbounded_channel();
        let mut banner = Banner {
            listening: self.schemes.iter().copied().zip(addresses(&self.sockets.clients)).collect(),
            origins: passing,
            admin: addresses(&self.sockets.admin),
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
        let loads = Loads::new(self.workers);
        let admission = Admission::new(self.server.shared);
        let drains: Vec<Drain> = (0..self.workers).map(|_| Drain::default()).collect();
        let view = DrainView::new(drains.clone(), loads.clone(), self.server.drain, self.clock, events.clone());
        let admin =
            Admin::new(Arc::clone(&metrics), readiness.clone(), view.clone(), self.logs.access_counter(), role.pools());
        let admin = AdminPages::serve(admin, self.sockets.admin, self.clock).map_err(|error| cannot_start(&error))?;
        let mut places: Vec<Vec<Place>> = (0..self.workers).map(|_| Vec::new()).collect();
        let tls = self.certificates.as_ref().map(Certificates::tls);
        let mut secured: Vec<Option<ServerTls>> = Vec::new();
        for (its, scheme) in self.sockets.clients.into_iter().zip(&self.schemes) {
            secured.push(tls.filter(|_| scheme.is_secured()).cloned());
            sockets::apply(&self.listen, &its.socket, its.is_ours).map_err(|error| cannot_start(&error))?;
            let shares = balance::share(its.socket, its.is_ours, &loads).map_err(|error| cannot_start(&error))?;
            places.iter_mut().zip(shares).for_each(|(worker, share)| worker.push(share));
        }
        let manager = ServiceManager::of_environment();
        let pulses = Pulses::new(self.workers);
        let trust = Trust::new(self.predecessor.is_none());
        let crew = Crew { drains, plan: self.server.drain, clock: self.clock, trust: trust.clone() };
        for (number, places) in places.into_iter().enumerate() {
            let drain = crew.drains[number].clone();
            let pulse = manager.watchdog_period().map(|period| (pulses.of(number), period / 2));
            let observer = self.logs.observer(number, metrics.shard(number));
            let context = WorkerContext { clock: self.clock, observer };
            let (role, config) = (role.clone(), self.server);
            let shared = Shared { drain, admission: admission.clone(), announcers: self.announcers.clone() };
            let places = places.into_iter().zip(secured.iter().cloned()).collect();
            let begin = move || begin(&role, context, &config, shared, places, pulse);
            let told = events.clone();
            let ended = Box::new(move |report| {
                // Nobody listens any more only when the process is ending anyway.
                let _ = told.send(Event::Ended(report));
            });
            worker::start(format!("worker-{number}"), begin, ended).map_err(|error| cannot_start(&error))?;
        }
        tokio::spawn(listen_to_signals(self.signals, events));
        tokio::spawn(spare_memory::give_back());
        let reload = Reload::default();
        let read = [
            self.certificates.map(|it| Box::new(it) as Box<dyn Reread>),
            self.origin_tls.map(|it| Box::new(it) as Box<dyn Reread>),
        ];
        tokio::spawn(reload.clone().look_after(read.into_iter().flatten().collect()));
        if !self.is_quiet {
            say::error(&banner);
        }
        tokio::spawn(say_ready(self.predecessor, trust.clone(), manager.clone(), pulses, view.clone()));
        let mut around = Around {
            logs: &self.logs,
            reload,
            metrics,
            readiness,
            view,
            admin,
            manager,
            trust,
            relaunch: Relaunch::ours(),
            kept: self.kept,
            handover_timeout: self.handover_timeout,
            plan: self.server.drain,
        };
        let end = lifetime::until_drained(&mut happened, &crew, &mut around).await;
        end.log();
        let is_last = around.view.stage() != Stage::HandedOver;
        around.admin.finish(is_last).await;
        let failures = self.logs.failures();
        if failures > 0 {
            tracing::error!(failures, "connections ended other than benignly, and --strict forbids it");
        }
        self.logs.close();
        Ok(if failures > 0 && end.exit() == Exit::Drained { Exit::Strict } else { end.exit() })
    }
}

/// Says that this process serves, to whom it may concern: its predecessor, who tells the service manager, or else the
/// manager. Then keeps the manager's watchdog quiet.
async fn say_ready(
    predecessor: Option<Predecessor>,
    trust: Trust,
    manager: ServiceManager,
    pulses: Pulses,
    view: DrainView,
) {
    match predecessor {
        Some(predecessor) => match predecessor.confirm().await {
            Answer::Yours => trust.grant(),
            Answer::Dead => {
                tracing::warn!("the process before this one is dead: this one serves alone");
                trust.grant();
            }
            Answer::GivenUp => {
                // It serves on, and has told us so by a signal, too; that one may have come too early to be heard.
                view.begin("the process before this one, which did not wait for it");
                return;
            }
        },
        None => manager.tell(Tell::Ready),
    }
    if let Some(period) = manager.watchdog_period() {
        keep_watched(manager, pulses, view, period).await;
    }
}

/// More threads than this are a slip of the pen.
const MAX_WORKERS: usize = 1024;

/// What a worker has in common with whom.
struct Shared {
    /// With whoever drains it.
    drain: Drain,
    /// With all other workers.
    admission: Admission,
    /// With all other workers, too: whose connections begin with a PROXY header.
    announcers: Option<Announcers>,
}

/// Within a worker's runtime: its handler and its listeners, and what it does with them until its end.
fn begin<R: Role>(
    role: &R,
    context: WorkerContext,
    config: &ServerConfig,
    shared: Shared,
    places: Vec<(Place, Option<ServerTls>)>,
    pulse: Option<(Pulse, Duration)>,
) -> io::Result<impl Future<Output = DrainReport> + use<R>> {
    let handler = role.handler(context.clone())?;
    let Shared { drain, admission, announcers } = shared;
    let listen = |(place, tls): (Place, Option<ServerTls>)| {
        Ok(TlsListener::new(AnnouncedListener::new(place.listen()?, announcers.clone()), tls))
    };
    let listeners = places.into_iter().map(listen).collect::<io::Result<Vec<_>>>()?;
    let server = Server::sharing(handler, *config, context.clock, context.observer, drain, admission);
    if let Some((pulse, period)) = pulse {
        tokio::spawn(pulse.beat(period));
    }
    Ok(async move {
        let report = serve_all(&server, listeners).await;
        R::ended(server.handler());
        report
    })
}

/// Serves what all listeners accept, until a drain has ended every connection.
async fn serve_all<H>(
    server: &Server<H>,
    listeners: Vec<TlsListener<AnnouncedListener<BalancedListener>>>,
) -> DrainReport
where
    H: sheave_server::handler::Handler<ClientSocket>,
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

async fn listen_to_signals(mut signals: Signals, events: UnboundedSender<Event>) {
    while events.send(Event::Told(signals.next().await)).is_ok() {}
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::start(format!(
        "cannot start a worker: {error}; raise the limits on descriptors and processes (ulimit -n, ulimit -u), or lower \
         --workers"
    ))
}
