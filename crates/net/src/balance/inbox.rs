//! Connections that another worker accepted and handed over, on their way to the worker that serves them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What was handed over and not yet taken. Bounded by what workers accept, who stop at their limit of connections.
#[derive(Debug)]
pub(super) struct Inbox<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    waker: Option<Waker>,
    is_closed: bool,
}

impl<T> Inbox<T> {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State { waiting: VecDeque::new(), waker: None, is_closed: false }))
    }

    /// Hands something over and wakes the worker.
    ///
    /// # Errors
    /// Gives it back when the worker takes nothing any more.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.is_closed {
            return Err(item);
        }
        state.waiting.push_back(item);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// What came first, or the task is woken when something comes.
    pub(super) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state();
        if let Some(item) = state.waiting.pop_front() {
            return Poll::Ready(item);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// What came first, if anything has come.
    pub(super) fn pop(&self) -> Option<T> {
        self.state().waiting.pop_front()
    }

    /// Takes nothing more from now on; what waited is the caller's to pass on.
    pub(super) fn close(&self) -> VecDeque<T> {
        let mut state = self.state();
        state.is_closed = true;
        state.waker = None;
        std::mem::take(&mut state.waiting)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_who_waits_and_gives_back_what_comes_too_late() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let inbox = Inbox::new();
        assert_eq!(inbox.poll_pop(&mut cx), Poll::Pending);
        assert_eq!(inbox.push(1), Ok(()));
        assert_eq!(inbox.push(2), Ok(()));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "once is enough");
        assert_eq!(inbox.poll_pop(&mut cx), Poll::Ready(1));
        assert_eq!(inbox.pop(), Some(2));
        assert_eq!(inbox.pop(), None);
        assert_eq!(inbox.push(3), Ok(()));
        assert_eq!(inbox.close(), [3]);
        assert_eq!(inbox.push(4), Err(4));
    }
}
