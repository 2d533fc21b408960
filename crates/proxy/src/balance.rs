//! Which origin gets the next request, and which are passed over because they just refused.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sheave_client::origin::Origin;
use sheave_lifecycle::time::Time;

use crate::config::Balance;

/// How long an origin that could not be connected to is passed over where there are others.
const PASS_OVER: Duration = Duration::from_secs(1);

/// One of the origins, with what balancing needs to know of it.
pub(crate) struct Member {
    pub(crate) origin: Origin,
    busy: AtomicUsize,
    /// Microseconds; an origin that refused is passed over until then.
    passed_over_until: AtomicU64,
}

/// The origins of a proxy.
pub(crate) struct Balancer {
    members: Vec<Member>,
    policy: Balance,
    turn: AtomicUsize,
}

/// One exchange under way with a member.
pub(crate) struct Turn<'a> {
    pub(crate) member: &'a Member,
    /// Which member it is, to avoid it in another attempt.
    pub(crate) place: usize,
    /// Which of its addresses comes first.
    pub(crate) rotation: usize,
}

impl Balancer {
    pub(crate) fn new(origins: Vec<Origin>, policy: Balance) -> Self {
        let member = |origin| Member { origin, busy: AtomicUsize::new(0), passed_over_until: AtomicU64::new(0) };
        Self { members: origins.into_iter().map(member).collect(), policy, turn: AtomicUsize::new(0) }
    }

    /// Whether there is an origin besides those tried.
    pub(crate) fn has_other(&self, tried: &[usize]) -> bool {
        (0..self.members.len()).any(|place| !tried.contains(&place))
    }

    /// The next origin: one not tried yet where there is one, one that did not just refuse where there is one.
    pub(crate) fn next(&self, tried: &[usize], now: Time) -> Option<Turn<'_>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let in_turn = (0..count).map(|step| (turn % count + step) % count);
        let rank = |place: &usize| {
            let member = &self.members[*place];
            let is_passed_over = member.passed_over_until.load(Ordering::Relaxed) > now.as_micros();
            let busy = match self.policy {
                Balance::RoundRobin => 0,
                Balance::LeastOutstanding => member.busy.load(Ordering::Relaxed),
            };
            (tried.contains(place), is_passed_over, busy)
        };
        // The first of equals wins, so that turns go round.
        let place = in_turn.min_by_key(rank)?;
        let member = &self.members[place];
        member.busy.fetch_add(1, Ordering::Relaxed);
        Some(Turn { member, place, rotation: turn / count })
    }
}

impl Turn<'_> {
    /// The origin could not be connected to.
    pub(crate) fn refused(&self, now: Time) {
        self.member.passed_over_until.store(now.after(PASS_OVER).as_micros(), Ordering::Relaxed);
        self.member.origin.refresh_soon();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.member.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use sheave_client::origin::Origin;

    use super::*;

    fn balancer(count: u16, policy: Balance) -> Balancer {
        let origins = (0..count).map(|port| Origin::at(([127, 0, 0, 1], 9000 + port).into()));
        Balancer::new(origins.collect(), policy)
    }

    fn places(balancer: &Balancer, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| balancer.next(&[], Time::ZERO).map(|turn| turn.place)).collect()
    }

    #[test]
    fn goes_round() {
        assert_eq!(places(&balancer(3, Balance::RoundRobin), 7), [0, 1, 2, 0, 1, 2, 0]);
        assert!(places(&balancer(0, Balance::RoundRobin), 1).is_empty());
    }

    #[test]
    fn passes_over_who_was_tried_and_who_refused_while_there_are_others() {
        let three = balancer(3, Balance::RoundRobin);
        assert_eq!(three.next(&[0], Time::ZERO).map(|turn| turn.place), Some(1));
        let refused = three.next(&[0, 1], Time::ZERO).expect("there are three");
        assert_eq!(refused.place, 2);
        refused.refused(Time::ZERO);
        drop(refused);
        assert!(!places(&three, 6).contains(&2));
        let later = Time::ZERO.after(PASS_OVER);
        let after: Vec<_> = (0..3).filter_map(|_| three.next(&[], later).map(|turn| turn.place)).collect();
        assert!(after.contains(&2), "it gets another chance: {after:?}");
        assert!(three.has_other(&[0, 1]) && !three.has_other(&[0, 1, 2]));
        let one = balancer(1, Balance::RoundRobin);
        one.next(&[], Time::ZERO).expect("there is one").refused(Time::ZERO);
        assert_eq!(places(&one, 2), [0, 0], "the only one is never passed over");
    }

    #[test]
    fn gives_to_whom_has_least() {
        let two = balancer(2, Balance::LeastOutstanding);
        let first = two.next(&[], Time::ZERO).expect("there are two");
        let second = two.next(&[], Time::ZERO).expect("there are two");
        assert_ne!(first.place, second.place);
        let freed = second.place;
        drop(second);
        for _ in 0..3 {
            assert_eq!(two.next(&[], Time::ZERO).map(|turn| turn.place), Some(freed));
        }
    }
}
