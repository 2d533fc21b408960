//! What an origin's keep-alive time is, as far as it was told or seen, and up to which age a parked connection is safe.

use std::fmt;
use std::time::Duration;

/// How a pool uses what it learns of keep-alive times.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KeepAlivePolicy {
    /// The share of the learned time up to which a parked connection is reused. Default: 0.8.
    ///
    /// The rest is for the way to the origin and for its timer's coarseness: a request must arrive before the origin has
    /// decided to close.
    pub safe_share: f64,
    /// What is taken off beyond the share, where the learned time is longer than four times that. Default: 500 ms.
    pub margin: Duration,
    /// What requests that cannot be sent again are given. Default: a connection parked for much less.
    pub careful: Careful,
    /// The share for such requests, under [`Careful::Younger`]. Default: 0.4.
    pub careful_share: f64,
    /// Up to which age such a request takes a parked connection while nothing has been learned. Default: 1 s.
    pub careful_age: Duration,
    /// Below which age a parked connection is reused whatever was seen. Default: 5 ms.
    ///
    /// An origin that restarts closes connections that are as good as in use; to open new ones for every request until
    /// that is refuted would cost more than it saves. No origin that is not broken closes so soon.
    pub always_below: Duration,
    /// Whether anything is learned at all. Default: true. Without it, connections are reused up to the pool's own bound,
    /// and the check before reuse is all there is against the race: to show what the rest is for.
    pub learns: bool,
}

impl KeepAlivePolicy {
    /// No protection but the check before reuse: nothing is learned, and every request is given what all are.
    pub fn unprotected() -> Self {
        Self { learns: false, careful: Careful::LikeOthers, ..Self::default() }
    }
}

impl Default for KeepAlivePolicy {
    fn default() -> Self {
        Self {
            safe_share: 0.8,
            margin: Duration::from_millis(500),
            careful: Careful::default(),
            careful_share: 0.4,
            careful_age: Duration::from_secs(1),
            always_below: Duration::from_millis(5),
            learns: true,
        }
    }
}

/// What a request is given that is neither safe nor idempotent, so that it cannot be sent again when its connection
/// turns out to be closing. RFC 9110 §9.2.2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Careful {
    /// A connection that was parked for much less than the origin's keep-alive time, or a fresh one.
    #[default]
    Younger,
    /// Always a fresh connection: one more round trip for each such request, and no race at all.
    AlwaysFresh,
    /// What every other request is given.
    LikeOthers,
}

/// Which parked connections a request may be given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reuse {
    /// Any that is safe by what was learned.
    Usual,
    /// As [`KeepAlivePolicy::careful`] says: the request is neither safe nor idempotent.
    Careful,
    /// None: the request is sent again, and takes no second chance.
    Never,
}

/// Lessons that are kept apart: a stray close (a restart) hides an origin's timer no longer than until it is refuted.
const MAX_LESSONS: usize = 3;

/// Connections that must have outlived a lesson in a row before it is forgotten, at most.
const MAX_SURVIVALS: u32 = 8;

/// How often connections are looked at bounds how sharp a lesson is; beyond that, a connection has outlived it.
const BLUR: Duration = Duration::from_millis(200);

/// One age at which the origin was seen to close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lesson {
    /// The connection was alive then.
    alive: Duration,
    /// And gone by then.
    gone: Duration,
    times: u32,
    outlived: u32,
}

impl Lesson {
    /// From which age on a connection that lives has outlived it.
    fn edge(&self) -> Duration {
        beyond(self.gone)
    }

    /// Below which age it says that a connection is safe.
    ///
    /// The close came between two looks, so the bound is a share of the later moment, and, as the close may have come
    /// just after the earlier one, no more than a share of that which leaves half as much.
    fn reused_below(&self, share: f64, policy: &KeepAlivePolicy) -> Duration {
        let by_alive = self.alive.mul_f64(0.5 + share / 2.0);
        less_margin(self.gone, share, policy.margin).min(by_alive).max(policy.always_below)
    }
}

/// Well beyond an age, however it was measured.
fn beyond(age: Duration) -> Duration {
    age + age / 8 + BLUR
}

/// What is known of one origin's keep-alive time.
///
/// The smallest time counts: an origin behind a name may be several servers, and the shortest-lived decides. Each age at
/// which it was seen to close is a lesson; one that proves wrong, because connections outlive it, is forgotten after as
/// many of them in a row as there were closes, eight at most. So a restart is forgotten with the first connection that
/// outlives it, and a timer that was seen often is not forgotten for a stray.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Learned {
    told: Option<Duration>,
    /// The shortest first.
    lessons: [Option<Lesson>; MAX_LESSONS],
}

impl Learned {
    /// The origin announced it: `Keep-Alive: timeout=`. The last word counts.
    pub fn told(&mut self, timeout: Duration) {
        self.told = Some(timeout);
    }

    /// What the origin announced last.
    pub fn as_told(&self) -> Option<Duration> {
        self.told
    }

    /// The origin closed a connection that was alive when it had been parked for `alive`, and gone when for `gone`.
    pub fn closed_between(&mut self, alive: Duration, gone: Duration) {
        let alive = alive.min(gone);
        let is_near = |lesson: &&mut Lesson| gone <= lesson.edge() && beyond(gone) >= lesson.gone;
        if let Some(lesson) = self.lessons.iter_mut().flatten().find(is_near) {
            lesson.alive = lesson.alive.min(alive);
            lesson.gone = lesson.gone.min(gone);
            lesson.times = lesson.times.saturating_add(1);
            lesson.outlived = 0;
        } else {
            let new = Lesson { alive, gone, times: 1, outlived: 0 };
            let weakest = |place: &usize| self.lessons[*place].map_or(0, |lesson| lesson.times);
            if let Some(place) = (0..MAX_LESSONS).min_by_key(weakest) {
                self.lessons[place] = Some(new);
            }
        }
        self.lessons.sort_unstable_by_key(|lesson| lesson.map_or(Duration::MAX, |lesson| lesson.gone));
    }

    /// A connection that was alive after it had been parked for `before` still was after `now`.
    ///
    /// Each connection outlives a lesson once: in the look in which it crosses its edge.
    pub fn alive_at(&mut self, before: Duration, now: Duration) {
        for place in &mut self.lessons {
            let Some(lesson) = place else { break };
            if before <= lesson.edge() && lesson.edge() < now {
                lesson.outlived += 1;
                if lesson.outlived >= lesson.times.min(MAX_SURVIVALS) {
                    *place = None;
                }
            }
        }
        self.lessons.sort_unstable_by_key(|lesson| lesson.map_or(Duration::MAX, |lesson| lesson.gone));
    }

    /// The smallest keep-alive time that is known; `None` while nothing is.
    pub fn keep_alive(&self) -> Option<Duration> {
        let seen = self.lessons[0].map(|lesson| lesson.gone);
        match (self.told, seen) {
            (Some(told), Some(seen)) => Some(told.min(seen)),
            (told, seen) => told.or(seen),
        }
    }

    /// How often the origin was seen to close at the smallest age.
    pub fn times_seen(&self) -> u32 {
        self.lessons[0].map_or(0, |lesson| lesson.times)
    }

    /// Up to which age a connection that is not reused any more shows whether what is known still holds; `None` while
    /// nothing is.
    pub fn shows_until(&self) -> Option<Duration> {
        self.keep_alive().map(beyond)
    }

    /// Below which age a parked connection is reused, never above `idle`, the pool's own bound.
    pub fn reused_below(&self, policy: &KeepAlivePolicy, idle: Duration, reuse: Reuse) -> Duration {
        let is_younger = match (reuse, policy.careful) {
            (Reuse::Never, _) | (Reuse::Careful, Careful::AlwaysFresh) => return Duration::ZERO,
            (Reuse::Careful, Careful::Younger) => true,
            (Reuse::Usual, _) | (Reuse::Careful, Careful::LikeOthers) => false,
        };
        let share = if is_younger { policy.careful_share } else { policy.safe_share }.clamp(0.0, 1.0);
        let seen = self.lessons.iter().flatten().map(|lesson| lesson.reused_below(share, policy));
        let told = self.told.map(|told| less_margin(told, share, policy.margin));
        let by_none = if is_younger { policy.careful_age } else { idle };
        if !policy.learns {
            return by_none.min(idle);
        }
        seen.chain(told).min().unwrap_or(by_none).min(idle)
    }

    /// Adds what somebody else learned of the same origin.
    pub fn merge(&mut self, other: &Self) {
        self.told = match (self.told, other.told) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        for lesson in other.lessons.iter().flatten() {
            self.closed_between(lesson.alive, lesson.gone);
            let is_it = |mine: &&mut Lesson| mine.gone <= lesson.gone && lesson.gone <= mine.edge();
            if let Some(mine) = self.lessons.iter_mut().flatten().find(is_it) {
                mine.times = mine.times.saturating_add(lesson.times - 1);
            }
        }
    }
}

/// How many more requests an origin takes on a connection: it took `before` until now, has answered one of them, and says
/// `told` (`Keep-Alive: max=`). `None` is what is not known, and bounds nothing.
pub fn requests_left(before: Option<u64>, told: Option<u64>) -> Option<u64> {
    let counted = before.map(|before| before.saturating_sub(1));
    match (counted, told) {
        (Some(counted), Some(told)) => Some(counted.min(told)),
        (counted, told) => counted.or(told),
    }
}

/// Whether a connection is worth parking on which the origin takes so many more requests. One is none: some origins count
/// the request that they are answering.
pub fn is_worth_parking(left: Option<u64>) -> bool {
    left.is_none_or(|left| left > 1)
}

/// A share of a time, less a margin where that is a small part of it.
fn less_margin(time: Duration, share: f64, margin: Duration) -> Duration {
    let by_share = time.mul_f64(share);
    if time > margin * 4 { by_share.min(time.saturating_sub(margin)) } else { by_share }
}

/// `closes at 5.0 s (seen 37 times)`, `closes at 5.0 s (as it says)`, `has not closed yet`.
impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(keep_alive) = self.keep_alive() else { return f.write_str("has not closed yet") };
        write!(f, "closes at {:.1} s", keep_alive.as_secs_f64())?;
        match self.times_seen() {
            _ if self.told == Some(keep_alive) => f.write_str(" (as it says)"),
            1 => f.write_str(" (seen once)"),
            times => write!(f, " (seen {times} times)"),
        }
    }
}

/// The closes that one look at an origin's parked connections found.
///
/// A keep-alive timer closes each connection at the same age; whoever ends them all in one moment, whatever their age,
/// has restarted, and says nothing of the next one's life.
#[derive(Clone, Copy, Default, Debug)]
pub struct Closes {
    /// The smallest age at which one was alive, and the smallest and the largest at which one was gone.
    ages: Option<(Duration, Duration, Duration)>,
}

impl Closes {
    /// A connection that was alive when it had been parked for `alive` was gone when for `gone`.
    pub fn note(&mut self, alive: Duration, gone: Duration) {
        self.ages = Some(match self.ages {
            None => (alive, gone, gone),
            Some((smallest, first, last)) => (smallest.min(alive), first.min(gone), last.max(gone)),
        });
    }

    /// What they teach, if anything: alive then, and gone by then.
    pub fn lesson(&self) -> Option<(Duration, Duration)> {
        let (alive, first, last) = self.ages?;
        (last <= beyond(first)).then_some((alive, first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A close that was looked for all the time.
    fn closed_at(learned: &mut Learned, age: Duration) {
        learned.closed_between(age, age);
    }

    fn below(learned: &Learned, idle: u64, reuse: Reuse) -> Duration {
        learned.reused_below(&KeepAlivePolicy::default(), s(idle), reuse)
    }

    #[test]
    fn the_smallest_of_told_and_seen_counts() {
        let mut learned = Learned::default();
        assert_eq!(learned.to_string(), "has not closed yet");
        assert_eq!([below(&learned, 30, Reuse::Usual), below(&learned, 30, Reuse::Careful)], [s(30), s(1)]);
        closed_at(&mut learned, s(5));
        assert_eq!(learned.to_string(), "closes at 5.0 s (seen once)");
        closed_at(&mut learned, ms(5100));
        assert_eq!((learned.keep_alive(), learned.to_string()), (Some(s(5)), "closes at 5.0 s (seen 2 times)".into()));
        assert_eq!([below(&learned, 30, Reuse::Usual), below(&learned, 30, Reuse::Careful)], [s(4), s(2)]);
        assert_eq!(below(&learned, 3, Reuse::Usual), s(3), "never above the pool's own bound");
        learned.told(s(2));
        assert_eq!(learned.to_string(), "closes at 2.0 s (as it says)");
        learned.told(s(60));
        assert_eq!((learned.keep_alive(), learned.as_told()), (Some(s(5)), Some(s(60))));
    }

    #[test]
    fn what_requests_may_take_is_a_table() {
        use Careful::{AlwaysFresh, LikeOthers, Younger};
        for (careful, reuse, unlearned, learned_five) in [
            (Younger, Reuse::Usual, s(30), s(4)),
            (Younger, Reuse::Careful, s(1), s(2)),
            (Younger, Reuse::Never, s(0), s(0)),
            (AlwaysFresh, Reuse::Usual, s(30), s(4)),
            (AlwaysFresh, Reuse::Careful, s(0), s(0)),
            (LikeOthers, Reuse::Usual, s(30), s(4)),
            (LikeOthers, Reuse::Careful, s(30), s(4)),
            (LikeOthers, Reuse::Never, s(0), s(0)),
        ] {
            let policy = KeepAlivePolicy { careful, ..KeepAlivePolicy::default() };
            let mut learned = Learned::default();
            assert_eq!(learned.reused_below(&policy, s(30), reuse), unlearned, "{careful:?} {reuse:?}");
            learned.told(s(5));
            assert_eq!(learned.reused_below(&policy, s(30), reuse), learned_five, "{careful:?} {reuse:?}");
        }
    }

    #[test]
    fn the_margin_counts_where_it_is_a_small_part() {
        let policy = KeepAlivePolicy { safe_share: 0.99, ..KeepAlivePolicy::default() };
        let mut learned = Learned::default();
        for (told, reused_below) in [(s(5), ms(4500)), (ms(100), ms(99)), (s(0), s(0))] {
            learned.told(told);
            assert_eq!(learned.reused_below(&policy, s(30), Reuse::Usual), reused_below, "{told:?}");
        }
    }

    #[test]
    fn a_close_between_two_looks_bounds_by_the_earlier_one() {
        for (alive, gone, reused_below) in [
            (ms(4950), ms(5040), ms(4032)),
            // It may have closed at 201 ms.
            (ms(200), ms(290), ms(180)),
            (ms(90), ms(180), ms(81)),
            // Nothing is known but that it was over with the first look: only what is as good as in use is reused.
            (ms(0), ms(80), ms(5)),
            (ms(0), ms(1), ms(5)),
        ] {
            let mut learned = Learned::default();
            learned.closed_between(alive, gone);
            assert_eq!(below(&learned, 30, Reuse::Usual), reused_below, "{alive:?} {gone:?}");
        }
    }

    #[test]
    fn a_wrong_lesson_is_forgotten_slowly_and_a_right_one_is_not() {
        let mut learned = Learned::default();
        (0..20).for_each(|_| closed_at(&mut learned, s(1)));
        for _ in 0..7 {
            learned.alive_at(s(1), s(20));
        }
        closed_at(&mut learned, s(1));
        assert_eq!(learned.keep_alive(), Some(s(1)), "a close in between starts the count anew");
        for _ in 0..7 {
            learned.alive_at(s(1), s(20));
            learned.alive_at(s(20), s(25));
            learned.alive_at(ms(500), ms(1300));
        }
        assert_eq!(learned.keep_alive(), Some(s(1)), "a connection counts once, and when it is well beyond");
        learned.alive_at(s(1), s(20));
        assert_eq!(learned.keep_alive(), None);
    }

    #[test]
    fn a_restart_is_refuted_by_the_first_that_outlives_it() {
        let mut learned = Learned::default();
        learned.closed_between(s(0), ms(40));
        assert_eq!((learned.keep_alive(), below(&learned, 30, Reuse::Usual)), (Some(ms(40)), ms(5)));
        assert_eq!(learned.shows_until(), Some(ms(245)));
        learned.alive_at(ms(100), ms(200));
        assert_eq!(learned.times_seen(), 1, "not beyond doubt yet");
        learned.alive_at(ms(200), ms(290));
        assert_eq!((learned.keep_alive(), below(&learned, 30, Reuse::Usual)), (None, s(30)));
    }

    #[test]
    fn without_learning_the_pool_s_bound_is_all_there_is() {
        let mut learned = Learned::default();
        learned.told(s(5));
        closed_at(&mut learned, s(2));
        let none = KeepAlivePolicy::unprotected();
        assert_eq!([Reuse::Usual, Reuse::Careful].map(|reuse| learned.reused_below(&none, s(30), reuse)), [s(30); 2]);
        assert_eq!(learned.reused_below(&none, s(30), Reuse::Never), s(0));
    }

    #[test]
    fn a_restart_hides_the_timer_until_a_connection_outlives_it() {
        let mut learned = Learned::default();
        (0..9).for_each(|_| closed_at(&mut learned, s(5)));
        learned.closed_between(ms(1950), ms(2040));
        assert_eq!(learned.to_string(), "closes at 2.0 s (seen once)");
        learned.alive_at(s(2), ms(2490));
        assert_eq!(learned.times_seen(), 1, "not beyond doubt yet");
        learned.alive_at(ms(2490), ms(2580));
        assert_eq!(learned.to_string(), "closes at 5.0 s (seen 9 times)", "what was known before is known still");
        for age in [s(1), s(2), s(3)] {
            closed_at(&mut learned, age);
        }
        closed_at(&mut learned, s(5));
        learned.alive_at(s(0), ms(4900));
        assert_eq!(learned.to_string(), "closes at 5.0 s (seen 10 times)", "strays push each other out, not the timer");
    }

    #[test]
    fn what_two_learned_adds_up() {
        let (mut one, mut other) = (Learned::default(), Learned::default());
        (0..3).for_each(|_| closed_at(&mut one, s(5)));
        (0..4).for_each(|_| closed_at(&mut other, ms(5050)));
        other.told(s(60));
        one.merge(&other);
        assert_eq!((one.to_string(), one.as_told()), ("closes at 5.0 s (seen 7 times)".to_owned(), Some(s(60))));
        let mut none = Learned::default();
        none.merge(&one);
        assert_eq!(none, one);
    }

    #[test]
    fn requests_that_are_left_count_down() {
        for (before, told, left, is_worth) in [
            (None, None, None, true),
            (None, Some(100), Some(100), true),
            (Some(100), None, Some(99), true),
            (Some(100), Some(99), Some(99), true),
            (Some(100), Some(100), Some(99), true),
            (Some(100), Some(7), Some(7), true),
            (Some(3), None, Some(2), true),
            (Some(2), None, Some(1), false),
            (None, Some(1), Some(1), false),
            (None, Some(0), Some(0), false),
            (Some(0), Some(5), Some(0), false),
        ] {
            assert_eq!(requests_left(before, told), left, "{before:?} {told:?}");
            assert_eq!(is_worth_parking(left), is_worth, "{left:?}");
        }
    }

    #[test]
    fn ages_that_differ_in_one_look_are_a_restart() {
        for (closes, lesson) in [
            (&[][..], None),
            (&[(4950, 5040)], Some((4950, 5040))),
            (&[(4950, 5040), (4990, 5080), (4910, 5000)], Some((4910, 5000))),
            (&[(4950, 5040), (10, 100)], None),
            (&[(0, 3), (40, 130)], Some((0, 3))),
        ] {
            let mut found = Closes::default();
            closes.iter().for_each(|(alive, gone)| found.note(ms(*alive), ms(*gone)));
            assert_eq!(found.lesson(), lesson.map(|(alive, gone)| (ms(alive), ms(gone))), "{closes:?}");
        }
    }
}
