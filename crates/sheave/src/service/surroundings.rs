//! What the course of a process's life has to do with, beside its workers: logs, admin pages, the service manager, and
//! the sockets for a successor.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::drain::{Backlog, DrainPhase, DrainPlan, DrainReport};
use sheave_lifecycle::handover::Stage;
use sheave_lifecycle::observe::{Observer as _, Silent};
use sheave_metrics::metrics::Metrics;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::tcp_listen::TcpAcceptor;
use sheave_net::tcp_options::TcpOptions;
use sheave_server::config::ServerConfig;
use sheave_server::server::Server;
use tokio::task::JoinHandle;

use super::sockets::Kept;
use crate::admin::{Admin, DrainView, Readiness};
use crate::handover::{Confirmed, Confirming, ListeningSocket, Relaunch, Trust, successor};
use crate::lifetime::Surroundings;
use crate::logs::Logs;
use crate::pulse::Pulses;
use crate::service_manager::{ServiceManager, Tell};
use crate::tls::Reload;

/// Admin connections at a time: enough for a few scrapers and people.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// How long the process's end waits for admin connections to take their answers.
const ADMIN_PATIENCE: Duration = Duration::from_millis(500);

/// What surrounds the workers.
pub(super) struct Around<'a> {
    /// The process's logs.
    pub(super) logs: &'a Logs,
    /// Reads certificates again.
    pub(super) reload: Reload,
    /// Counted where the drain stands.
    pub(super) metrics: Arc<Metrics>,
    /// What load balancers ask for.
    pub(super) readiness: Readiness,
    /// What the admin pages show.
    pub(super) view: DrainView,
    /// The admin pages.
    pub(super) admin: AdminPages,
    /// Who started the process and watches it.
    pub(super) manager: ServiceManager,
    /// Whether this process is the one that the manager listens to.
    pub(super) trust: Trust,
    /// How a successor is started.
    pub(super) relaunch: Relaunch,
    /// Kept open for a successor, and only until none can come any more.
    pub(super) kept: Vec<Kept>,
    /// How long it may take.
    pub(super) handover_timeout: Duration,
    /// How the drain goes.
    pub(super) plan: DrainPlan,
}

impl Surroundings for Around<'_> {
    fn reopen(&mut self) {
        self.logs.reopen();
        self.reload.ask();
    }

    fn start_successor(&mut self) -> Confirming {
        self.manager.tell(Tell::Reloading(ServiceManager::monotonic_micros()));
        let sockets = self.kept.iter().map(|kept| (kept.purpose, kept.is_ours, &kept.socket));
        successor(&self.relaunch, sockets, self.handover_timeout)
    }

    fn serve_on(&mut self, why: &str) {
        self.manager.tell(Tell::NotReloaded(why));
    }

    fn hand_over(&mut self, to: Confirmed) {
        self.view.handed_over_to(to.pid);
        // Readiness stays as it is: whoever asks for it asks about an address that goes on being served.
        self.admin.drain(DrainPlan { grace: self.plan.quiet + ADMIN_PATIENCE, ..self.plan }.handed_over());
        self.kept.clear();
        self.manager.tell(Tell::HandedOver(to.pid));
        to.entrust();
    }

    fn leave(&mut self) {
        self.readiness.drain();
        // Kept open, they would go on taking connections that nobody accepts.
        self.kept.clear();
        if self.trust.is_ours() {
            self.manager.tell(Tell::Stopping(self.plan.announce.saturating_add(self.plan.grace)));
        }
    }

    fn moved(&mut self, phase: DrainPhase) {
        self.metrics.drain_moved(phase);
    }

    fn stands(&mut self, stage: Stage) {
        self.view.stands(stage);
    }
}

/// The admin pages' server.
pub(super) struct AdminPages {
    drain: Drain,
    clock: Clock,
    is_ours: bool,
    serving: Vec<JoinHandle<DrainReport>>,
}

impl AdminPages {
    /// Serves them from this thread, whose runtime has nothing else to do: they answer while workers are busy.
    ///
    /// # Errors
    ///
    /// As the kernel says it.
    pub(super) fn serve(admin: Admin, sockets: Vec<ListeningSocket>, clock: Clock) -> io::Result<Self> {
        let config = ServerConfig { max_connections: MAX_ADMIN_CONNECTIONS, ..ServerConfig::default() };
        let drain = Drain::default();
        let is_ours = sockets.iter().all(|socket| socket.is_ours);
        let server = Server::new(admin, config, clock, Arc::new(Silent), drain.clone());
        let mut serving = Vec::new();
        for ListeningSocket { socket, .. } in sockets {
            let acceptor = TcpAcceptor::from_std(socket, &TcpOptions::default())
                .map_err(|fault| io::Error::from_raw_os_error(fault.errno.0))?;
            let server = server.clone();
            serving.push(tokio::spawn(async move { server.serve(acceptor).await }));
        }
        Ok(Self { drain, clock, is_ours, serving })
    }

    fn drain(&self, plan: DrainPlan) {
        self.drain.start(plan, self.clock.now());
    }

    /// Lets those who are being answered have their answers, for a moment: whoever watches the drain sees its end.
    pub(super) async fn finish(self, is_last: bool) {
        let backlog = if self.is_ours && is_last { Backlog::Ours } else { Backlog::Others };
        let plan = DrainPlan {
            announce: Duration::ZERO,
            quiet: Duration::ZERO,
            grace: ADMIN_PATIENCE,
            tunnel_grace: None,
            backlog,
        };
        self.drain(plan);
        let all = async {
            for serving in self.serving {
                // A page that panicked has been logged, and holds up nobody.
                let _ = serving.await;
            }
        };
        let _ = tokio::time::timeout(ADMIN_PATIENCE, all).await;
    }
}

/// Tells the manager that all is well for as long as all workers turn, and this process is its main one.
pub(super) async fn keep_watched(manager: ServiceManager, pulses: Pulses, view: DrainView, period: Duration) {
    let mut seen = Vec::new();
    while view.stage() != Stage::HandedOver {
        if pulses.all_beat_since(&mut seen) {
            manager.tell(Tell::Watchdog);
        }
        tokio::time::sleep(period).await;
    }
}
