//! The limits that all workers share, and who has a place under them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sheave_lifecycle::limit::{ClientKey, Limit};
use sheave_lifecycle::pace::{FullAt, Pace};
use sheave_lifecycle::time::Time;

/// Limits that count over all workers of a process. Every one is off to begin with.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SharedLimits {
    /// Connections at a time of one client: an IPv4 address, or an IPv6 network of 64 bits. Default: `None`, off.
    ///
    /// Clients behind one address translator are one. Costs a lock when a connection comes and goes, and about 40 bytes for
    /// each client that has one.
    pub max_connections_per_client: Option<NonZeroU32>,
    /// New connections a second, with one second's worth of them at once. Default: `None`, off.
    pub accept_rate: Option<NonZeroU32>,
    /// Exchanges at a time. Default: `None`, off. Costs one number that all workers share and change twice a request.
    pub max_exchanges: Option<NonZeroU32>,
}

/// Who has a place under the limits that all workers share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Admission(Arc<State>);

#[derive(Debug)]
struct State {
    limits: SharedLimits,
    pace: Option<Pace>,
    bucket: AtomicU64,
    clients: Mutex<HashMap<ClientKey, u32>>,
    exchanges: AtomicU32,
}

impl Admission {
    /// Nobody has a place yet.
    pub fn new(limits: SharedLimits) -> Self {
        Self(Arc::new(State {
            limits,
            pace: limits.accept_rate.map(Pace::per_second),
            bucket: AtomicU64::default(),
            clients: Mutex::default(),
            exchanges: AtomicU32::default(),
        }))
    }

    /// A place for one more connection of `client`.
    ///
    /// # Errors
    /// The limit that it would exceed.
    pub(crate) fn connection_of(&self, client: Option<IpAddr>) -> Result<ClientPlace, Limit> {
        let (Some(max), Some(client)) = (self.0.limits.max_connections_per_client, client) else {
            return Ok(ClientPlace::none());
        };
        let key = ClientKey::of(client);
        let mut clients = self.0.clients();
        let count = clients.entry(key).or_default();
        if *count >= max.get() {
            return Err(Limit::ConnectionsPerClient);
        }
        *count += 1;
        drop(clients);
        Ok(ClientPlace(Some(Box::new((Arc::clone(&self.0), key)))))
    }

    /// Takes one of this second's new connections.
    ///
    /// # Errors
    /// When there will be one.
    pub(crate) fn new_connection(&self, now: Time) -> Result<(), Time> {
        let Some(pace) = self.0.pace else { return Ok(()) };
        let mut bucket = self.0.bucket.load(Ordering::Relaxed);
        loop {
            let after = pace.take(FullAt(bucket), now)?.0;
            match self.0.bucket.compare_exchange_weak(bucket, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => bucket = changed,
            }
        }
    }

    /// A place for one more exchange; `None` when there is none.
    pub(crate) fn exchange(&self) -> Option<ExchangePlace<'_>> {
        let Some(max) = self.0.limits.max_exchanges else { return Some(ExchangePlace(None)) };
        if self.0.exchanges.fetch_add(1, Ordering::AcqRel) >= max.get() {
            self.0.exchanges.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(ExchangePlace(Some(&self.0)))
    }
}

impl State {
    fn clients(&self) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place for a connection, given back when this is dropped. In a box, as every connection has room for one, and
/// most have none.
#[derive(Debug)]
pub(crate) struct ClientPlace(Option<Box<(Arc<State>, ClientKey)>>);

impl ClientPlace {
    /// No place, of nobody.
    pub(crate) const fn none() -> Self {
        Self(None)
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let Some(place) = self.0.take() else { return };
        let (state, key) = *place;
        if let Entry::Occupied(mut client) = state.clients().entry(key) {
            match client.get().checked_sub(1) {
                None | Some(0) => drop(client.remove()),
                Some(left) => *client.get_mut() = left,
            }
        }
    }
}

/// An exchange's place, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct ExchangePlace<'a>(Option<&'a State>);

impl Drop for ExchangePlace<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.0 {
            state.exchanges.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_client_has_its_own_places_and_they_are_given_back() {
        let limits = SharedLimits { max_connections_per_client: NonZeroU32::new(2), ..SharedLimits::default() };
        let admission = Admission::new(limits);
        let worker = admission.clone();
        let one = admission.connection_of(client("192.0.2.1")).unwrap();
        let two = worker.connection_of(client("::ffff:192.0.2.1")).unwrap();
        assert_eq!(admission.connection_of(client("192.0.2.1")).err(), Some(Limit::ConnectionsPerClient));
        let _other = admission.connection_of(client("192.0.2.2")).unwrap();
        let _network = admission.connection_of(client("2001:db8::1")).unwrap();
        let _same = admission.connection_of(client("2001:db8::2")).unwrap();
        assert!(admission.connection_of(client("2001:db8::3")).is_err());
        let _nameless = admission.connection_of(None).unwrap();
        drop(one);
        let _again = worker.connection_of(client("192.0.2.1")).unwrap();
        drop((two, _again));
        assert_eq!(admission.0.clients().len(), 2, "who has no connection takes no memory");
    }

    #[test]
    fn exchanges_and_new_connections_are_counted_over_all_workers() {
        let limits = SharedLimits {
            max_exchanges: NonZeroU32::new(2),
            accept_rate: NonZeroU32::new(2),
            ..SharedLimits::default()
        };
        let admission = Admission::new(limits);
        let worker = admission.clone();
        let one = admission.exchange();
        let two = worker.exchange();
        assert!(one.is_some() && two.is_some() && admission.exchange().is_none() && worker.exchange().is_none());
        drop(one);
        assert!(worker.exchange().is_some());
        let half = Time::from_micros(500_000);
        assert_eq!(admission.new_connection(Time::ZERO), Ok(()));
        assert_eq!(worker.new_connection(Time::ZERO), Ok(()));
        assert_eq!(admission.new_connection(Time::ZERO), Err(half));
        assert_eq!(admission.new_connection(half), Ok(()));
    }

    #[test]
    fn without_limits_there_is_always_a_place() {
        let admission = Admission::new(SharedLimits::default());
        let places: Vec<_> =
            (0..1000).map(|_| (admission.connection_of(client("::1")), admission.exchange())).collect();
        assert!(places.iter().all(|(connection, exchange)| connection.is_ok() && exchange.is_some()));
        assert_eq!(admission.new_connection(Time::ZERO), Ok(()));
        assert!(admission.0.clients().is_empty());
    }
}
