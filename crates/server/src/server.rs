//! Accepts connections, serves each in a task of its own, and drains.

use std::sync::Arc;

use sheave_lifecycle::drain::{DrainPlan, DrainReport};
use sheave_lifecycle::observe::Observer;
use sheave_net::clock::Clock;
use sheave_net::drain::Drain;
use sheave_net::leg::LegContext;
use sheave_net::listen::Listener;
use sheave_net::socket::Socket;
use tokio::sync::Semaphore;

use crate::accepting::{Accepting, Admitted};
use crate::admission::Admission;
use crate::builder::ServerBuilder;
use crate::config::ServerConfig;
use crate::connection::serve;
use crate::draining::Draining;
use crate::handler::Handler;
use crate::live::{Listening, Place};
use crate::shared::Shared;

/// A server: one handler, one configuration, any number of listeners. Clones are the same server.
pub struct Server<H> {
    shared: Arc<Shared<H>>,
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl Server<()> {
    /// A server in the making, with safe defaults.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }
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
        let handshakes = Semaphore::new(config.max_handshakes.clamp(1, Semaphore::MAX_PERMITS));
        let shared = Shared {
            handler,
            config,
            connection: Arc::new(config.connection),
            hurried: Arc::new(config.for_those_turned_away()),
            context: Arc::new(context),
            drain,
            admission,
            handshakes,
            live: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins the drain, with the configuration's plan. What comes back can be waited for, and need not be.
    pub fn drain(&self) -> Draining {
        self.shared.drain.start(self.shared.config.drain, self.shared.context.clock.now());
        Draining::of(self.shared.live.clone(), self.shared.drain.clone())
    }

    /// Ends the drain's patience: what is left is reset. Begins it first where it has not begun.
    pub fn force_drain(&self) {
        self.shared.drain.force(self.shared.context.clock.now());
    }

    /// How a drain goes.
    pub(crate) fn drain_plan(&self) -> &DrainPlan {
        &self.shared.config.drain
    }

    /// Connections that live now.
    pub fn live(&self) -> usize {
        self.shared.live.count()
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
        let _listening = Listening::begin(self.shared.live.clone());
        let mut watch = self.shared.drain.watch();
        let mut accepting = Accepting::new();
        while let Some(admitted) = accepting.next(&self.shared, &mut listener, &mut watch).await {
            self.spawn(admitted);
        }
        drop(listener);
        loop {
            let ended = self.shared.live.ended();
            if self.live() == 0 && self.shared.live.turned_away() == 0 {
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
        let place = Place::take(self.shared.clone(), admitted.refused_by.is_some());
        // Wanted for the connection's beginning alone, and no part of what its task keeps until its end.
        tokio::spawn(serve(Box::new(admitted), place));
    }
}
