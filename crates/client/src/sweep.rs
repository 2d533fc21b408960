//! What happens beside requests: dead connections are found, old ones retired, and fresh ones kept ready.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::PoisonError;
use std::time::Duration;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::keep_alive::{Closes, Reuse};
use sheave_lifecycle::time::Time;
use sheave_net::dial::Connect;
use sheave_net::endpoint::Site;
use sheave_net::socket::Socket;
use sheave_proto::keep_alive::KeepAlive;

use crate::followed::Followed;
use crate::parked::{Parked, end, found_dead};
use crate::pool::{Opened, Pool};
use crate::shelves::Shelves;

/// From the end of one sweep to the beginning of the next: with the timer's coarseness, a closed connection stays in
/// CLOSE_WAIT for a tenth of a second at most.
const SWEEP_INTERVAL: Duration = Duration::from_millis(90);

/// Connections that are looked at before requests get their turn: some 30 µs.
const LOOKED_AT_ONCE: usize = 64;

/// A connection that is being opened before anybody asks for it.
struct Opening<'p> {
    site: Site,
    work: Pin<Box<dyn Future<Output = ()> + Send + 'p>>,
}

impl<C: Connect> Pool<C> {
    /// Looks after the pool, again and again. Run it beside the pool, on the same runtime.
    ///
    /// - Parked connections that their origins closed are closed within 100 ms; what their age teaches is learned.
    /// - Those that are too old to be reused are retired, but for one to each address: it shows whether what was learned
    ///   still holds.
    /// - So are those that have lived for long enough, those to addresses that the followed origins have no longer, and those
    ///   from before [what secures them](sheave_net::tls::client::ClientTls::replace) was replaced.
    /// - Where fewer are ready than should be, more are opened.
    /// - Requests that wait for connections of other pools get them.
    ///
    /// Requests pay nothing for it but the processor's time: one system call (`recv` with `MSG_PEEK`, some 400 ns) for each
    /// parked connection and sweep, eleven a second, so that 1,000 parked connections cost half a per cent of a core. It
    /// holds the pool's lock, and the thread, for 64 of them at a time. While nothing is parked, it sleeps.
    ///
    /// # Cancel safety
    /// Dropped, nothing is lost; connections that it is opening are given up.
    pub async fn sweep(&self) {
        let mut openings: Vec<Opening<'_>> = Vec::new();
        loop {
            let is_prewarming = self.shelves.config.prewarm > 0 && !self.known().is_empty();
            self.shelves.until_needed(is_prewarming || !openings.is_empty()).await;
            self.pause(&mut openings).await;
            self.sweep_once().await;
            self.refill(&mut openings);
        }
    }

    /// Waits until it is time, or a place has come free for somebody; meanwhile connections are being opened.
    async fn pause<'p>(&'p self, openings: &mut Vec<Opening<'p>>) {
        let mut time = pin!(tokio::time::sleep(SWEEP_INTERVAL));
        let mut freed = pin!(self.shelves.total().freed());
        poll_fn(|cx| {
            openings.retain_mut(|opening| opening.work.as_mut().poll(cx).is_pending());
            if freed.as_mut().poll(cx).is_ready() {
                self.shelves.serve();
                freed.set(self.shelves.total().freed());
                // Registered again, so that nothing that happens meanwhile stays unheard.
                let _ = freed.as_mut().poll(cx);
            }
            time.as_mut().poll(cx)
        })
        .await;
    }

    #[expect(clippy::mutable_key_type, reason = "sites are compared by what of TLS never changes")]
    async fn sweep_once(&self) {
        let known = self.known();
        let is_gone = |site: &Site| !known.is_empty() && !known.contains(site);
        let sites: Vec<Site> = {
            let now = self.shelves.now();
            let mut state = self.shelves.lock();
            for (site, shelf) in state.shelves.iter_mut() {
                shelf.is_gone = is_gone(site);
                shelf.note_renewal(site, now);
            }
            state
                .shelves
                .iter()
                .filter(|(_, shelf)| !shelf.parked.is_empty() || !shelf.trunks.is_empty())
                .map(|(site, _)| site.clone())
                .collect()
        };
        for site in &sites {
            self.look_at(site).await;
        }
        self.make_way();
        self.shelves.serve();
        self.shelves.lock().forget(self.shelves.context.clock.now());
    }

    /// Where the followed origins are; none where none is followed, or none is known yet.
    #[expect(clippy::mutable_key_type, reason = "sites are compared by what of TLS never changes")]
    fn known(&self) -> HashSet<Site> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.iter_mut().for_each(Followed::refresh);
        followed.iter().flat_map(|origin| origin.sites().iter().cloned()).collect()
    }

    /// Looks at all parked connections to one site.
    async fn look_at(&self, site: &Site) {
        let mut look = Look { next: 0, has_witness: false, closes: Closes::default() };
        loop {
            let now = self.shelves.context.clock.now();
            let ended = self.shelves.look_at_some(site, &mut look, now);
            let count = ended.len();
            for (parked, reason) in ended {
                if !is_ours(reason) {
                    self.shelves.context.observer.found_dead(parked.leg.id(), reason);
                }
                end(parked.leg, reason);
            }
            (0..count).for_each(|_| self.shelves.release(site, false, false));
            if look.next == usize::MAX {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.shelves.note_closes(site, &look.closes);
        self.shelves.look_at_streams(site, self.shelves.context.clock.now());
    }

    /// Closes the oldest parked connections, one for each request that waits, in whichever pool, because the process has no
    /// room.
    fn make_way(&self) {
        for _ in 0..self.shelves.total().shortage() {
            let oldest = {
                let mut state = self.shelves.lock();
                state.oldest().and_then(|site| {
                    let shelf = state.shelves.get_mut(&site)?;
                    Some((shelf.parked.pop_front()?, site))
                })
            };
            let Some((parked, site)) = oldest else {
                self.shelves.retire_idle(None);
                continue;
            };
            end(parked.leg, CloseReason::Evicted);
            self.shelves.release(&site, false, false);
        }
    }

    /// Begins to open connections where fewer are ready than should be.
    fn refill<'p>(&'p self, openings: &mut Vec<Opening<'p>>) {
        let wanted = self.shelves.config.prewarm;
        if wanted == 0 {
            return;
        }
        let now = self.shelves.context.clock.now();
        // Nobody is there on whose behalf a connection could be announced.
        for site in self.known().into_iter().filter(|site| site.manner().announces.is_none()) {
            let ready = self.shelves.lock().shelves.get(&site).map_or(0, |shelf| shelf.usable(now));
            let coming = openings.iter().filter(|opening| opening.site == site).count();
            for _ in ready + coming..wanted {
                let Some(place) = self.shelves.spare_place(&site, now) else { break };
                let work = Box::pin(async move {
                    // Why it failed has been told and noted; the next sweep tries again, when it may.
                    if let Ok(Opened::Http1(leg, place)) = self.open(vec![place]).await {
                        place.park(leg, KeepAlive::default(), None, self.shelves.context.clock.now());
                    }
                });
                openings.push(Opening { site: site.clone(), work });
            }
        }
    }
}

/// How far a look at one site's parked connections has come.
struct Look {
    /// `usize::MAX` at the end.
    next: usize,
    has_witness: bool,
    closes: Closes,
}

impl<S: Socket> Shelves<S> {
    /// Looks at the next parked connections, and takes those off that are at their end. Their places stay counted.
    fn look_at_some(&self, site: &Site, look: &mut Look, now: Time) -> Vec<(Parked<S>, CloseReason)> {
        let mut state = self.lock();
        let Some(shelf) = state.shelves.get_mut(site) else {
            look.next = usize::MAX;
            return Vec::new();
        };
        let (idle, usual) = (self.config.connection.timeouts.idle, shelf.reused_below(Reuse::Usual));
        let is_outdated = shelf.is_outdated();
        let until = shelf.parked.len().min(look.next.saturating_add(LOOKED_AT_ONCE));
        let mut at_end = Vec::new();
        let mut outlived = Vec::new();
        for place in look.next..until {
            let parked = &mut shelf.parked[place];
            let (alive_for, parked_for) = (parked.alive_at.since(parked.since), now.since(parked.since));
            let reason = if let Some(reason) = found_dead(&mut parked.leg) {
                look.closes.note(alive_for, parked_for);
                Some(reason)
            } else {
                parked.alive_at = now;
                if parked_for >= usual {
                    outlived.push((alive_for, parked_for));
                }
                let is_old = self.is_old(&parked.leg, now);
                if is_outdated(parked.leg.opened()) {
                    Some(CloseReason::Retired)
                } else if parked_for >= idle {
                    Some(CloseReason::TimedOut(Timer::Idle))
                } else if is_old {
                    Some(CloseReason::MaxAge)
                } else if parked_for >= usual {
                    // The first that is too old is the witness: nobody is given it, and its end teaches, or that it has
                    // none. Then it is another's turn.
                    let shows = shelf.learned().shows_until().is_some_and(|until| alive_for <= until);
                    let is_witness = shows && !std::mem::replace(&mut look.has_witness, true);
                    (!is_witness).then_some(CloseReason::Retired)
                } else {
                    None
                }
            };
            at_end.extend(reason.map(|reason| (place, reason)));
        }
        if !outlived.is_empty() {
            shelf.learn(&self.config, |learned| {
                outlived.iter().for_each(|(before, now)| learned.alive_at(*before, *now));
            });
        }
        look.next = if until == shelf.parked.len() { usize::MAX } else { until - at_end.len() };
        let mut ended = Vec::with_capacity(at_end.len());
        if !at_end.is_empty() {
            let mut at_end = at_end.into_iter().peekable();
            let kept = std::mem::take(&mut shelf.parked).into_iter().enumerate().filter_map(|(place, parked)| {
                match at_end.next_if(|(next, _)| *next == place) {
                    Some((_, reason)) => {
                        ended.push((parked, reason));
                        None
                    }
                    None => Some(parked),
                }
            });
            shelf.parked = kept.collect();
        }
        ended
    }
}

/// Whether we decided on the end, and not the origin.
const fn is_ours(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Retired | CloseReason::MaxAge | CloseReason::TimedOut(_))
}
