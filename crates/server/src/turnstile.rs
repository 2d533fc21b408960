//! Whose turn it is: requests that come while many are in hand let everything else that is ready go first.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sheave_net::per_runtime::PerRuntime;
use tokio::task::yield_now;

/// So many exchanges begin without another one's end before the next request waits.
const MANY: u32 = 64;

/// How many of those who wait come in at a time. An exchange takes its task two turns, and the runtime asks the kernel what
/// else is ready after 61 of them.
const ROUND: usize = 32;

thread_local! {
    /// How many more exchanges have begun than ended on this thread since the last round.
    static IN_HAND: Cell<u32> = const { Cell::new(0) };
    static QUEUE: PerRuntime<Queue> = const { PerRuntime::new() };
}

/// Connections with a request that has not been read yet.
///
/// A thread that has more to do than time takes what is ready as it comes. Were new requests among that, every client would
/// have an exchange under way, each with a connection to an origin, and most of them would wait for nobody but this thread;
/// by the time that one of them is looked at again, it has left the cache. So while [`MANY`] are in hand a request waits in
/// the kernel until whatever is ready has had its turn. Then a round of them comes in, whether or not an exchange has ended:
/// this is an order and no bound, and slow origins keep nobody waiting.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Waker>>,
    /// Somebody waits, and a task lets them in.
    is_turning: AtomicBool,
}

/// What a connection remembers of it while it waits for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    has_waited: bool,
}

impl Ticket {
    pub(crate) const fn new() -> Self {
        Self { has_waited: false }
    }

    /// Ready when the connection may look whether a request has come. It is woken for that, and whatever else wakes it
    /// meanwhile will do.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.has_waited) || !is_crowded() {
            return Poll::Ready(());
        }
        let Some(queue) = PerRuntime::here(&QUEUE, Queue::default) else { return Poll::Ready(()) };
        queue.waiting().push_back(cx.waker().clone());
        if !queue.is_turning.swap(true, Ordering::Relaxed) {
            tokio::spawn(turn(queue));
        }
        self.has_waited = true;
        Poll::Pending
    }
}

/// An exchange begins.
pub(crate) fn begin() {
    IN_HAND.set(IN_HAND.get().saturating_add(1));
}

/// An exchange is over. Those that end on another thread than they began on, or are dropped, are forgotten by the next round.
pub(crate) fn end() {
    IN_HAND.set(IN_HAND.get().saturating_sub(1));
}

fn is_crowded() -> bool {
    let is_turning = |queue: &Queue| queue.is_turning.load(Ordering::Relaxed);
    IN_HAND.get() >= MANY || PerRuntime::peek(&QUEUE, is_turning).unwrap_or(false)
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets those who wait come in, until nobody does.
async fn turn(queue: Arc<Queue>) {
    let mut round = Vec::with_capacity(ROUND);
    loop {
        // The runtime comes back to whoever yields when it has asked the kernel what else is ready.
        yield_now().await;
        let is_last = {
            let mut waiting = queue.waiting();
            let count = waiting.len().min(ROUND);
            round.extend(waiting.drain(..count));
            let is_last = waiting.is_empty();
            if is_last {
                waiting.shrink_to(ROUND);
                queue.is_turning.store(false, Ordering::Relaxed);
            }
            is_last
        };
        IN_HAND.set(0);
        round.drain(..).for_each(Waker::wake);
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::runtime::Handle;
    use tokio::sync::Barrier;
    use tokio::task::JoinSet;

    use super::*;

    #[derive(Default)]
    struct Tally {
        in_hand: AtomicUsize,
        most: AtomicUsize,
        waited: AtomicUsize,
    }

    /// One request after the other, each of which is answered by what `origin` waits for.
    async fn client<F: Future<Output = ()>>(tally: Arc<Tally>, requests: usize, origin: impl Fn() -> F) {
        let mut ticket = Ticket::new();
        for _ in 0..requests {
            // It has slept until its request came.
            yield_now().await;
            poll_fn(|cx| {
                let polled = ticket.poll(cx);
                tally.waited.fetch_add(usize::from(polled.is_pending()), Ordering::Relaxed);
                polled
            })
            .await;
            begin();
            tally.most.fetch_max(1 + tally.in_hand.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            origin().await;
            tally.in_hand.fetch_sub(1, Ordering::Relaxed);
            end();
        }
    }

    /// What came of many clients at once on a runtime of one thread.
    fn crowd<F>(clients: usize, requests: usize, origin: impl Fn() -> F + Clone + Send + 'static) -> Arc<Tally>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tally = Arc::<Tally>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..clients {
                tasks.spawn(client(tally.clone(), requests, origin.clone()));
            }
            tasks.join_all().await;
            yield_now().await;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "the last one shuts the door");
        });
        tally
    }

    #[test]
    fn what_is_begun_ends_before_many_more_begin() {
        // An origin that has answered when the kernel is asked next.
        let tally = crowd(1000, 5, yield_now);
        let most = tally.most.load(Ordering::Relaxed);
        assert!(most <= MANY as usize + 2 * ROUND, "{most} were in hand at once");
    }

    #[test]
    fn slow_origins_keep_nobody_waiting() {
        // It answers nobody until all have asked.
        let barrier = Arc::new(Barrier::new(1000));
        let tally = crowd(1000, 2, move || {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
            }
        });
        assert_eq!(tally.most.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn nobody_waits_where_few_are_in_hand() {
        let at_once = crowd(1000, 5, || std::future::ready(()));
        let few = crowd(MANY as usize, 5, yield_now);
        for (name, tally) in [("answered at once", at_once), ("few clients", few)] {
            assert_eq!(tally.waited.load(Ordering::Relaxed), 0, "{name}");
        }
    }

    #[test]
    fn a_runtime_that_ended_amid_a_crowd_is_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            for _ in 0..1000 {
                tokio::spawn(client(Arc::default(), 1, std::future::pending::<()>));
            }
            for _ in 0..1000 {
                if PerRuntime::peek(&QUEUE, |_| ()).is_none() {
                    yield_now().await;
                }
            }
            assert!(is_crowded());
        });
        drop(runtime);
        let tally = crowd(1000, 5, yield_now);
        assert!(tally.most.load(Ordering::Relaxed) < 1000);
    }
}
