//! One alarm per task, set anew lazily: deadlines move with every exchange, the alarm only when it must.

use std::task::{Context, Poll};

use sheave_lifecycle::time::Time;

use crate::bell::Place;
use crate::clock::Clock;

/// Wakes a task when a deadline passes.
///
/// A deadline that moves to a later moment costs nothing: the alarm goes off at the earlier one, and is set anew then. So a
/// busy keep-alive connection sets it about once per idle time, not once per request. All alarms of a thread share one timer
/// of the runtime. Where they are very many, they go off late by a microsecond for each.
#[derive(Default)]
pub struct Alarm {
    set: Option<Set>,
}

struct Set {
    at: Time,
    /// The address of what its waker wakes. That is alive as long as the waker is, so nothing else has it.
    wakes: usize,
    place: Place,
}

impl Alarm {
    /// Ready when `deadline` has passed at `now`; otherwise the task is woken once it has.
    pub fn poll(&mut self, cx: &mut Context<'_>, clock: Clock, now: Time, deadline: Option<Time>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if deadline <= now {
            return Poll::Ready(());
        }
        let wakes = cx.waker().data().addr();
        if let Some(set) = &self.set
            && set.at > now
            && set.at <= deadline
            && set.wakes == wakes
        {
            return Poll::Pending;
        }
        // Whoever looked at the clock a while ago may not look again before it is woken.
        if deadline <= clock.now() {
            return Poll::Ready(());
        }
        match &mut self.set {
            Some(set) => {
                set.place.change(clock.instant(deadline), cx.waker());
                (set.at, set.wakes) = (deadline, wakes);
            }
            None => {
                let place = Place::take(clock.instant(deadline), cx.waker().clone());
                self.set = Some(Set { at: deadline, wakes, place });
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn paused() -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
    }

    const fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    async fn until(alarm: &mut Alarm, clock: Clock, deadline: Time) -> Time {
        poll_fn(|cx| alarm.poll(cx, clock, clock.now(), Some(deadline))).await;
        clock.now()
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn poll(self: &Arc<Self>, alarm: &mut Alarm, clock: Clock, deadline: Time) -> Poll<()> {
            let waker = Waker::from(self.clone());
            alarm.poll(&mut Context::from_waker(&waker), clock, clock.now(), Some(deadline))
        }

        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn each_goes_off_in_its_moment_whoever_else_waits() {
        paused().block_on(async {
            let clock = Clock::start();
            let waits = [7, 3000, 1, 7, 75_000, 500, 2].map(|millis| {
                tokio::spawn(async move {
                    let mut alarm = Alarm::default();
                    let first = until(&mut alarm, clock, ms(millis)).await;
                    let second = until(&mut alarm, clock, ms(millis + 10)).await;
                    (millis, first, second)
                })
            });
            for wait in waits {
                let (millis, first, second) = wait.await.expect("does not panic");
                assert_eq!((first, second), (ms(millis), ms(millis + 10)));
            }
        });
    }

    #[test]
    fn an_earlier_deadline_is_met_and_a_later_one_costs_one_wake_up() {
        paused().block_on(async {
            let clock = Clock::start();
            let (mut alarm, wakes) = (Alarm::default(), Arc::new(Wakes::default()));
            assert_eq!(wakes.poll(&mut alarm, clock, ms(500)), Poll::Pending);
            assert_eq!(wakes.poll(&mut alarm, clock, ms(20)), Poll::Pending);
            tokio::time::sleep(Duration::from_millis(19)).await;
            assert_eq!((wakes.count(), wakes.poll(&mut alarm, clock, ms(900))), (0, Poll::Pending));
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert_eq!((wakes.count(), wakes.poll(&mut alarm, clock, ms(900))), (1, Poll::Pending));
            tokio::time::sleep(Duration::from_millis(878)).await;
            assert_eq!(wakes.count(), 1);
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert_eq!((wakes.count(), wakes.poll(&mut alarm, clock, ms(900))), (2, Poll::Ready(())));
        });
    }

    #[test]
    fn it_knows_better_than_a_look_at_the_clock_that_lies_back() {
        paused().block_on(async {
            let (clock, mut alarm, wakes) = (Clock::start(), Alarm::default(), Arc::new(Wakes::default()));
            tokio::time::sleep(Duration::from_millis(60)).await;
            let waker = Waker::from(wakes.clone());
            let polled = alarm.poll(&mut Context::from_waker(&waker), clock, ms(0), Some(ms(50)));
            assert_eq!((polled, wakes.count()), (Poll::Ready(()), 0));
        });
    }

    #[test]
    fn who_polled_it_last_is_woken_and_nobody_once_it_is_gone() {
        paused().block_on(async {
            let clock = Clock::start();
            let (mut alarm, mut other) = (Alarm::default(), Alarm::default());
            let [former, last, gone] = [(); 3].map(|()| Arc::new(Wakes::default()));
            assert_eq!(former.poll(&mut alarm, clock, ms(10)), Poll::Pending);
            assert_eq!(last.poll(&mut alarm, clock, ms(10)), Poll::Pending);
            assert_eq!(gone.poll(&mut other, clock, ms(5)), Poll::Pending);
            drop(other);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!([former.count(), last.count(), gone.count()], [0, 1, 0]);
            assert_eq!([Arc::strong_count(&former), Arc::strong_count(&gone)], [1, 1]);
        });
    }

    #[test]
    fn runtimes_that_take_turns_in_a_thread_do_not_mix_up_their_alarms() {
        let runtimes = [paused(), paused()];
        let mut waits = runtimes.each_ref().map(|runtime| {
            runtime.block_on(async {
                let (clock, mut alarm, wakes) = (Clock::start(), Alarm::default(), Arc::new(Wakes::default()));
                assert_eq!(wakes.poll(&mut alarm, clock, ms(50)), Poll::Pending);
                (clock, alarm, wakes)
            })
        });
        for (runtime, (_, _, wakes)) in runtimes.iter().zip(&waits) {
            assert_eq!(wakes.count(), 0);
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(60)).await });
            assert_eq!(wakes.count(), 1);
        }
        let [first, second] = runtimes;
        drop(first);
        second.block_on(async {
            // It goes on in another runtime, whose milliseconds begin elsewhere.
            let (_, alarm, _) = &mut waits[0];
            let clock = Clock::start();
            let woken = until(alarm, clock, ms(30)).await;
            assert!((ms(30)..=ms(31)).contains(&woken), "{woken:?}");
        });
    }

    #[test]
    fn it_may_outlive_its_runtime() {
        for pause in [0, 20] {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
            let (mut soon, mut late, wakes) = (Alarm::default(), Alarm::default(), Arc::new(Wakes::default()));
            runtime.block_on(async {
                let clock = Clock::start();
                assert_eq!(wakes.poll(&mut late, clock, ms(60_000)), Poll::Pending);
                let _ = wakes.poll(&mut soon, clock, ms(10));
            });
            // In the second round the moment of one of them passes while nobody drives the runtime.
            std::thread::sleep(Duration::from_millis(pause));
            drop(runtime);
            drop((soon, late));
            assert_eq!(Arc::strong_count(&wakes), 1);
        }
    }

    /// Every connection has one.
    #[test]
    fn is_small() {
        assert!(size_of::<Alarm>() <= 32, "{}", size_of::<Alarm>());
    }
}
