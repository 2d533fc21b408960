//! Waits for the next request on a connection: idle, under every deadline, and through a drain.

use std::future::poll_fn;
use std::task::Poll;

use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_net::alarm::Alarm;
use sheave_net::drain::DrainWatch;
use sheave_net::leg::Received;
use sheave_net::socket::Socket;
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
        let own = leg.deadline();
        let drained = watch.drain().clock().map(|drain| {
            // An idle connection stays readable for a quiet window; half a head is given until the grace ends.
            let at = if leg.machine().is_idle() { drain.idle_until(idle_since) } else { drain.forcing_at() };
            Deadline { at: watch.drain().forcing_at().map_or(at, |forcing| forcing.min(at)), timer: Timer::Drain }
        });
        let Some(next) = Deadline::earlier(own, drained) else { return Poll::Pending };
        alarm.poll(cx, clock, now, Some(next.at)).map(|()| {
            let machine = leg.machine_mut();
            match next.timer {
                Timer::Drain if machine.is_idle() => machine.end(Intent::Linger(CloseReason::Drained)),
                Timer::Drain => machine.end(Intent::Abort(CloseReason::DrainForced)),
                timer => machine.expired(timer),
            }
            machine.give_up_request();
            // RFC 9110 §15.5.9: a client that began to speak is told; one that never did is not.
            if machine.can_answer() && next.timer != Timer::Drain {
                let label = CloseReason::TimedOut(next.timer).label();
                Next::Refused(Answer::new(StatusCode::REQUEST_TIMEOUT, label))
            } else {
                Next::Over
            }
        })
    })
    .await
}
