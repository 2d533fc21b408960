//! Tells tasks what the simulated kernel has to say, between their polls, as a runtime's reactor does.
//!
//! A task that reads sees what the reactor saw last, and not what the kernel holds: a FIN that has arrived stays unseen
//! until the reactor has looked, and only a question to the kernel ([`sheave_net::socket::Socket::probe`]) finds it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use crate::net::SimNet;

/// The reactor of one network, and its clockwork. Polled by the root of a run, beside everything else.
pub struct Reactor {
    net: SimNet,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Reactor {
    /// The reactor of `net`, of which there must be one.
    pub fn new(net: SimNet) -> Self {
        Self { net, sleep: None }
    }

    /// Passes on what there is to say, and lets happen what is due. Ready when the run is cancelled.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (is_cancelled, drain, wakers, next) = self.net.with(|state| {
                state.run_due();
                let drain = state.start_drain();
                state.driver = Some(cx.waker().clone());
                (state.is_cancelled, drain, state.take_ready(), state.next_due())
            });
            if let Some(drain) = drain {
                drain();
            }
            // Not under the lock: a waker may be the last to hold a task, whose sockets then close.
            wakers.into_iter().for_each(std::task::Waker::wake);
            if is_cancelled {
                return Poll::Ready(());
            }
            let Some(at) = next else { return Poll::Pending };
            let sleep = match &mut self.sleep {
                Some(sleep) => {
                    if sleep.deadline() != at {
                        sleep.as_mut().reset(at);
                    }
                    sleep
                }
                none => none.insert(Box::pin(tokio::time::sleep_until(at))),
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
