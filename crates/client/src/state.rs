//! What the pool's lock guards: the shelves by site, whose turn it is, who makes room, and what is forgotten.

use std::time::Duration;

use sheave_lifecycle::time::Time;
use sheave_net::endpoint::Site;
use sheave_net::socket::Socket;

use crate::by_site::BySite;
use crate::config::ClientConfig;
use crate::parked::Parked;
use crate::shelf::Shelf;

/// How long what was learned of a site outlives its last use.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Of how many sites more than those in use something is remembered.
const MAX_REMEMBERED: usize = 4096;

/// What the lock guards.
pub(crate) struct State<S: Socket> {
    pub(crate) shelves: BySite<Shelf<S>>,
    /// Requests that wait.
    pub(crate) queued: usize,
    pub(crate) next_number: u64,
    pub(crate) is_asleep: bool,
}

impl<S: Socket> State<S> {
    /// Nothing is parked, nobody waits, and nothing is known.
    pub(crate) fn new() -> Self {
        Self { shelves: BySite::default(), queued: 0, next_number: 0, is_asleep: false }
    }

    /// The shelf of a site. A new one pushes out what is known of the site that was unused for longest, where
    /// there are too many.
    pub(crate) fn shelf(&mut self, site: &Site, config: &ClientConfig, now: Time) -> &mut Shelf<S> {
        if self.shelves.len() >= MAX_REMEMBERED && !self.shelves.contains_key(site) {
            let bare = self.shelves.iter().filter(|(_, shelf)| shelf.is_bare());
            if let Some(oldest) = bare.min_by_key(|(_, shelf)| shelf.used).map(|(site, _)| site.clone()) {
                self.shelves.remove(&oldest);
            }
        }
        self.shelves.entry(site.clone()).or_insert_with(|| Shelf::new(site, config, now))
    }

    /// Forgets sites that are gone, or were not used for long.
    pub(crate) fn forget(&mut self, now: Time) {
        let is_kept = |shelf: &Shelf<S>| !shelf.is_gone && now.since(shelf.used) < REMEMBERED_FOR;
        self.shelves.retain(|_, shelf| !shelf.is_bare() || is_kept(shelf));
    }

    /// Takes the place of a parked connection for one to `site`: of the oldest on its own shelf where that is full, of
    /// the oldest on any where the process is.
    pub(crate) fn make_room(&mut self, site: &Site, is_process_full: bool) -> Option<Parked<S>> {
        let from = if is_process_full { self.oldest()? } else { site.clone() };
        let shelf = self.shelves.get_mut(&from)?;
        let oldest = shelf.parked.pop_front()?;
        shelf.live = shelf.live.saturating_sub(1);
        if let Some(shelf) = self.shelves.get_mut(site) {
            shelf.live += 1;
        }
        Some(oldest)
    }

    /// Where the connection stands that has been parked for longest.
    pub(crate) fn oldest(&self) -> Option<Site> {
        let parked = self.shelves.iter().filter_map(|(site, shelf)| Some((shelf.parked.front()?.since, site)));
        parked.min_by_key(|(since, _)| *since).map(|(_, site)| site.clone())
    }

    /// The site at which the one who has waited for longest can perhaps be served.
    pub(crate) fn first_in_turn(&mut self, config: &ClientConfig, stuck: &[Site]) -> Option<Site> {
        let mut first = None;
        for (site, shelf) in self.shelves.iter_mut().filter(|(site, _)| !stuck.contains(site)) {
            while shelf.waiters.front().is_some_and(|waiter| !waiter.is_waiting()) {
                shelf.waiters.pop_front();
            }
            if let Some(waiter) = shelf.waiters.front()
                && (shelf.live < config.max_connections.max(1) || !shelf.parked.is_empty() || shelf.has_stream())
                && first.is_none_or(|(number, _)| waiter.number < number)
            {
                first = Some((waiter.number, site));
            }
        }
        first.map(|(_, site)| site.clone())
    }
}
