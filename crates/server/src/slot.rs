//! The place between a connection's task and a request's body that was given away: one part of the body at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;

use crate::body::{BodyError, Part};

/// Where the connection's task, the feeder, puts what the holder of the body, the reader, has asked for.
///
/// ```text
///             reader asks                 feeder puts
///   Resting ──────────────► Asked ──────────────────────► Filled ──┐
///      ▲                                                           │ reader takes
///      └───────────────────────────────────────────────────────────┘ (the last part: Ended)
///   any ── feeder fails ──► Failed        any ── reader lets go ──► LetGo
/// ```
///
/// Mostly both are the same task: then nobody is woken, and the lock is never waited for.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Debug)]
struct State {
    stage: Stage,
    reader: Option<Waker>,
    feeder: Option<Waker>,
    /// Interim responses that the service wants sent, in order.
    interim: Vec<(StatusCode, HeaderMap)>,
}

#[derive(Debug)]
enum Stage {
    Resting,
    Asked,
    Filled(Part),
    Ended,
    Failed(BodyError),
    LetGo,
}

/// What the reader wants of the feeder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Demand {
    /// The next part.
    More,
    /// Nothing for now.
    Rest,
    /// Nothing any more.
    Over,
}

impl Slot {
    /// The place of a body, of which something is to come if `has_body`.
    pub(crate) const fn new(has_body: bool) -> Self {
        let stage = if has_body { Stage::Resting } else { Stage::Ended };
        Self(Mutex::new(State { stage, reader: None, feeder: None, interim: Vec::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The reader's side.

    /// Takes what is there, or asks for it.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state();
        match std::mem::replace(&mut state.stage, Stage::Resting) {
            Stage::Filled(Part { data, trailers, is_end }) => {
                let (frame, rest) = if data.is_empty() {
                    (trailers.map(|trailers| Frame::trailers(*trailers)), None)
                } else {
                    (Some(Frame::data(data)), trailers)
                };
                state.stage = match (rest, is_end) {
                    (None, true) => Stage::Ended,
                    (None, false) => Stage::Resting,
                    (trailers, is_end) => Stage::Filled(Part { data: Bytes::new(), trailers, is_end }),
                };
                Poll::Ready(frame.map(Ok))
            }
            Stage::Resting | Stage::Asked => {
                state.stage = Stage::Asked;
                if !state.reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.reader = Some(cx.waker().clone());
                }
                let feeder = state.feeder.take();
                drop(state);
                if let Some(feeder) = feeder {
                    feeder.wake();
                }
                Poll::Pending
            }
            Stage::Ended | Stage::LetGo => {
                state.stage = Stage::Ended;
                Poll::Ready(None)
            }
            Stage::Failed(error) => {
                state.stage = Stage::Ended;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// Whether all of the body has been taken.
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self.state().stage, Stage::Ended)
    }

    /// The reader wants nothing any more.
    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        state.stage = Stage::LetGo;
        let feeder = state.feeder.take();
        drop(state);
        if let Some(feeder) = feeder {
            feeder.wake();
        }
    }

    /// Wants an interim response sent. Once the final one has begun it comes too late, and is forgotten.
    pub(crate) fn push_interim(&self, status: StatusCode, fields: HeaderMap) {
        let mut state = self.state();
        state.interim.push((status, fields));
        let feeder = state.feeder.take();
        drop(state);
        if let Some(feeder) = feeder {
            feeder.wake();
        }
    }

    // The feeder's side.

    /// The feeder is awake, and looks by itself before it sleeps again: nobody need wake it.
    pub(crate) fn is_awake(&self) {
        self.state().feeder = None;
    }

    /// What the reader wants; if it is not `More`, the task is woken when that changes.
    pub(crate) fn demand(&self, cx: &Context<'_>) -> Demand {
        let mut state = self.state();
        let demand = match state.stage {
            Stage::Asked => return Demand::More,
            Stage::Resting | Stage::Filled(_) => Demand::Rest,
            Stage::Ended | Stage::Failed(_) | Stage::LetGo => Demand::Over,
        };
        state.feeder = Some(cx.waker().clone());
        demand
    }

    /// Gives the reader what it asked for. True when the reader is the feeder's own task, which goes on by itself;
    /// otherwise it is woken.
    pub(crate) fn put(&self, cx: &Context<'_>, part: Part) -> bool {
        let mut state = self.state();
        if !matches!(state.stage, Stage::Asked) {
            return false;
        }
        let is_bare_end = part.is_end && part.data.is_empty() && part.trailers.is_none();
        state.stage = if is_bare_end { Stage::Ended } else { Stage::Filled(part) };
        match state.reader.take() {
            Some(reader) if reader.will_wake(cx.waker()) => {
                state.reader = Some(reader);
                true
            }
            reader => {
                drop(state);
                if let Some(reader) = reader {
                    reader.wake();
                }
                false
            }
        }
    }

    /// There will be no more; the reader is told why. What was put and not taken is lost, unless it was the last.
    pub(crate) fn fail(&self, error: BodyError) {
        let mut state = self.state();
        match &state.stage {
            Stage::Ended | Stage::Failed(_) | Stage::LetGo => return,
            Stage::Filled(part) if part.is_end => return,
            Stage::Resting | Stage::Asked | Stage::Filled(_) => state.stage = Stage::Failed(error),
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The interim responses that are to be sent, if there are any.
    pub(crate) fn take_interim(&self) -> Option<Vec<(StatusCode, HeaderMap)>> {
        let mut state = self.state();
        if state.interim.is_empty() { None } else { Some(std::mem::take(&mut state.interim)) }
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

    fn task() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        (wakes, waker)
    }

    fn data(text: &'static str, is_end: bool) -> Part {
        Part { data: Bytes::from_static(text.as_bytes()), trailers: None, is_end }
    }

    fn taken(slot: &Slot, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        slot.poll_take(cx).map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    }

    #[test]
    fn one_task_asks_and_answers_itself_without_a_wake() {
        let (wakes, waker) = task();
        let mut cx = Context::from_waker(&waker);
        let slot = Slot::new(true);
        assert_eq!(slot.demand(&cx), Demand::Rest);
        slot.is_awake();
        assert!(taken(&slot, &mut cx).is_pending());
        assert_eq!(slot.demand(&cx), Demand::More);
        assert!(slot.put(&cx, data("a", false)));
        assert_eq!(taken(&slot, &mut cx), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert!(taken(&slot, &mut cx).is_pending());
        assert!(slot.put(&cx, data("b", true)));
        assert!(!slot.is_drained());
        assert_eq!(slot.demand(&cx), Demand::Rest);
        slot.is_awake();
        assert_eq!(taken(&slot, &mut cx), Poll::Ready(Some(Ok(Bytes::from_static(b"b")))));
        assert!(slot.is_drained());
        assert_eq!(taken(&slot, &mut cx), Poll::Ready(None));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn two_tasks_wake_each_other() {
        let ((feeder, feeding), (reader, reading)) = (task(), task());
        let (feeding, mut reading) = (Context::from_waker(&feeding), Context::from_waker(&reading));
        let slot = Slot::new(true);
        assert_eq!(slot.demand(&feeding), Demand::Rest);
        assert!(taken(&slot, &mut reading).is_pending());
        assert_eq!(feeder.0.load(Ordering::Relaxed), 1, "asking wakes who feeds");
        assert_eq!(slot.demand(&feeding), Demand::More);
        assert!(!slot.put(&feeding, data("a", false)));
        assert_eq!(reader.0.load(Ordering::Relaxed), 1, "putting wakes who reads");
        assert_eq!(taken(&slot, &mut reading), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert_eq!(slot.demand(&feeding), Demand::Rest);
        slot.let_go();
        assert_eq!(feeder.0.load(Ordering::Relaxed), 2, "letting go does, too");
        assert_eq!(slot.demand(&feeding), Demand::Over);
        assert!(!slot.put(&feeding, data("late", false)), "nobody takes it");
    }

    #[test]
    fn trailers_follow_the_content_that_came_with_them() {
        let (_, waker) = task();
        let mut cx = Context::from_waker(&waker);
        let slot = Slot::new(true);
        assert!(taken(&slot, &mut cx).is_pending());
        let trailers: HeaderMap = [(http::header::ETAG, http::HeaderValue::from_static("x"))].into_iter().collect();
        slot.put(&cx, Part { trailers: Some(Box::new(trailers.clone())), ..data("a", true) });
        assert_eq!(taken(&slot, &mut cx), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert!(!slot.is_drained());
        let Poll::Ready(Some(Ok(frame))) = slot.poll_take(&mut cx) else { panic!("trailers are there") };
        assert_eq!(frame.into_trailers().unwrap(), trailers);
        assert!(slot.is_drained());
    }

    #[test]
    fn an_error_is_told_once_and_never_in_the_place_of_a_body_that_is_whole() {
        let (wakes, waker) = task();
        let mut cx = Context::from_waker(&waker);
        let slot = Slot::new(true);
        assert!(taken(&slot, &mut cx).is_pending());
        slot.fail(BodyError::ExchangeOver);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(taken(&slot, &mut cx), Poll::Ready(Some(Err(BodyError::ExchangeOver))));
        assert_eq!(taken(&slot, &mut cx), Poll::Ready(None));
        let whole = Slot::new(true);
        assert!(taken(&whole, &mut cx).is_pending());
        whole.put(&cx, data("a", true));
        whole.fail(BodyError::ExchangeOver);
        assert_eq!(taken(&whole, &mut cx), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert_eq!(taken(&whole, &mut cx), Poll::Ready(None));
    }
}
