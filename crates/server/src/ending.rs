//! How an exchange ends: what its handler left undone is done for it, and it is told once.

use std::future::poll_fn;
use std::task::Poll;

use http::StatusCode;
use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::limit::{Limit, Overflow};
use sheave_lifecycle::machine::Intent;
use sheave_lifecycle::observe::Observer;
use sheave_net::secured::Secured;
use sheave_net::socket::Socket;

use crate::answer::Answer;
use crate::carrier::carried;
use crate::error::HandlerError;
use crate::exchange::Exchange;
use crate::guard::Guarded;

/// However an exchange ends, also by its task being dropped in the middle of it, it is told once how.
impl<S: Socket> Drop for Exchange<'_, S> {
    fn drop(&mut self) {
        if !self.context().observer.hears_exchanges() {
            return;
        }
        let is_whole =
            self.has_answered() && !carried!(&self.carrier, it => it.has_unsent()) && !self.record.is_cut_off;
        if !is_whole {
            self.note_error(carried!(&self.carrier, it => it.cut_off_by()).label());
        }
        // However a tunnel ended, the request that asked for it was answered.
        let is_answered = is_whole || self.is_tunnel();
        let context = self.context();
        // Whoever runs it has looked at the clock when it gave the response its end.
        let now = if is_whole { self.now() } else { self.look() };
        let took = now.since(self.record.began);
        let (id, peer) = (self.connection_id(), self.peer());
        let encryption = self.secured().map(Secured::told);
        self.record.tell(&*context.observer, id, peer, encryption, Some(&self.head), is_answered, took);
    }
}

impl<S: Socket> Exchange<'_, S> {
    /// There is no room for this exchange: it is answered, or its connection closed.
    pub(crate) fn turn_away(&mut self, overflow: Overflow) -> Guarded {
        let limit = Limit::Exchanges;
        self.context().observer.refused(limit.label());
        if overflow == Overflow::Close {
            self.note_error(limit.label());
            self.end(Intent::Close(CloseReason::Refused(limit.label())));
            return Guarded::TurnedAway;
        }
        self.answer(&Answer::over(limit));
        Guarded::Done(Ok(()))
    }

    /// The exchange's deadline passed when its response had been given in whole, but not taken, or not asked for.
    pub(crate) fn give_up_rest(&mut self) {
        self.note_error("exchange-timeout");
        carried!(&mut self.carrier, it => it.give_up(CloseReason::TimedOut(Timer::Exchange)));
    }

    /// Nobody waits for the response any more.
    pub(crate) fn note_gone(&mut self) {
        let trouble = carried!(&mut self.carrier, it => it.gone());
        self.note_trouble(trouble);
    }

    pub(crate) fn end(&mut self, intent: Intent) {
        carried!(&mut self.carrier, it => it.end(intent));
    }

    fn intent(&self) -> Intent {
        carried!(&self.carrier, it => it.intent())
    }

    /// What the handler left undone is done for it.
    pub(crate) fn end_as(&mut self, end: &Guarded) {
        let (cause, status, reason) = match end {
            Guarded::Done(Ok(())) => ("no-response", StatusCode::INTERNAL_SERVER_ERROR, CloseReason::HandlerFailed),
            // RST, or a peer that takes nothing: there is nobody to answer.
            Guarded::Done(Err(HandlerError::Client)) if matches!(self.intent(), Intent::Abort(_)) => {
                return;
            }
            Guarded::Done(Err(HandlerError::Client)) => {
                let refusal = self.refusal.unwrap_or(Answer::new(StatusCode::BAD_REQUEST, "client-gone"));
                self.answer_or_truncate(&refusal, CloseReason::OtherSide);
                return;
            }
            Guarded::Done(Err(error)) => (error.label(), StatusCode::INTERNAL_SERVER_ERROR, CloseReason::HandlerFailed),
            Guarded::Panicked => ("handler-panicked", StatusCode::INTERNAL_SERVER_ERROR, CloseReason::HandlerPanicked),
            Guarded::TimedOut => {
                ("exchange-timeout", StatusCode::GATEWAY_TIMEOUT, CloseReason::TimedOut(Timer::Exchange))
            }
            Guarded::TurnedAway => return,
            Guarded::Gone => {
                self.note_gone();
                return;
            }
            Guarded::Forced => {
                self.end(Intent::Abort(CloseReason::DrainForced));
                self.note_error("drain-forced");
                return;
            }
        };
        let is_panic = matches!(end, Guarded::Panicked);
        if self.has_answered() && !is_panic {
            return;
        }
        if is_panic {
            carried!(&mut self.carrier, it => it.make_last());
            self.end(Intent::Linger(reason));
        }
        self.answer_or_truncate(&Answer::new(status, cause), reason);
    }

    fn answer_or_truncate(&mut self, answer: &Answer, reason: CloseReason) {
        if self.can_answer() {
            self.answer(answer);
        } else if !self.has_answered() {
            self.note_error(answer.cause);
            self.truncate(reason);
        }
    }

    /// Whether the request was read, the response is with the kernel, and both are messages.
    pub(crate) fn is_settled(&self) -> bool {
        self.has_whole_request() && !self.is_tunnel() && !carried!(&self.carrier, it => it.has_unsent())
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_finished(&mut self) -> bool {
        let is_finished = self.is_settled();
        if is_finished {
            self.rest();
        }
        is_finished
    }

    /// Writes what is owed, and reads what is left of the request, up to a bound.
    pub(crate) async fn finish(&mut self, max_discarded: u64) -> Result<(), HandlerError> {
        self.flush().await?;
        self.rest();
        let mut discarded = 0;
        while !self.has_whole_request() && self.intent() == Intent::Continue {
            if carried!(&mut self.carrier, it => it.leave_rest(discarded, max_discarded)) {
                break;
            }
            discarded += poll_fn(|cx| {
                let now = self.clock().now();
                match self.poll_body_with(cx, now, |batch| batch.len() as u64) {
                    Poll::Pending => self.poll_deadline(cx, now, None).map(|_| Err(HandlerError::Client)),
                    ready => ready,
                }
            })
            .await?;
        }
        Ok(())
    }
}
