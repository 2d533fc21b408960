//! The accept loop: who is let in, who is turned away, who waits, and how it ends in a drain.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sheave_lifecycle::drain::{Backlog, DrainPhase};
use sheave_lifecycle::errno::{Errno, IoFault};
use sheave_lifecycle::limit::{Limit, Overflow};
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::time::Time;
use sheave_net::accept_backoff::{AcceptBackoff, AcceptNext};
use sheave_net::alarm::Alarm;
use sheave_net::drain::{Drain, DrainWatch, Urgency};
use sheave_net::listen::{Accepted, Listener};
use sheave_net::reserve::Reserve;
use sheave_net::socket::Socket;

use crate::admission::ClientPlace;
use crate::shared::Shared;

/// How many connections are accepted before the tasks of those accepted get their turn.
const ACCEPT_BURST: usize = 64;

/// How many connections are being turned away with an answer at a time; those beyond are closed without one.
const MAX_TURNED_AWAY: usize = 128;

/// How long idle connections have to say since when they are.
const ANSWERS_WITHIN: Duration = Duration::from_millis(5);

/// Between two rounds in which idle connections give way, each of which wakes all of them.
const ROUNDS_EVERY: Duration = Duration::from_millis(20);

/// It doubles, while nobody gives way, up to this.
const ROUNDS_AT_LEAST_EVERY: Duration = Duration::from_millis(320);

/// A connection that was accepted, and what is to become of it.
pub(crate) struct Admitted<S> {
    /// The connection.
    pub(crate) accepted: Accepted<S>,
    /// Its client's place for it.
    pub(crate) client: ClientPlace,
    /// The limit by which it is turned away, with an answer.
    pub(crate) refused_by: Option<Limit>,
}

/// An accept loop's memory.
pub(crate) struct Accepting {
    backoff: AcceptBackoff,
    paused_until: Option<Time>,
    burst: usize,
    refuses: bool,
    alarm: Alarm,
    reserve: Reserve,
    rounds: Rounds,
}

impl Accepting {
    /// The memory of a loop that has accepted nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            backoff: AcceptBackoff::default(),
            paused_until: None,
            burst: 0,
            refuses: false,
            alarm: Alarm::default(),
            reserve: Reserve::open(),
            rounds: Rounds::default(),
        }
    }

    /// The next connection; `None` once the drain has closed the listener's door and its backlog is empty.
    pub(crate) async fn next<H, L: Listener>(
        &mut self,
        shared: &Shared<H>,
        listener: &mut L,
        watch: &mut DrainWatch,
    ) -> Option<Admitted<L::Socket>> {
        if self.burst >= ACCEPT_BURST {
            self.burst = 0;
            tokio::task::yield_now().await;
        }
        let clock = shared.context.clock;
        let observer = &*shared.context.observer;
        loop {
            let event = poll_fn(|cx| {
                let now = clock.now();
                watch.register(cx);
                let closing_at = self.closing_at(listener, watch, observer, now);
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
                    if let Some(admitted) = self.admit(shared, accepted, watch, false).await {
                        return Some(admitted);
                    }
                }
                Ok(None) => return None,
                Err(fault) => {
                    observer.accept_failed(fault);
                    if is_out_of_descriptors(fault.errno) && !self.leaves_backlog(watch) {
                        if let Some(accepted) = self.accept_on_reserve(listener) {
                            if let Some(admitted) = self.admit(shared, accepted, watch, true).await {
                                return Some(admitted);
                            }
                            continue;
                        }
                        self.rounds.go_on(watch.drain(), clock.now());
                    }
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

    /// Gives up the reserve for one connection that waits. `None` when nobody does, or somebody else was quicker.
    fn accept_on_reserve<L: Listener>(&mut self, listener: &mut L) -> Option<Accepted<L::Socket>> {
        // It may be out for a connection that has ended since.
        self.reserve.take_back();
        if !self.reserve.give_up() {
            return None;
        }
        let accepted = listener.accept_now().ok().flatten();
        if accepted.is_none() {
            self.reserve.take_back();
        }
        accepted
    }

    /// Lets a connection in, at once or when there is room, or turns it away; `None` when it was closed at once.
    async fn admit<H, S: Socket>(
        &mut self,
        shared: &Shared<H>,
        accepted: Accepted<S>,
        watch: &mut DrainWatch,
        is_on_reserve: bool,
    ) -> Option<Admitted<S>> {
        let policy = shared.config.over_limit;
        // Whoever speaks for many clients has no place of its own: each of them has, once it is named.
        let known = accepted.peer.filter(|_| !accepted.socket.awaits_peer());
        let client = match shared.admission.connection_of(known.map(|peer| peer.ip())) {
            Ok(place) => place,
            Err(limit) => return turn_away(shared, accepted, limit, policy.decide(limit)),
        };
        if let Some((limit, _)) = self.over(shared, watch, is_on_reserve) {
            match policy.decide(limit) {
                Overflow::Wait => self.wait_for_room(shared, watch, limit, is_on_reserve).await,
                overflow => return turn_away(shared, accepted, limit, overflow),
            }
        } else {
            self.reserve.take_back();
            watch.drain().pressure().turn(false);
        }
        Some(Admitted { accepted, client, refused_by: None })
    }

    /// The limit that one more connection would exceed, and when it would not, where that is known. In a drain none does:
    /// who was accepted by the kernel is served.
    fn over<H>(
        &mut self,
        shared: &Shared<H>,
        watch: &DrainWatch,
        is_on_reserve: bool,
    ) -> Option<(Limit, Option<Time>)> {
        if watch.drain().is_draining() {
            return None;
        }
        if shared.live.count() >= shared.config.max_connections.max(1) {
            return Some((Limit::Connections, None));
        }
        if is_on_reserve && !self.reserve.take_back() {
            return Some((Limit::Descriptors, None));
        }
        // Last, as it takes a token where there is one.
        let pace = shared.admission.new_connection(shared.context.clock.now());
        pace.err().map(|at| (Limit::AcceptRate, Some(at)))
    }

    /// Waits until one more connection exceeds no limit, or a drain begins. It is in hand already, so that it is known that
    /// somebody waits: connections that end their exchange say `close`, and the idle longest give way.
    async fn wait_for_room<H>(
        &mut self,
        shared: &Shared<H>,
        watch: &mut DrainWatch,
        mut limit: Limit,
        is_on_reserve: bool,
    ) {
        let clock = shared.context.clock;
        shared.context.observer.held_back(limit.label());
        let drain = watch.drain().clone();
        loop {
            let mut ended = pin!(shared.live.ended());
            let Some((over, at)) = self.over(shared, watch, is_on_reserve) else { break };
            if over != limit {
                limit = over;
                shared.context.observer.held_back(limit.label());
            }
            // More room does not make the clock run faster.
            let until = at.unwrap_or_else(|| self.rounds.go_on(&drain, clock.now()));
            poll_fn(|cx| {
                watch.register(cx);
                if watch.drain().is_draining() || ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                self.alarm.poll(cx, clock, clock.now(), Some(until))
            })
            .await;
        }
        drain.pressure().turn(false);
    }
}

/// Rounds in which connections are asked to make room.
#[derive(Default)]
struct Rounds {
    /// When the question was put that has not been acted on.
    asked: Option<Time>,
    /// When the next question is due.
    next: Option<Time>,
    pause: Duration,
}

impl Rounds {
    /// Does what is due, and says when the next step is.
    fn go_on(&mut self, drain: &Drain, now: Time) -> Time {
        let pressure = drain.pressure();
        pressure.turn(true);
        if let Some(asked) = self.asked {
            let due = asked.after(ANSWERS_WITHIN);
            if now < due {
                return due;
            }
            self.asked = None;
            self.pause = if pressure.shed(now) {
                drain.wake_all();
                ROUNDS_EVERY
            } else {
                (self.pause * 2).clamp(ROUNDS_EVERY, ROUNDS_AT_LEAST_EVERY)
            };
            let next = now.after(self.pause);
            self.next = Some(next);
            return next;
        }
        match self.next {
            Some(next) if now < next => next,
            _ => {
                pressure.ask();
                drain.wake_all();
                self.asked = Some(now);
                now.after(ANSWERS_WITHIN)
            }
        }
    }
}

/// Tells that a connection is turned away; gives it back if it is to be told as well.
fn turn_away<H, S>(shared: &Shared<H>, accepted: Accepted<S>, limit: Limit, overflow: Overflow) -> Option<Admitted<S>> {
    shared.context.observer.refused(limit.label());
    // Its place is for those who are served.
    let client = ClientPlace::none();
    let is_answered = overflow == Overflow::Answer && shared.live.turned_away() < MAX_TURNED_AWAY;
    is_answered.then_some(Admitted { accepted, client, refused_by: Some(limit) })
}

/// Whether one descriptor more would do.
const fn is_out_of_descriptors(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE)
}

/// What an accept loop woke for.
enum Event<S> {
    Accepted(Result<Accepted<S>, IoFault>),
    Closing,
    Woken,
}
