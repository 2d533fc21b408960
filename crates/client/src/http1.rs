//! One exchange over HTTP/1, on a connection of its own for as long as it lasts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Deadline;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::errno::{Errno, IoFault};
use sheave_lifecycle::keep_alive::requests_left;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;
use sheave_net::leg::Received;
use sheave_net::secured::Secured;
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::batch::Batch;
use sheave_proto::error::ProtocolError;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::keep_alive::KeepAlive;
use sheave_proto::state::{RequestState, ResponseState};

use crate::error::CallError;
use crate::parked::{ClientLeg, Parked};
use crate::place::Place;

/// One exchange over HTTP/1. [`crate::call::Call`] says what its methods promise.
pub(crate) struct Http1<S: Socket> {
    leg: Option<ClientLeg<S>>,
    place: Option<Place<S>>,
    is_reused: bool,
    /// What the response says of the connection's future.
    told: KeepAlive,
    left: Option<u64>,
    bytes_before: (u64, u64),
    /// When something was last done with it.
    now: Option<Time>,
    found_closed: bool,
    /// Why writing ended early; the response may still come.
    write_fault: Option<IoFault>,
}

impl<S: Socket> Http1<S> {
    /// An exchange on a connection that was opened for it.
    pub(crate) fn fresh(leg: ClientLeg<S>, place: Place<S>) -> Self {
        Self::on(leg, place, None)
    }

    /// An exchange on a connection that was parked.
    pub(crate) fn reused(parked: Parked<S>, place: Place<S>) -> Self {
        Self::on(parked.leg, place, parked.left)
    }

    /// Makes it a tunnel from its first byte, without a request.
    pub(crate) fn into_tunnel(mut self) -> Result<Self, CallError> {
        let leg = self.leg_mut();
        let now = leg.context().clock.now();
        leg.machine_mut().start_tunnel(now).map_err(CallError::Misuse)?;
        leg.tell_moved();
        Ok(self)
    }

    fn on(leg: ClientLeg<S>, place: Place<S>, left: Option<u64>) -> Self {
        Self {
            is_reused: leg.machine().exchanges() > 0,
            told: KeepAlive::default(),
            left,
            bytes_before: (leg.bytes_in(), leg.bytes_out()),
            now: None,
            found_closed: false,
            write_fault: None,
            leg: Some(leg),
            place: Some(place),
        }
    }

    fn leg(&self) -> &ClientLeg<S> {
        self.leg.as_ref().expect("the connection is here until the call is dropped")
    }

    fn leg_mut(&mut self) -> &mut ClientLeg<S> {
        self.leg.as_mut().expect("the connection is here until the call is dropped")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.as_ref().expect("the place is here until the call is dropped").endpoint.address()
    }

    pub(crate) fn connection_id(&self) -> ConnectionId {
        self.leg().id()
    }

    pub(crate) fn secured(&self) -> Option<&Arc<Secured>> {
        self.leg().socket().secured()
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        target: &str,
        body: BodyLength,
        now: Time,
    ) -> Result<(), CallError> {
        let is_told = self.is_reused;
        let leg = self.leg_mut();
        let (machine, out) = leg.machine_and_outbox();
        machine.send_head(head, target, body, out, now).map_err(CallError::Misuse)?;
        if !is_told {
            leg.tell_moved();
        }
        Ok(())
    }

    pub(crate) fn send_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        data: &[&[u8]],
        is_end: bool,
        trailers: Option<&Fields>,
    ) -> Result<(), CallError> {
        let len = data.iter().map(|piece| piece.len()).sum();
        let leg = self.leg_mut();
        let wrapping = leg.machine_mut().wrap(len, is_end, trailers, now).map_err(CallError::Misuse)?;
        let written = leg.write(cx, now, &wrapping.around(data));
        self.note_write(written);
        Ok(())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<()> {
        let mut flushed = ready!(self.leg_mut().poll_flush(cx, now));
        if flushed.is_ok() && self.leg().machine().owes_fin() {
            flushed = ready!(self.leg_mut().poll_shut_writing(cx, now));
            self.leg_mut().machine_mut().note_shut();
        }
        self.note_write(flushed);
        Poll::Ready(())
    }

    fn note_write(&mut self, written: Result<(), IoFault>) {
        if let Err(fault) = written {
            // What the kernel holds says whether the origin had ended the connection before our first byte.
            self.found_closed = self.leg().bytes_out() == self.bytes_before.1
                && matches!(self.leg_mut().socket_mut().probe(), Liveness::Closed | Liveness::Failed(_));
            self.write_fault = Some(fault);
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        let request = self.leg().machine().state().request;
        self.write_fault.is_none() && matches!(request, RequestState::Body | RequestState::Tunnel)
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.leg().machine().is_tunnel()
    }

    pub(crate) fn write_fault(&self) -> Option<IoFault> {
        self.write_fault
    }

    pub(crate) fn local_fault(&self) -> Option<IoFault> {
        self.write_fault.filter(|fault| matches!(CloseReason::from_fault(*fault), CloseReason::Local(_)))
    }

    pub(crate) fn has_sent_head(&self) -> bool {
        self.leg().bytes_out() > self.bytes_before.1
    }

    pub(crate) fn has_written_nothing(&self) -> bool {
        self.write_fault.is_some() && !self.has_sent_head()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.leg().has_unsent()
    }

    pub(crate) fn poll_response_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, ResponseHead>) -> T,
    ) -> Poll<Result<T, CallError>> {
        self.now = Some(now);
        let was_tunnel = self.is_tunnel();
        let mut error = None;
        let mut told = None;
        let mut forward = Some(forward);
        let received = ready!(self.leg_mut().poll_receive(cx, now, |machine, input| {
            let batch = machine.receive_batch(input, now);
            error = batch.error;
            // Before whoever takes the head strips what is meant for this hop alone.
            told = batch.head.as_ref().map(|head| KeepAlive::of(head.fields()));
            forward.take().map(|forward| forward(batch))
        }));
        self.told = told.unwrap_or(self.told);
        if self.is_tunnel() && !was_tunnel {
            self.leg().tell_moved();
        }
        Poll::Ready(match received {
            _ if error.is_some() => Err(CallError::Protocol(error.unwrap_or(ProtocolError::UnaskedBytes))),
            Ok(Received::Bytes(Some(value))) => Ok(value),
            Ok(Received::Bytes(None)) => Err(CallError::Closed),
            // RFC 8446 §6.1: anybody on the way may have ended it, and its end is all that says where this one ends.
            Ok(Received::End) if self.is_ended_by_anybody() => {
                self.leg_mut().machine_mut().end(Intent::Abort(CloseReason::Truncated));
                Err(CallError::Protocol(ProtocolError::TruncatedBody))
            }
            // The kernel told it at the write, and tells the rest of it here.
            Ok(Received::End) if let Some(fault) = self.unanswered_fault() => Err(self.failed(fault)),
            Ok(Received::End) => {
                let machine = self.leg_mut().machine_mut();
                let batch = machine.receive_end_batch(now);
                match (batch.error, forward) {
                    (None, Some(forward)) => Ok(forward(batch)),
                    (Some(_), _) if !machine.has_answered() => Err(CallError::Closed),
                    (Some(error), _) => Err(CallError::Protocol(error)),
                    (None, None) => Err(CallError::Closed),
                }
            }
            Err(fault) => Err(self.failed(fault)),
        })
    }

    /// The connection is of no more use.
    fn failed(&mut self, fault: IoFault) -> CallError {
        let reason = self.leg().reason_of(fault);
        self.leg_mut().machine_mut().end(Intent::Abort(reason));
        match reason {
            CloseReason::Tls(_) => CallError::Ended(reason),
            _ => CallError::Io(fault),
        }
    }

    /// Whether what ends with the connection has ended without the word that TLS has for it.
    fn is_ended_by_anybody(&self) -> bool {
        (self.is_tunnel() || self.leg().machine().ends_by_close()) && self.leg().socket().is_cut_off()
    }

    /// Why writing failed, where no byte of a response came either, or where what looks like a FIN would say that a tunnel
    /// or a response was ended: a kernel tells an RST once, and the end of the stream from then on.
    fn unanswered_fault(&self) -> Option<IoFault> {
        let leg = self.leg();
        let (machine, is_secured) = (leg.machine(), leg.socket().secured().is_some());
        self.write_fault.filter(|fault| {
            // Of an RST behind a FIN a kernel says EPIPE: what came before the FIN is all. TLS has said itself what is.
            let hides_rst = fault.errno != Errno::EPIPE && !is_secured;
            machine.is_tunnel() || !machine.has_answered() || machine.ends_by_close() && hides_rst
        })
    }

    pub(crate) fn rest(&mut self) {
        self.leg_mut().rest();
    }

    pub(crate) fn has_whole_response(&self) -> bool {
        !matches!(
            self.leg().machine().state().response,
            ResponseState::Owed | ResponseState::Body | ResponseState::Tunnel
        )
    }

    pub(crate) fn ends_by_close(&self) -> bool {
        self.leg().machine().ends_by_close()
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.leg().deadline()
    }

    pub(crate) fn expire(&mut self) -> CallError {
        let timer = self.deadline().map_or(Timer::Response, |due| due.timer);
        self.leg_mut().machine_mut().expired(timer);
        CallError::TimedOut(timer)
    }

    pub(crate) fn progress(&self) -> Progress {
        let leg = self.leg();
        if leg.machine().has_answered() || leg.bytes_in() > self.bytes_before.0 {
            Progress::Answered
        } else if leg.bytes_out() > self.bytes_before.1 {
            Progress::Written
        } else if self.found_closed {
            Progress::FoundClosed
        } else {
            Progress::Connected
        }
    }

    pub(crate) fn finish(mut self) {
        let leg = self.leg_mut();
        let request = leg.machine().state().request;
        if matches!(request, RequestState::Body | RequestState::Tunnel) || leg.has_unsent() {
            leg.machine_mut().end(Intent::Abort(CloseReason::EarlyResponse));
        }
    }

    pub(crate) fn abandon(mut self, reason: CloseReason) {
        self.leg_mut().machine_mut().end(Intent::Abort(reason));
    }
}

impl<S: Socket> Drop for Http1<S> {
    fn drop(&mut self) {
        let (Some(mut leg), Some(place)) = (self.leg.take(), self.place.take()) else { return };
        // Parked only with both halves done, everything written, nothing unread, and keep-alive agreed. RFC 9112 §9.3
        if leg.machine().is_idle() && !leg.has_unsent() && self.write_fault.is_none() {
            if leg.has_unread() {
                leg.machine_mut().end(Intent::Abort(CloseReason::UnaskedBytes));
            } else {
                let now = self.now.unwrap_or_else(|| leg.context().clock.now());
                return place.park(leg, self.told, requests_left(self.left, self.told.max), now);
            }
        }
        if let Some(fault) = self.write_fault {
            let reason = leg.reason_of(fault);
            leg.machine_mut().end(Intent::Abort(reason));
        }
        leg.machine_mut().end(Intent::Abort(CloseReason::Cancelled));
        // The connection first, and then its place, so that there is never one more than may be.
        leg.close_now();
    }
}
