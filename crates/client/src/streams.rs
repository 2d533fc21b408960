//! A site's HTTP/2 connections as the pool sees them: which has room for another stream, and which is due to end.

use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::keep_alive::{Closes, Reuse};
use sheave_lifecycle::observe::Observer;
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::{Announced, Endpoint, Site};
use sheave_net::socket::{Liveness, Socket};

use crate::drive::Told;
use crate::multiplexed::Multiplexed;
use crate::reserved::Reserved;
use crate::shelf::Shelf;
use crate::shelves::Shelves;

/// One connection.
pub(crate) struct Trunk<S: Socket> {
    pub(crate) connection: Arc<Multiplexed<S>>,
    /// For whom alone it is, where its origin was told.
    client: Option<Arc<Announced>>,
    /// Streams that are open, or about to be.
    pub(crate) used: usize,
    limit: usize,
    is_settled: bool,
    /// It takes no further stream.
    pub(crate) is_going: bool,
    /// A stream has waited in vain for this long, and so many bytes had come by then: until another does, no further one is
    /// opened.
    doubt: Option<(Timer, u64)>,
    /// Since when it has no stream.
    pub(crate) idle_since: Time,
    /// When it was last known to be alive.
    pub(crate) alive_at: Time,
}

/// What there is for a request that needs a stream.
pub(crate) enum Found<S: Socket> {
    /// A place for one.
    Stream(Reserved<S>),
    /// A connection whose origin has said something that has yet to be read: it may be the end.
    Unread,
    /// None.
    Nothing,
}

/// A request for a stream.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) client: Option<&'a Arc<Announced>>,
    pub(crate) reuse: Reuse,
    /// Connections that came to be from this moment on are fresh to it.
    pub(crate) since: Time,
}

impl<S: Socket> Trunk<S> {
    pub(crate) fn is_idle(&self) -> bool {
        self.used == 0 && !self.is_going
    }

    fn has_room(&self) -> bool {
        !self.is_going && self.used < self.limit && self.doubted().is_none()
    }

    /// What a stream has waited for in vain, unless something was heard since.
    fn doubted(&self) -> Option<Timer> {
        let (timer, bytes_in) = self.doubt?;
        (self.connection.crossed().bytes_in == bytes_in).then_some(timer)
    }

    /// Whether it will be known shortly how many streams it takes.
    pub(crate) fn is_coming(&self) -> bool {
        !self.is_settled && !self.is_going
    }
}

impl<S: Socket> Shelf<S> {
    /// Reserves a stream for such a request: on the busiest connection that has room, so that others may become idle and go.
    /// With it comes how long the connection was idle, if it was.
    pub(crate) fn take_stream(&mut self, ask: &Ask<'_>, now: Time) -> Option<(Arc<Multiplexed<S>>, Option<Duration>)> {
        let below = self.reused_below(ask.reuse);
        let is_fit = |trunk: &Trunk<S>| {
            trunk.has_room()
                && trunk.client.as_ref() == ask.client
                && (trunk.connection.opened >= ask.since
                    || match ask.reuse {
                        Reuse::Never => false,
                        _ => trunk.used > 0 || now.since(trunk.idle_since) < below,
                    })
        };
        let best = self.trunks.iter_mut().filter(|trunk| is_fit(trunk)).max_by_key(|it| (it.used, it.idle_since))?;
        let idle_for = (best.used == 0).then(|| now.since(best.idle_since));
        best.used += 1;
        Some((best.connection.clone(), idle_for))
    }

    /// Whether some connection has room for a stream.
    pub(crate) fn has_stream(&self) -> bool {
        self.trunks.iter().any(Trunk::has_room)
    }

    /// Whether requests beyond those that wait already can count on connections that are about to be there.
    pub(crate) fn can_join(&self, max_streams: usize) -> bool {
        self.waiters.len() < self.coming().saturating_mul(self.width.unwrap_or(max_streams).max(1))
    }

    /// Whether those who wait can count on connections that are about to be there.
    pub(crate) fn is_expecting(&self, max_streams: usize) -> bool {
        self.waiters.len() <= self.coming().saturating_mul(self.width.unwrap_or(max_streams).max(1))
    }

    /// Connections that are being opened, or of which it is not known yet how many streams they take.
    pub(crate) fn coming(&self) -> usize {
        self.opening + self.trunks.iter().filter(|trunk| trunk.is_coming()).count()
    }

    pub(crate) fn trunk_mut(&mut self, connection: &Arc<Multiplexed<S>>) -> Option<&mut Trunk<S>> {
        self.trunks.iter_mut().find(|trunk| Arc::ptr_eq(&trunk.connection, connection))
    }

    /// Streams that are open, or about to be.
    pub(crate) fn streams(&self) -> usize {
        self.trunks.iter().map(|trunk| trunk.used).sum()
    }

    /// Connections of either version on which nothing is under way.
    pub(crate) fn idle(&self) -> usize {
        self.parked.len() + self.trunks.iter().filter(|trunk| trunk.is_idle()).count()
    }
}

impl<S: Socket> Shelves<S> {
    /// A place for a stream on a connection that the kernel says is alive, as far as it was idle.
    pub(crate) fn find_stream(self: &Arc<Self>, endpoint: &Endpoint, reuse: Reuse, since: Time, now: Time) -> Found<S> {
        let ask = Ask { client: endpoint.client(), reuse, since };
        loop {
            let taken = {
                let mut state = self.lock();
                state.shelves.get_mut(endpoint.site()).and_then(|shelf| {
                    shelf.used = now;
                    shelf.take_stream(&ask, now)
                })
            };
            let Some((connection, idle_for)) = taken else { return Found::Nothing };
            let reserved = Reserved::counted(connection, endpoint.site().clone(), self.clone());
            let Some(idle_for) = idle_for else { return Found::Stream(reserved) };
            let observer = &self.context.observer;
            let liveness = if self.config.check_before_reuse { reserved.connection.probe() } else { Liveness::Alive };
            let reason = match liveness {
                Liveness::Alive => {
                    if reserved.connection.exchanges() > 0 {
                        observer.reused(reserved.connection.id, idle_for);
                    }
                    return Found::Stream(reserved);
                }
                // PING, SETTINGS, GOAWAY: its task will have read it in a moment.
                Liveness::Unasked => return Found::Unread,
                Liveness::Closed => CloseReason::PeerClosed,
                Liveness::Failed(fault) => CloseReason::from_fault(fault),
            };
            observer.found_dead(reserved.connection.id, reason);
            // Its task meets the end itself; until then nobody else is to.
            self.note_going(endpoint.site(), &reserved.connection, true, now);
        }
    }

    /// A new connection is there.
    pub(crate) fn enlist(&self, endpoint: &Endpoint, connection: &Arc<Multiplexed<S>>) {
        let now = self.now();
        let mut state = self.lock();
        let shelf = state.shelf(endpoint.site(), &self.config, now);
        let limit = shelf.width.unwrap_or(1).min(self.max_streams());
        shelf.trunks.push(Trunk {
            connection: connection.clone(),
            client: endpoint.client().cloned(),
            // Whoever opened it is its first.
            used: 1,
            limit,
            is_settled: false,
            is_going: false,
            doubt: None,
            idle_since: now,
            alive_at: now,
        });
    }

    /// Its task says how it stands.
    pub(crate) fn told(&self, site: &Site, connection: &Arc<Multiplexed<S>>, told: Told) {
        if told.is_going {
            let by_peer = connection.was_ended_by_peer();
            self.note_going(site, connection, by_peer, self.now());
        }
        let mut state = self.lock();
        let is_waited_for = state.queued > 0;
        if let Some(shelf) = state.shelves.get_mut(site) {
            if told.is_settled {
                shelf.width = Some(told.limit);
            }
            if let Some(trunk) = shelf.trunk_mut(connection).filter(|_| told.is_settled) {
                (trunk.limit, trunk.is_settled) = (told.limit, true);
            }
        }
        drop(state);
        if is_waited_for {
            self.serve();
        }
    }

    /// It takes no further stream. Where it was idle and the origin ended it, that teaches for how long the origin keeps one.
    fn note_going(&self, site: &Site, connection: &Arc<Multiplexed<S>>, by_peer: bool, now: Time) {
        let mut state = self.lock();
        let Some(shelf) = state.shelves.get_mut(site) else { return };
        let Some(trunk) = shelf.trunk_mut(connection).filter(|trunk| !trunk.is_going) else { return };
        trunk.is_going = true;
        // Whoever looks before opening a stream holds a place on it.
        let is_idle = trunk.used == 0 || (trunk.used == 1 && connection.streams() == 0);
        let (alive_for, idle_for) = (trunk.alive_at.since(trunk.idle_since), now.since(trunk.idle_since));
        drop(state);
        if by_peer && is_idle && connection.exchanges() > 0 {
            let mut closes = Closes::default();
            closes.note(alive_for, idle_for);
            self.note_closes(site, &closes);
        }
    }

    /// It has ended.
    pub(crate) fn strike_off(&self, site: &Site, connection: &Arc<Multiplexed<S>>) {
        if let Some(shelf) = self.lock().shelves.get_mut(site) {
            shelf.trunks.retain(|trunk| !Arc::ptr_eq(&trunk.connection, connection));
        }
    }

    /// We want no further stream on it.
    pub(crate) fn retire(&self, site: &Site, connection: &Arc<Multiplexed<S>>, reason: CloseReason) {
        self.note_going(site, connection, false, self.now());
        connection.retire(reason);
    }

    /// A stream has waited in vain: no further one is opened before the origin gives a sign of life.
    pub(crate) fn doubt(&self, site: &Site, connection: &Arc<Multiplexed<S>>, timer: Timer) {
        let bytes_in = connection.crossed().bytes_in;
        if let Some(trunk) = self.lock().shelves.get_mut(site).and_then(|shelf| shelf.trunk_mut(connection)) {
            trunk.doubt = Some((timer, bytes_in));
        }
        connection.ask_for_a_sign();
    }

    /// The origin wants HTTP/1, where there is a choice.
    pub(crate) fn require_http1(&self, site: &Site) {
        if let Some(shelf) = self.lock().shelves.get_mut(site) {
            shelf.requires_http1 = true;
        }
    }

    /// A place for a stream is free; `was_open` says whether one had been opened in it.
    pub(crate) fn give_back(&self, site: &Site, connection: &Arc<Multiplexed<S>>, was_open: bool) {
        let now = self.now();
        let mut state = self.lock();
        let is_waited_for = state.queued > 0;
        let mut retires = None;
        let mut is_parked = false;
        if let Some(shelf) = state.shelves.get_mut(site) {
            shelf.used = now;
            let (idle, is_outdated) = (shelf.idle(), shelf.is_outdated()(connection.opened));
            if let Some(trunk) = shelf.trunk_mut(connection) {
                trunk.used = trunk.used.saturating_sub(1);
                if trunk.used == 0 && was_open {
                    (trunk.idle_since, trunk.alive_at) = (now, now);
                }
                if trunk.is_idle() {
                    retires = if self.is_over() {
                        Some(CloseReason::Drained)
                    } else if let Some(timer) = trunk.doubted() {
                        Some(CloseReason::TimedOut(timer))
                    } else if self.is_past_age(trunk.connection.opened, now) {
                        Some(CloseReason::MaxAge)
                    } else if is_outdated {
                        Some(CloseReason::Retired)
                    } else if idle >= self.config.max_idle || (!is_waited_for && self.total().is_waited_for()) {
                        Some(CloseReason::Evicted)
                    } else {
                        None
                    };
                    trunk.is_going = retires.is_some();
                    is_parked = was_open && retires.is_none();
                }
            }
        }
        let wakes = is_parked && std::mem::take(&mut state.is_asleep);
        drop(state);
        match retires {
            Some(reason) => connection.retire(reason),
            None if is_parked => connection.tell_parked(),
            None => {}
        }
        if wakes {
            self.wake.notify_one();
        }
        if is_waited_for {
            self.serve();
        }
    }

    /// Looks at one site's connections: those that are due to end take no further stream.
    pub(crate) fn look_at_streams(&self, site: &Site, now: Time) {
        let mut retired = Vec::new();
        {
            let mut state = self.lock();
            let Some(shelf) = state.shelves.get_mut(site) else { return };
            let usual = shelf.reused_below(Reuse::Usual);
            let shows_until = shelf.learned().shows_until();
            let is_outdated = shelf.is_outdated();
            let mut has_witness = shelf.parked.iter().any(|parked| now.since(parked.since) >= usual);
            let mut outlived = Vec::new();
            for trunk in shelf.trunks.iter_mut().filter(|trunk| !trunk.is_going) {
                let (alive_for, idle_for) = (trunk.alive_at.since(trunk.idle_since), now.since(trunk.idle_since));
                let reason = if is_outdated(trunk.connection.opened) {
                    Some(CloseReason::Retired)
                } else if self.is_past_age(trunk.connection.opened, now) {
                    Some(CloseReason::MaxAge)
                } else if trunk.used == 0 && idle_for >= usual {
                    outlived.push((alive_for, idle_for));
                    // As for parked connections: the first that is too old shows whether what was learned still holds.
                    let shows = shows_until.is_some_and(|until| alive_for <= until);
                    let is_witness = shows && !std::mem::replace(&mut has_witness, true);
                    (!is_witness).then_some(CloseReason::Retired)
                } else {
                    None
                };
                trunk.alive_at = now;
                if let Some(reason) = reason {
                    trunk.is_going = true;
                    retired.push((trunk.connection.clone(), reason));
                }
            }
            if !outlived.is_empty() {
                shelf.learn(&self.config, |learned| {
                    outlived.iter().for_each(|(before, now)| learned.alive_at(*before, *now));
                });
            }
        }
        retired.into_iter().for_each(|(connection, reason)| connection.retire(reason));
    }

    /// Makes way for another connection by ending the one that has been idle for longest, of this site or of any. Its place
    /// is free once its task has seen to that.
    pub(crate) fn retire_idle(&self, of: Option<&Site>) -> bool {
        let oldest = {
            let mut state = self.lock();
            let trunks = state.shelves.iter_mut().filter(|(site, _)| of.is_none_or(|of| of == *site));
            let idle = trunks.flat_map(|(_, shelf)| &mut shelf.trunks).filter(|trunk| trunk.is_idle());
            idle.min_by_key(|trunk| trunk.idle_since).map(|trunk| {
                trunk.is_going = true;
                trunk.connection.clone()
            })
        };
        if let Some(connection) = &oldest {
            connection.retire(CloseReason::Evicted);
        }
        oldest.is_some()
    }

    /// No connection takes a further stream.
    pub(crate) fn retire_all(&self, reason: CloseReason) {
        let mut all = Vec::new();
        for shelf in self.lock().shelves.values_mut() {
            for trunk in shelf.trunks.iter_mut().filter(|trunk| !trunk.is_going) {
                trunk.is_going = true;
                all.push(trunk.connection.clone());
            }
        }
        all.into_iter().for_each(|connection| connection.retire(reason));
    }

    /// How many streams a connection carries at most, as far as we are concerned.
    pub(crate) fn max_streams(&self) -> usize {
        self.config.connection.http2.max_concurrent_streams.max(1) as usize
    }
}
