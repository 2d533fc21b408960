//! Runs a scenario once: a runtime of its own with a paused clock, the reactor at its root, and the end state.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::net::SimNet;
use crate::plan::Plan;
use crate::reactor::Reactor;
use crate::trace::Trace;

/// How long a run may take in virtual time. Every deadline of a scenario is far shorter.
pub const HORIZON: Duration = Duration::from_secs(120);

/// How a run came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The scenario was over.
    Completed,
    /// As planned, by dropping everything at once.
    Cancelled,
    /// Never by itself: it was still waiting for something at the [`HORIZON`].
    Stuck,
}

/// What is known of a run that is over.
#[derive(Clone, Debug)]
pub struct Record {
    /// What made it what it was.
    pub plan: Plan,
    /// What happened.
    pub trace: Trace,
    /// How it ended.
    pub ended: Ended,
    /// Tasks that lived when the scenario was over; zero when it was cancelled, since then all were to be dropped.
    pub tasks_left: usize,
    /// Sockets of what is tested that were open when everything had been dropped.
    pub sockets_left: usize,
    /// Operations on sockets of what is tested.
    pub operations: u64,
    /// What scripts found broken, and panics.
    pub broken: Vec<String>,
}

/// Runs `scenario` once, in virtual time and one thread. Returns when it is over and all its tasks are gone.
///
/// The scenario ends its own tasks, scripts included; whatever it leaves is counted against it. Deterministic as far as
/// the scenario is.
pub fn run<F: Future<Output = ()>>(plan: &Plan, scenario: impl FnOnce(SimNet) -> F) -> Record {
    let panics = Panics::collect();
    let built =
        Builder::new_current_thread().enable_time().start_paused(true).event_interval(plan.interval.max(1)).build();
    // Needs no resource of the machine that could be short.
    let runtime = built.expect("a runtime without I/O can be built");
    let net = {
        let _context = runtime.enter();
        SimNet::new(plan)
    };
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut reactor = Reactor::new(net.clone());
            let mut scenario = pin!(scenario(net.clone()));
            let mut horizon = pin!(tokio::time::sleep(HORIZON));
            poll_fn(|cx| {
                if reactor.poll(cx).is_ready() {
                    return Poll::Ready(Ended::Cancelled);
                }
                if scenario.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ended::Completed);
                }
                horizon.as_mut().poll(cx).map(|()| Ended::Stuck)
            })
            .await
        })
    }));
    let tasks_left = match ended {
        Ok(Ended::Completed) => runtime.metrics().num_alive_tasks(),
        _ => 0,
    };
    let was_dropped = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    let sockets_left = net.open_sockets();
    let mut broken = panics.take();
    if was_dropped.is_err() {
        broken.push("the runtime could not be dropped".to_owned());
    }
    net.with(|state| {
        state.run_out();
        broken.append(&mut state.broken);
        Record {
            plan: plan.clone(),
            trace: std::mem::take(&mut state.trace),
            // The panic is among what is broken.
            ended: ended.unwrap_or(Ended::Cancelled),
            tasks_left,
            sockets_left,
            operations: state.operations(),
            broken,
        }
    })
}

/// Collects this thread's panics, wherever they are caught: a runtime catches those of its tasks and says nothing.
struct Panics;

thread_local! {
    static COLLECTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

impl Panics {
    fn collect() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let former = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !COLLECTED.with_borrow_mut(|collected| note(collected, info)) {
                    former(info);
                }
            }));
        });
        COLLECTED.set(Some(Vec::new()));
        Self
    }

    fn take(self) -> Vec<String> {
        COLLECTED.take().unwrap_or_default()
    }
}

/// Whether a run is under way in this thread, which then has taken note.
fn note(collected: &mut Option<Vec<String>>, info: &PanicHookInfo<'_>) -> bool {
    let Some(collected) = collected else { return false };
    let text = info.payload_as_str().unwrap_or("without a message");
    let place = info.location().map_or(String::new(), |place| format!(" at {}:{}", place.file(), place.line()));
    collected.push(format!("panic: {text}{place}"));
    true
}
