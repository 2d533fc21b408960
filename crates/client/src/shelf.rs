//! What a pool has of one site, and knows of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::backoff::Backoff;
use sheave_lifecycle::keep_alive::{Learned, Reuse};
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::{Announced, Protocols, Site};
use sheave_net::socket::Socket;

use crate::config::ClientConfig;
use crate::error::PoolError;
use crate::parked::Parked;
use crate::streams::Trunk;
use crate::waiter::Waiter;

/// One site.
pub(crate) struct Shelf<S: Socket> {
    /// The youngest last: it is the one least likely to be closed by the origin, and the others may grow old and go.
    pub(crate) parked: VecDeque<Parked<S>>,
    /// Those that speak HTTP/2.
    pub(crate) trunks: Vec<Trunk<S>>,
    /// Parked, busy and being opened.
    pub(crate) live: usize,
    /// Being opened.
    pub(crate) opening: usize,
    /// How many streams a connection carries at a time, as the last one was told.
    pub(crate) width: Option<usize>,
    /// HTTP/1 was the choice of the last connection that had one.
    pub(crate) chose_http1: bool,
    /// The origin refused a request over HTTP/2.
    pub(crate) requires_http1: bool,
    /// Requests that wait for a connection, the first first.
    pub(crate) waiters: VecDeque<Arc<Waiter<S>>>,
    learned: Learned,
    usual_below: Duration,
    careful_below: Duration,
    pub(crate) backoff: Backoff,
    /// Why the last attempt to connect failed, while it backs off.
    pub(crate) failure: Option<PoolError>,
    /// The origins that the pool follows have it no longer.
    pub(crate) is_gone: bool,
    /// How often what secures its connections was replaced, as far as is known, and when that was noticed last.
    renewals: u64,
    renewed: Option<Time>,
    pub(crate) used: Time,
}

impl<S: Socket> Shelf<S> {
    pub(crate) fn new(site: &Site, config: &ClientConfig, now: Time) -> Self {
        let mut shelf = Self {
            parked: VecDeque::new(),
            trunks: Vec::new(),
            live: 0,
            opening: 0,
            width: None,
            chose_http1: false,
            requires_http1: false,
            waiters: VecDeque::new(),
            learned: Learned::default(),
            usual_below: Duration::ZERO,
            careful_below: Duration::ZERO,
            backoff: Backoff::default(),
            failure: None,
            is_gone: false,
            renewals: renewals(site),
            renewed: None,
            used: now,
        };
        shelf.learn(config, |_| {});
        shelf
    }

    /// Looks whether what secures its connections was replaced.
    pub(crate) fn note_renewal(&mut self, site: &Site, now: Time) {
        if self.renewals != renewals(site) {
            (self.renewals, self.renewed) = (renewals(site), Some(now));
        }
    }

    /// Tells of a connection that came to be at such a time whether it leads where nobody wants to go any more, or is
    /// secured as none is any more.
    pub(crate) fn is_outdated(&self) -> impl Fn(Time) -> bool + use<S> {
        let (is_gone, renewed) = (self.is_gone, self.renewed);
        move |opened| is_gone || renewed.is_some_and(|renewed| opened < renewed)
    }

    pub(crate) fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Changes what is known of the origin's keep-alive time. What follows from it is worked out here, once, and not for
    /// each request.
    pub(crate) fn learn(&mut self, config: &ClientConfig, lesson: impl FnOnce(&mut Learned)) {
        lesson(&mut self.learned);
        let idle = config.connection.timeouts.idle;
        self.usual_below = self.learned.reused_below(&config.keep_alive, idle, Reuse::Usual);
        self.careful_below = self.learned.reused_below(&config.keep_alive, idle, Reuse::Careful);
    }

    /// Below which age a parked connection is given to such a request.
    pub(crate) fn reused_below(&self, reuse: Reuse) -> Duration {
        match reuse {
            Reuse::Usual => self.usual_below,
            Reuse::Careful => self.careful_below,
            Reuse::Never => Duration::ZERO,
        }
    }

    /// The youngest parked connection that was made for such a client, if it is young enough for such a request.
    #[inline]
    pub(crate) fn take_youngest(
        &mut self,
        client: Option<&Arc<Announced>>,
        reuse: Reuse,
        now: Time,
    ) -> Option<Parked<S>> {
        let last = self.parked.back()?;
        if client.is_some() || last.client.is_some() {
            return self.take_youngest_for(client, reuse, now);
        }
        let parked_for = now.since(last.since);
        if parked_for < self.reused_below(reuse) { self.parked.pop_back() } else { None }
    }

    #[cold]
    fn take_youngest_for(&mut self, client: Option<&Arc<Announced>>, reuse: Reuse, now: Time) -> Option<Parked<S>> {
        let place = self.parked.iter().rposition(|parked| parked.client.as_ref() == client)?;
        let parked_for = now.since(self.parked[place].since);
        if parked_for < self.reused_below(reuse) { self.parked.remove(place) } else { None }
    }

    /// Connections that a usual request would be given, or a stream of.
    pub(crate) fn usable(&self, now: Time) -> usize {
        let parked = self.parked.iter().rev().take_while(|parked| now.since(parked.since) < self.usual_below).count();
        parked + self.trunks.iter().filter(|trunk| !trunk.is_going).count()
    }

    /// Whether requests can expect to share connections.
    pub(crate) fn multiplexes(&self, site: &Site) -> bool {
        match site.manner().protocols {
            Protocols::Http1 => false,
            Protocols::Http2 => true,
            Protocols::Either => site.manner().is_secured() && !self.chose_http1 && !self.requires_http1,
        }
    }

    /// Whether there is nothing but what is known of it.
    pub(crate) fn is_bare(&self) -> bool {
        self.live == 0 && self.waiters.is_empty()
    }
}

/// How often what secures connections to `site` was replaced.
fn renewals(site: &Site) -> u64 {
    site.manner().tls.as_ref().map_or(0, |secure| secure.client.renewals())
}
