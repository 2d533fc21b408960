//! Many futures in one task, each with a waker of its own: a round polls those that were woken, each of them once.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How much room for members an idle connection keeps.
const KEPT_PLACES: usize = 4;

/// Futures that share a task with one more thing, their host, which has a waker as they have.
///
/// Whoever is woken while the task is at work is on its list; the task itself is woken only when it sleeps. So what futures and
/// host do for each other wakes nobody a second time, and all that came to be ready at once is done in one turn.
///
/// Dropping it drops the futures.
pub(crate) struct Crew<F> {
    /// By number; none where one has ended.
    members: Vec<Option<Member<F>>>,
    free: Vec<usize>,
    awake: Arc<Awake>,
    host: Waker,
    /// Whose turn it is: empty but for its memory.
    turn: Vec<usize>,
}

struct Member<F> {
    future: Pin<Box<F>>,
    call: Arc<Call>,
    waker: Waker,
}

/// Wakes one member. It may outlast it: then it wakes another one, for nothing.
struct Call {
    number: usize,
    is_woken: AtomicBool,
    awake: Arc<Awake>,
}

/// Who was woken. As a waker it is the host's.
struct Awake(Mutex<State>);

struct State {
    members: Vec<usize>,
    has_host: bool,
    /// The task, while it sleeps.
    sleeper: Option<Waker>,
}

impl Awake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let sleeper = state.sleeper.take();
        // Not under the lock: a waker may be of any make.
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note(|state| state.has_host = true);
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.awake.note(|state| state.members.push(self.number));
        }
    }
}

impl<F: Future> Crew<F> {
    /// Without members. The host is awake.
    pub(crate) fn new() -> Self {
        let state = State { members: Vec::new(), has_host: true, sleeper: None };
        let awake = Arc::new(Awake(Mutex::new(state)));
        let host = Waker::from(awake.clone());
        Self { members: Vec::new(), free: Vec::new(), awake, host, turn: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len() - self.free.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one, which is polled in the next round. It comes in a box, so that room for it is kept only while it is there, and
    /// it is moved only once.
    pub(crate) fn push(&mut self, future: Pin<Box<F>>) {
        let number = self.free.pop().unwrap_or(self.members.len());
        let call = Arc::new(Call { number, is_woken: AtomicBool::new(true), awake: self.awake.clone() });
        let waker = Waker::from(call.clone());
        let member = Some(Member { future, call, waker });
        match self.members.get_mut(number) {
            Some(place) => *place = member,
            None => self.members.push(member),
        }
        self.awake.lock().members.push(number);
    }

    /// What wakes the host.
    pub(crate) fn host(&self) -> &Waker {
        &self.host
    }

    /// Whether the host was woken since this was asked last. The task is at work.
    pub(crate) fn takes_host(&self) -> bool {
        let mut state = self.awake.lock();
        state.sleeper = None;
        mem::take(&mut state.has_host)
    }

    /// Polls those that were woken, and shows `ended` what came out of those that are done.
    pub(crate) fn round(&mut self, mut ended: impl FnMut(F::Output)) {
        mem::swap(&mut self.turn, &mut self.awake.lock().members);
        for number in self.turn.drain(..) {
            let Some(place) = self.members.get_mut(number) else { continue };
            let Some(member) = place else { continue };
            // Before the poll: who is woken in it comes in the next round.
            member.call.is_woken.store(false, Ordering::Release);
            if let Poll::Ready(output) = member.future.as_mut().poll(&mut Context::from_waker(&member.waker)) {
                *place = None;
                self.free.push(number);
                ended(output);
            }
        }
        if self.is_empty() {
            // Where many were, room for many would stay.
            self.members.clear();
            self.free.clear();
            self.members.shrink_to(KEPT_PLACES);
            self.free.shrink_to(KEPT_PLACES);
            self.turn.shrink_to(KEPT_PLACES);
            self.awake.lock().members.shrink_to(KEPT_PLACES);
        }
    }

    /// Whether anybody was woken; otherwise the task is woken by the next who is.
    pub(crate) fn is_awake(&self, task: &Context<'_>) -> bool {
        let mut state = self.awake.lock();
        if state.has_host || !state.members.is_empty() {
            return true;
        }
        state.sleeper = Some(task.waker().clone());
        false
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ready at its third poll, with its waker left where others reach it, and itself woken in each poll.
    fn thrice(wakers: &Mutex<Vec<Waker>>, wakes_itself: bool) -> impl Future<Output = u32> {
        let mut polls = 0;
        poll_fn(move |cx| {
            polls += 1;
            wakers.lock().unwrap().push(cx.waker().clone());
            if wakes_itself {
                cx.waker().wake_by_ref();
            }
            if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
        })
    }

    #[test]
    fn a_round_polls_each_that_was_woken_once_and_the_task_is_woken_only_in_its_sleep() {
        let (count, wakers) = (Arc::new(Count::default()), Mutex::default());
        let waker = Waker::from(count.clone());
        let task = Context::from_waker(&waker);
        let (mut crew, mut done) = (Crew::new(), Vec::new());
        assert!(crew.takes_host() && !crew.takes_host() && crew.is_empty());
        (0..5).for_each(|_| crew.push(Box::pin(thrice(&wakers, true))));
        for left in [5, 5, 0] {
            assert!(crew.is_awake(&task));
            let before = wakers.lock().unwrap().len();
            crew.round(|polls| done.push(polls));
            assert_eq!((crew.len(), wakers.lock().unwrap().len() - before), (left, 5));
        }
        assert_eq!((done.as_slice(), count.0.load(Ordering::Relaxed)), (&[3; 5][..], 0));
        // The last poll of each has woken it; nobody is there any more.
        assert!(crew.is_awake(&task));
        crew.round(|_| panic!("nobody is left"));

        crew.push(Box::pin(thrice(&wakers, false)));
        crew.round(|_| panic!("not yet"));
        assert!(!crew.is_awake(&task), "from here on it sleeps");
        crew.host().wake_by_ref();
        let last = wakers.lock().unwrap().pop().unwrap();
        last.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "woken once");
        assert!(crew.takes_host());
        crew.round(|_| panic!("not yet"));
        last.wake_by_ref();
        last.wake();
        crew.round(|polls| done.push(polls));
        assert_eq!((done.len(), crew.len()), (6, 0));
        assert!(!crew.is_awake(&task));
    }

    #[test]
    fn a_waker_outlives_whom_it_woke_and_places_are_used_again() {
        let wakers = Mutex::default();
        let mut crew = Crew::new();
        (0..9).for_each(|_| crew.push(Box::pin(thrice(&wakers, true))));
        (0..3).for_each(|_| crew.round(|_| ()));
        assert!(crew.is_empty() && crew.members.capacity() <= KEPT_PLACES);
        crew.round(|_| ());
        crew.push(Box::pin(thrice(&wakers, true)));
        let late = mem::take(&mut *wakers.lock().unwrap());
        crew.round(|_| ());
        late.iter().for_each(Waker::wake_by_ref);
        assert_eq!(crew.len(), 1);
        (0..2).for_each(|_| crew.round(|_| ()));
        assert_eq!((crew.len(), crew.members.len()), (0, 0));
    }
}
