//! Accepts connections, serves each in a task of its own, and drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sheave_lifecycle::drain::{DrainReport, Fate};
use sheave_lifecycle::observe::Observer;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::leg::LegContext;
use sheave_net::listen::Listener;
use sheave_net::socket::Socket;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::accepting::{Accepting, Admitted};
use crate::admission::Admission;
use crate::config::ServerConfig;
use crate::connection::{Shared, serve};
use crate::handler::Handler;

/// A server: one handler, one configuration, any number of listeners. Clones are the same server.
pub struct Server<H> {
    shared: Arc<Shared<H>>,
    live: Arc<Live>,
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), live: self.live.clone() }
    }
}

/// The connections that live.
#[derive(Default)]
struct Live {
    count: AtomicUsize,
    /// Those that are only told that there is no place for them.
    turned_away: AtomicUsize,
    ended: Notify,
}

impl<H> Server<H> {
    /// A server that accepts nothing yet. `drain` is the handle by which it is drained, with the plan of `config`.
    pub fn new(handler: H, config: ServerConfig, clock: Clock, observer: Arc<dyn Observer>, drain: Drain) -> Self {
        let admission = Admission::new(config.shared);
        Self::sharing(handler, config, clock, observer, drain, admission)
    }

    /// As [`Self::new`], for one of several workers, which share the limits of `admission`; those of `config` are not read.
    pub fn sharing(
        handler: H,
        config: ServerConfig,
        clock: Clock,
        observer: Arc<dyn Observer>,
        drain: Drain,
        admission: Admission,
    ) -> Self {
        let context = LegContext { clock, observer, write_timeout: config.write_timeout, linger: config.linger };
        let shared = Shared {
            handler,
            config,
            connection: Arc::new(config.connection),
            hurried: Arc::new(config.for_those_turned_away()),
            context: Arc::new(context),
            drain,
            admission,
        };
        Self { shared: Arc::new(shared), live: Arc::default() }
    }

    /// Begins the drain, with the configuration's plan.
    pub fn drain(&self) {
        self.shared.drain.start(self.shared.config.drain, self.shared.context.clock.now());
    }

    /// Connections that live now.
    pub fn live(&self) -> usize {
        self.live.count.load(Ordering::Relaxed)
    }

    pub(crate) fn turned_away(&self) -> usize {
        self.live.turned_away.load(Ordering::Relaxed)
    }

    /// Ready when a connection has ended since this was called.
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.live.ended.notified()
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.shared.config
    }

    pub(crate) fn context(&self) -> &LegContext {
        &self.shared.context
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// What answers the requests.
    pub fn handler(&self) -> &H {
        &self.shared.handler
    }

    /// Serves what `listener` accepts, until a drain has ended every connection.
    ///
    /// Returns once the listener is closed and the last connection has ended; the report counts those that lived while
    /// the server drained, and is the drain's own ([`Drain::report`]): whole once every listener's call has returned.
    ///
    /// # Cancel safety
    /// Dropping it closes the listener with its backlog; connections go on in their own tasks.
    pub async fn serve<L>(&self, mut listener: L) -> DrainReport
    where
        L: Listener,
        L::Socket: 'static,
        H: Handler<L::Socket>,
    {
        let mut watch = self.shared.drain.watch();
        let mut accepting = Accepting::new();
        while let Some(admitted) = accepting.next(self, &mut listener, &mut watch).await {
            self.spawn(admitted);
        }
        drop(listener);
        loop {
            let ended = self.live.ended.notified();
            if self.live() == 0 && self.turned_away() == 0 {
                break;
            }
            ended.await;
        }
        self.shared.drain.report()
    }

    fn spawn<S: Socket + 'static>(&self, admitted: Admitted<S>)
    where
        H: Handler<S>,
    {
        let shared = self.shared.clone();
        let Admitted { accepted, client, refused_by } = admitted;
        let place = Place::take(self.live.clone(), refused_by.is_some());
        tokio::spawn(async move {
            let drain = shared.drain.clone();
            let (reason, phase) = serve(accepted, refused_by, shared).await;
            if drain.is_draining() {
                drain.count(Fate::of(reason, phase.is_busy()));
            }
            drop((client, place));
        });
    }
}

/// A live connection's place; given back however its task ends.
struct Place {
    live: Arc<Live>,
    is_turned_away: bool,
}

impl Place {
    fn take(live: Arc<Live>, is_turned_away: bool) -> Self {
        let place = Self { live, is_turned_away };
        place.count().fetch_add(1, Ordering::Relaxed);
        place
    }

    fn count(&self) -> &AtomicUsize {
        if self.is_turned_away { &self.live.turned_away } else { &self.live.count }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::AcqRel);
        self.live.ended.notify_waiters();
    }
}
