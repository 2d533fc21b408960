//! Which origin gets the next request, and which are passed over because they just refused.

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sheave_client::origin::Origin;
use sheave_lifecycle::time::Time;
use sheave_net::socket::Socket;
use sheave_server::exchange::Exchange;

use crate::config::Balance;
use crate::gateway::{Attempts, Gateway, Upstream};

/// How long an origin that could not be connected to is passed over where there are others.
const PASS_OVER: Duration = Duration::from_secs(1);

/// One of the origins, with what balancing needs to know of it.
struct Member {
    origin: Origin,
    busy: AtomicUsize,
    /// Microseconds; an origin that refused is passed over until then.
    passed_over_until: AtomicU64,
}

/// Spreads requests over a list of origins, and passes over for a second who could not be connected to, while there are others.
///
/// It is a [`Gateway`] that does nothing else, the one of `sheave proxy`; another asks it by [`Self::next`].
pub struct Balancer {
    members: Vec<Arc<Member>>,
    policy: Balance,
    turn: AtomicUsize,
}

/// An attempt under way at one of a [`Balancer`]'s origins.
pub struct Turn {
    member: Arc<Member>,
    rotation: usize,
}

impl Balancer {
    /// Balances over `origins`. With none, there is never one to choose.
    pub fn new(origins: Vec<Origin>, policy: Balance) -> Self {
        let member = |origin| Member { origin, busy: AtomicUsize::new(0), passed_over_until: AtomicU64::new(0) };
        Self { members: origins.into_iter().map(member).map(Arc::new).collect(), policy, turn: AtomicUsize::new(0) }
    }

    /// The origins, in their order.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.members.iter().map(|member| &member.origin)
    }

    /// The next origin: one that has not refused this exchange where there is one, one that did not just refuse another where
    /// there is one.
    pub fn next(&self, attempts: Attempts<'_>, now: Time) -> Option<Turn> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let in_turn = (0..count).map(|step| &self.members[(turn % count + step) % count]);
        let rank = |member: &&Arc<Member>| {
            let is_passed_over = member.passed_over_until.load(Ordering::Relaxed) > now.as_micros();
            let busy = match self.policy {
                Balance::RoundRobin => 0,
                Balance::LeastOutstanding => member.busy.load(Ordering::Relaxed),
            };
            (attempts.has_refused(&member.origin), is_passed_over, busy)
        };
        // The first of equals wins, so that turns go round.
        let member = in_turn.min_by_key(rank)?;
        member.busy.fetch_add(1, Ordering::Relaxed);
        Some(Turn { member: member.clone(), rotation: turn / count })
    }
}

impl<S: Socket> Gateway<S> for Balancer {
    type Context = ();
    type Upstream = Turn;

    const HAS_FILTERS: bool = false;

    fn choose_upstream(
        &self,
        exchange: &mut Exchange<'_, S>,
        attempts: Attempts<'_>,
        (): &mut (),
    ) -> impl Future<Output = Option<Turn>> + Send {
        ready(self.next(attempts, exchange.now()))
    }
}

impl Upstream for Turn {
    fn origin(&self) -> &Origin {
        &self.member.origin
    }

    fn rotation(&self) -> usize {
        self.rotation
    }

    fn refused(&self, now: Time) {
        self.member.passed_over_until.store(now.after(PASS_OVER).as_micros(), Ordering::Relaxed);
        self.member.origin.refresh_soon();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.member.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use sheave_client::origin::Origin;

    use super::*;
    use crate::gateway::identity;

    fn balancer(count: u16, policy: Balance) -> Balancer {
        let origins = (0..count).map(|port| Origin::at(([127, 0, 0, 1], 9000 + port).into()));
        Balancer::new(origins.collect(), policy)
    }

    fn next(balancer: &Balancer, refused: &[usize], now: Time) -> Option<Turn> {
        let refused: Vec<usize> = refused.iter().map(|place| identity(&balancer.members[*place].origin)).collect();
        balancer.next(Attempts::new(0, &refused), now)
    }

    fn place(balancer: &Balancer, turn: &Turn) -> usize {
        balancer.members.iter().position(|member| Arc::ptr_eq(member, &turn.member)).expect("is one of them")
    }

    fn places(balancer: &Balancer, count: usize, now: Time) -> Vec<usize> {
        (0..count).filter_map(|_| next(balancer, &[], now).map(|turn| place(balancer, &turn))).collect()
    }

    #[test]
    fn goes_round() {
        assert_eq!(places(&balancer(3, Balance::RoundRobin), 7, Time::ZERO), [0, 1, 2, 0, 1, 2, 0]);
        assert!(places(&balancer(0, Balance::RoundRobin), 1, Time::ZERO).is_empty());
    }

    #[test]
    fn passes_over_who_was_tried_and_who_refused_while_there_are_others() {
        let three = balancer(3, Balance::RoundRobin);
        assert_eq!(next(&three, &[0], Time::ZERO).map(|turn| place(&three, &turn)), Some(1));
        let refused = next(&three, &[0, 1], Time::ZERO).expect("there are three");
        assert_eq!(place(&three, &refused), 2);
        refused.refused(Time::ZERO);
        drop(refused);
        assert!(!places(&three, 6, Time::ZERO).contains(&2));
        let after = places(&three, 3, Time::ZERO.after(PASS_OVER));
        assert!(after.contains(&2), "it gets another chance: {after:?}");
        let one = balancer(1, Balance::RoundRobin);
        next(&one, &[], Time::ZERO).expect("there is one").refused(Time::ZERO);
        assert_eq!(places(&one, 2, Time::ZERO), [0, 0], "the only one is never passed over");
        assert!(next(&one, &[0], Time::ZERO).is_some(), "whether it is asked again is not for it to say");
    }

    #[test]
    fn gives_to_whom_has_least() {
        let two = balancer(2, Balance::LeastOutstanding);
        let first = next(&two, &[], Time::ZERO).expect("there are two");
        let second = next(&two, &[], Time::ZERO).expect("there are two");
        assert!(!Arc::ptr_eq(&first.member, &second.member));
        let freed = place(&two, &second);
        drop(second);
        assert_eq!(places(&two, 3, Time::ZERO), [freed; 3]);
    }
}
