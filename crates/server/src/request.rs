//! Waits for the next request on a connection: idle, under every deadline, and through a drain.

use std::future::poll_fn;
use std::task::{Poll, ready};

use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_net::alarm::Alarm;
use sheave_net::drain::{DrainWatch, Urgency};
use sheave_net::leg::Received;
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::connection::Event;
use sheave_proto::head::RequestHead;

use crate::answer::Answer;
use crate::exchange::ServerLeg;

/// What came of waiting.
pub(crate) enum Next {
    /// A request.
    Request(RequestHead),
    /// Something that is no request, and is owed an answer.
    Refused(Answer),
    /// The connection is over.
    Over,
}

/// Waits for the next request.
pub(crate) async fn next_request<S: Socket>(leg: &mut ServerLeg<S>, alarm: &mut Alarm, watch: &mut DrainWatch) -> Next {
    let clock = leg.context().clock;
    let idle_since = clock.now();
    poll_fn(|cx| {
        let now = clock.now();
        watch.register(cx);
        loop {
            let received = leg.poll_receive(cx, now, |machine, input| match machine.receive(input, now)? {
                Some(Event::Head(head)) => Ok(Some(head)),
                _ => Ok(None),
            });
            match received {
                Poll::Pending => break,
                Poll::Ready(Ok(Received::Bytes(Ok(None)))) => {}
                Poll::Ready(Ok(Received::Bytes(Ok(Some(head))))) => return Poll::Ready(Next::Request(head)),
                Poll::Ready(Ok(Received::Bytes(Err(error)))) => {
                    return Poll::Ready(Next::Refused(Answer::to_error(error)));
                }
                Poll::Ready(Ok(Received::End)) => {
                    // Its error is the connection's close reason already, and nobody waits for an answer.
                    let _ = leg.machine_mut().receive_end(now);
                    return Poll::Ready(Next::Over);
                }
                Poll::Ready(Err(fault)) => {
                    leg.machine_mut().end(Intent::Close(CloseReason::from_fault(fault)));
                    return Poll::Ready(Next::Over);
                }
            }
        }
        leg.release_buffers();
        let promised = leg.machine().promised_until();
        if leg.machine().is_idle()
            && watch.drain().pressure().is_to_give_way(idle_since)
            && promised.is_none_or(|until| until <= now)
            && leg.socket().probe() == Liveness::Alive
        {
            leg.machine_mut().end(Intent::Close(CloseReason::Shed));
            return Poll::Ready(Next::Over);
        }
        let own = leg.deadline();
        let drained = watch.drain().clock().map(|drain| {
            // An idle connection stays readable for a quiet window; half a head is given until the grace ends.
            // What its client was promised holds for it too.
            let quiet = || promised.map_or(idle_since, |until| until.max(idle_since));
            let at = if leg.machine().is_idle() { drain.idle_until(quiet()) } else { drain.forcing_at() };
            Deadline { at: watch.drain().forcing_at().map_or(at, |forcing| forcing.min(at)), timer: Timer::Drain }
        });
        let Some(next) = Deadline::earlier(own, drained) else { return Poll::Pending };
        ready!(alarm.poll(cx, clock, now, Some(next.at)));
        let is_forced = watch.drain().urgency() == Urgency::Forced;
        if leg.machine().is_idle() && !is_forced && leg.socket().probe() == Liveness::Unasked {
            // The kernel has a request that the runtime has not seen: it came in time.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready({
            let machine = leg.machine_mut();
            match next.timer {
                Timer::Drain if machine.is_idle() => machine.end(Intent::Linger(CloseReason::Drained)),
                Timer::Drain => machine.end(Intent::Abort(CloseReason::DrainForced)),
                timer => machine.expired(timer),
            }
            // RFC 9110 §15.5.9: a client that began to speak is told; one that never did is not, nor one that is reset.
            if next.timer != Timer::Drain {
                machine.give_up_request();
            }
            if machine.can_answer() {
                let label = CloseReason::TimedOut(next.timer).label();
                Next::Refused(Answer::new(StatusCode::REQUEST_TIMEOUT, label))
            } else {
                Next::Over
            }
        })
    })
    .await
}
