//! Accepts connections, serves each in a task of its own, and drains.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use sheave_lifecycle::drain::{Backlog, DrainPhase, DrainReport, Fate};
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::time::Time;
use sheave_net::accept_backoff::{AcceptBackoff, AcceptNext};
use sheave_net::alarm::Alarm;
use sheave_net::clock::Clock;
use sheave_net::drain::{Drain, DrainWatch, Urgency};
use sheave_net::leg::LegContext;
use sheave_net::listen::{Accepted, Listener};
use sheave_net::socket::Socket;
use tokio::sync::Notify;

use crate::config::ServerConfig;
use crate::connection::{Shared, serve};
use crate::handler::Handler;

/// How many connections are accepted before the tasks of those accepted get their turn.
const ACCEPT_BURST: usize = 64;

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
    ended: Notify,
}

impl<H> Server<H> {
    /// A server that accepts nothing yet. `drain` is the handle by which it is drained, with the plan of `config`.
    pub fn new(handler: H, config: ServerConfig, clock: Clock, observer: Arc<dyn Observer>, drain: Drain) -> Self {
        let context = LegContext { clock, observer, write_timeout: config.write_timeout, linger: config.linger };
        let shared =
            Shared { handler, config, connection: Arc::new(config.connection), context: Arc::new(context), drain };
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
        let mut accepting = Accepting::default();
        while let Some(accepted) = accepting.next(self, &mut listener, &mut watch).await {
            self.spawn(accepted);
        }
        drop(listener);
        loop {
            let ended = self.live.ended.notified();
            if self.live() == 0 {
                break;
            }
            ended.await;
        }
        self.shared.drain.report()
    }

    fn spawn<S: Socket + 'static>(&self, accepted: Accepted<S>)
    where
        H: Handler<S>,
    {
        let shared = self.shared.clone();
        let place = Place::take(self.live.clone());
        tokio::spawn(async move {
            let drain = shared.drain.clone();
            let (reason, phase) = serve(accepted, shared).await;
            if drain.is_draining() {
                drain.count(Fate::of(reason, phase.is_busy()));
            }
            drop(place);
        });
    }
}

/// A live connection's place; given back however its task ends.
struct Place(Arc<Live>);

impl Place {
    fn take(live: Arc<Live>) -> Self {
        live.count.fetch_add(1, Ordering::Relaxed);
        Self(live)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

/// An accept loop's memory.
#[derive(Default)]
struct Accepting {
    backoff: AcceptBackoff,
    paused_until: Option<Time>,
    burst: usize,
    refuses: bool,
    alarm: Alarm,
}

impl Accepting {
    /// The next connection; `None` once the drain has closed the listener's door and its backlog is empty.
    async fn next<H, L: Listener>(
        &mut self,
        server: &Server<H>,
        listener: &mut L,
        watch: &mut DrainWatch,
    ) -> Option<Accepted<L::Socket>> {
        if self.burst >= ACCEPT_BURST {
            self.burst = 0;
            tokio::task::yield_now().await;
        }
        let clock = server.shared.context.clock;
        let observer = &server.shared.context.observer;
        loop {
            if server.live() >= server.shared.config.max_connections.max(1) && !watch.drain().is_draining() {
                self.wait_for_room(server, watch).await;
            }
            let event = poll_fn(|cx| {
                let now = clock.now();
                watch.register(cx);
                let closing_at = self.closing_at(listener, watch, observer.as_ref(), now);
                if closing_at.is_some_and(|at| at <= now) {
                    return Poll::Ready(Event::Closing);
                }
                if self.paused_until.is_none_or(|until| until <= now) {
                    self.paused_until = None;
                    if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                        return Poll::Ready(Event::Accepted(accepted));
                    }
                }
                let next = [closing_at, self.paused_until, self.door_closes_at(watch)].into_iter().flatten().min();
                self.alarm.poll(cx, clock, now, next).map(|()| Event::Woken)
            })
            .await;
            let accepted = match event {
                Event::Woken => continue,
                Event::Accepted(accepted) => accepted.map(Some),
                Event::Closing if self.leaves_backlog(watch) => listener.leave_backlog(),
                Event::Closing => listener.accept_now(),
            };
            match accepted {
                Ok(Some(accepted)) => {
                    self.backoff.accepted();
                    self.burst += 1;
                    return Some(accepted);
                }
                Ok(None) => return None,
                Err(fault) => {
                    observer.accept_failed(fault);
                    match self.backoff.failed(fault, clock.now()) {
                        AcceptNext::AtOnce => {}
                        // Without a free descriptor the backlog cannot be seen to be empty: the grace bounds the wait.
                        AcceptNext::At(until) if watch.drain().forcing_at().is_some_and(|at| at <= until) => {
                            return None;
                        }
                        AcceptNext::At(until) => self.paused_until = Some(until),
                        AcceptNext::Never => return None,
                    }
                }
            }
        }
    }

    /// Whether connections that nobody has accepted yet are somebody else's to serve.
    fn leaves_backlog(&self, watch: &DrainWatch) -> bool {
        watch.drain().clock().is_some_and(|drain| drain.plan().backlog == Backlog::Others)
    }

    /// When the drain refuses new connections.
    fn door_closes_at(&self, watch: &DrainWatch) -> Option<Time> {
        if self.refuses { None } else { watch.drain().clock().map(|drain| drain.waiting_at()) }
    }

    /// When what is left in the backlog is taken and the listener closed; refuses new connections when that is due.
    fn closing_at<L: Listener>(
        &mut self,
        listener: &mut L,
        watch: &DrainWatch,
        observer: &dyn Observer,
        now: Time,
    ) -> Option<Time> {
        let drain = watch.drain().clock()?;
        if watch.drain().urgency() == Urgency::Forced {
            return Some(now);
        }
        if now < drain.waiting_at() {
            return None;
        }
        if !self.refuses {
            self.refuses = true;
            observer.drain_moved(DrainPhase::Waiting);
            if drain.plan().backlog == Backlog::Ours {
                // Where the kernel cannot refuse, the backlog is emptied all the same.
                let _ = listener.refuse_new();
            }
        }
        Some(drain.listening_until())
    }

    /// At the cap, connections wait in the kernel's backlog until one ends, or a drain begins.
    async fn wait_for_room<H>(&mut self, server: &Server<H>, watch: &mut DrainWatch) {
        server.shared.context.observer.refused("max-connections");
        loop {
            let mut ended = std::pin::pin!(server.live.ended.notified());
            if server.live() < server.shared.config.max_connections.max(1) || watch.drain().is_draining() {
                return;
            }
            poll_fn(|cx| {
                watch.register(cx);
                if watch.drain().is_draining() { Poll::Ready(()) } else { ended.as_mut().poll(cx) }
            })
            .await;
        }
    }
}

/// What an accept loop woke for.
enum Event<S> {
    Accepted(Result<Accepted<S>, sheave_lifecycle::errno::IoFault>),
    Closing,
    Woken,
}
