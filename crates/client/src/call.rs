//! One exchange with an origin on a connection of its own for as long as it lasts.

use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::Deadline;
use sheave_lifecycle::deadline::Timer;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::keep_alive::requests_left;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::retry::Progress;
use sheave_lifecycle::time::Time;
use sheave_net::leg::Received;
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

/// One exchange with an origin. When it ended well its connection goes back to the pool by itself; dropped before, the
/// connection is closed, so that no byte of this exchange reaches the next.
pub struct Call<S: Socket> {
    leg: Option<ClientLeg<S>>,
    place: Option<Place<S>>,
    address: SocketAddr,
    is_reused: bool,
    /// What the response says of the connection's future.
    told: KeepAlive,
    left: Option<u64>,
    bytes_before: (u64, u64),
    found_closed: bool,
    /// Why writing ended early; the response may still come.
    write_fault: Option<IoFault>,
}

impl<S: Socket> Call<S> {
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
            address: place.endpoint.address(),
            is_reused: leg.machine().exchanges() > 0,
            told: KeepAlive::default(),
            left,
            bytes_before: (leg.bytes_in(), leg.bytes_out()),
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

    /// The origin's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connection's number.
    pub fn connection_id(&self) -> ConnectionId {
        self.leg().id()
    }

    /// Whether the connection had carried an exchange before.
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Writes the request's head; it leaves with the first bytes of the body, or with a flush.
    ///
    /// An `Upgrade` field in it offers to switch protocols, as CONNECT does: whoever leaves one in is ready for a response
    /// after which the call [is a tunnel](Self::is_tunnel).
    ///
    /// # Errors
    /// [`CallError::Misuse`] when the head cannot be sent.
    pub fn send_head(
        &mut self,
        head: &RequestHead,
        target: &str,
        body: BodyLength,
        now: Time,
    ) -> Result<(), CallError> {
        let leg = self.leg_mut();
        let (machine, out) = leg.machine_and_outbox();
        machine.send_head(head, target, body, out, now).map_err(CallError::Misuse)?;
        leg.tell_moved();
        Ok(())
    }

    /// Writes body: what is owed, then `data`, then the end if `is_end`. What the origin does not take at once is kept;
    /// pass on nothing more before [`Self::poll_flush`] is ready.
    ///
    /// A write that fails is not the end: an origin may answer early and close, and its answer is what counts. After it,
    /// [`Self::is_sending`] is false and the response is waited for.
    ///
    /// # Errors
    /// [`CallError::Misuse`] when this is not what was declared.
    pub fn send_body(
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

    /// Ready when nothing is owed to the origin any more, or nothing more can be written. After the end of our direction of a
    /// tunnel a FIN is owed, too.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<()> {
        let mut flushed = ready!(self.leg_mut().poll_flush(cx, now));
        if flushed.is_ok() && self.leg().machine().owes_fin() {
            self.leg_mut().machine_mut().note_shut();
            flushed = self.leg_mut().shut_writing(now);
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

    /// Whether more of the request's body is to be sent; in a tunnel, whether our direction is open.
    pub fn is_sending(&self) -> bool {
        let request = self.leg().machine().state().request;
        self.write_fault.is_none() && matches!(request, RequestState::Body | RequestState::Tunnel)
    }

    /// Whether it has become a tunnel; also when that has ended. From then on the response's data is what the origin sends
    /// through it, up to its FIN, and the request's body is what is sent to it, up to ours.
    pub fn is_tunnel(&self) -> bool {
        self.leg().machine().is_tunnel()
    }

    /// Why writing failed, if it did: nothing more can be sent, whatever still comes.
    pub fn write_fault(&self) -> Option<IoFault> {
        self.write_fault
    }

    /// Why writing failed, where that is this machine's fault: there is no response to wait for.
    pub fn local_fault(&self) -> Option<IoFault> {
        self.write_fault.filter(|fault| matches!(CloseReason::from_fault(*fault), CloseReason::Local(_)))
    }

    /// Whether a byte of the request was given to the kernel.
    pub fn has_sent_head(&self) -> bool {
        self.leg().bytes_out() > self.bytes_before.1
    }

    /// Whether writing failed before the kernel took a byte.
    pub fn has_written_nothing(&self) -> bool {
        self.write_fault.is_some() && !self.has_sent_head()
    }

    /// Whether bytes are owed to the origin.
    pub fn has_unsent(&self) -> bool {
        self.leg().has_unsent()
    }

    /// Shows `forward` one read's worth of the response.
    ///
    /// # Errors
    /// The origin failed, left or broke a rule. Parts that came before it have been shown.
    pub fn poll_response_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, ResponseHead>) -> T,
    ) -> Poll<Result<T, CallError>> {
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
            Ok(Received::End) if let Some(fault) = self.unanswered_fault() => {
                self.leg_mut().machine_mut().end(Intent::Abort(CloseReason::from_fault(fault)));
                Err(CallError::Io(fault))
            }
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
            Err(fault) => {
                self.leg_mut().machine_mut().end(Intent::Abort(CloseReason::from_fault(fault)));
                Err(CallError::Io(fault))
            }
        })
    }

    /// Whether what ends with the connection has ended without the word that TLS has for it.
    fn is_ended_by_anybody(&self) -> bool {
        (self.is_tunnel() || self.leg().machine().ends_by_close()) && self.leg().socket().is_cut_off()
    }

    /// Why writing failed, where no byte of a response came either.
    fn unanswered_fault(&self) -> Option<IoFault> {
        self.write_fault.filter(|_| !self.leg().machine().has_answered())
    }

    /// Says that the origin is not read from for now, because nothing more can be passed on. Its time stands still.
    pub fn rest(&mut self) {
        self.leg_mut().rest();
    }

    /// Whether the response is whole; in a tunnel, whether the origin has ended its direction.
    pub fn has_whole_response(&self) -> bool {
        !matches!(
            self.leg().machine().state().response,
            ResponseState::Owed | ResponseState::Body | ResponseState::Tunnel
        )
    }

    /// Whether the response ends only with the connection.
    pub fn ends_by_close(&self) -> bool {
        self.leg().machine().ends_by_close()
    }

    /// The origin's next deadline.
    pub fn deadline(&self) -> Option<Deadline> {
        self.leg().deadline()
    }

    /// The origin's deadline has passed.
    pub fn expire(&mut self) -> CallError {
        let timer = self.deadline().map_or(Timer::Response, |due| due.timer);
        self.leg_mut().machine_mut().expired(timer);
        CallError::TimedOut(timer)
    }

    /// How far the exchange has come: what a retry is judged by.
    pub fn progress(&self) -> Progress {
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

    /// The response is whole. Where the request is not, because the origin answered early, the connection is closed.
    pub fn finish(mut self) {
        let leg = self.leg_mut();
        let request = leg.machine().state().request;
        if matches!(request, RequestState::Body | RequestState::Tunnel) || leg.has_unsent() {
            leg.machine_mut().end(Intent::Abort(CloseReason::EarlyResponse));
        }
    }

    /// Gives the exchange up: the connection is closed for `reason`, unless it has ended already.
    pub fn abandon(mut self, reason: CloseReason) {
        self.leg_mut().machine_mut().end(Intent::Abort(reason));
    }
}

impl<S: Socket> Drop for Call<S> {
    fn drop(&mut self) {
        let (Some(mut leg), Some(place)) = (self.leg.take(), self.place.take()) else { return };
        // Parked only with both halves done, everything written, nothing unread, and keep-alive agreed. RFC 9112 §9.3
        if leg.machine().is_idle() && !leg.has_unsent() && self.write_fault.is_none() {
            if leg.has_unread() {
                leg.machine_mut().end(Intent::Abort(CloseReason::UnaskedBytes));
            } else {
                let now = leg.context().clock.now();
                return place.park(leg, self.told, requests_left(self.left, self.told.max), now);
            }
        }
        if let Some(fault) = self.write_fault {
            leg.machine_mut().end(Intent::Abort(CloseReason::from_fault(fault)));
        }
        leg.machine_mut().end(Intent::Abort(CloseReason::Cancelled));
        // The connection first, and then its place, so that there is never one more than may be.
        leg.close_now();
    }
}
