//! An exchange on a connection of HTTP/1, which it borrows whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::drain::Farewell;
use sheave_lifecycle::errno::IoFault;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::observe::ConnectionId;
use sheave_lifecycle::time::Time;
use sheave_net::drain::Drain;
use sheave_net::leg::{Leg, LegContext, Received};
use sheave_net::secured::Secured;
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::batch::Batch;
use sheave_proto::connection::Connection;
use sheave_proto::error::Misuse;
use sheave_proto::fields::Fields;
use sheave_proto::framing::BodyLength;
use sheave_proto::head::{RequestHead, ResponseHead};
use sheave_proto::mapped_head::{AnyResponseHead, MappedHead};
use sheave_proto::role::Server;
use sheave_proto::state::{Persistence, State};
use sheave_proto::version::Version;

use crate::carrier::{Trouble, is_receiving};
use crate::guard::Course;

pub(crate) type ServerLeg<S> = Leg<Connection<Server>, S>;

/// An exchange on a connection of HTTP/1.
pub(crate) struct Http1<'c, S: Socket> {
    pub(crate) leg: &'c mut ServerLeg<S>,
    pub(crate) course: &'c Course,
    pub(crate) drain: &'c Drain,
    pub(crate) farewell: &'c mut Farewell,
}

impl<S: Socket> Http1<'_, S> {
    pub(crate) fn context(&self) -> &Arc<LegContext> {
        self.leg.context()
    }

    pub(crate) fn course(&self) -> &Course {
        self.course
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.leg.peer()
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.leg.local()
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.leg.id()
    }

    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.leg.socket().secured().map(|secured| &**secured)
    }

    pub(crate) fn secured_for_long(&self) -> Option<Arc<Secured>> {
        self.leg.socket().secured().cloned()
    }

    pub(crate) fn peer_version(&self) -> Version {
        self.leg.machine().peer_version()
    }

    pub(crate) fn state(&self) -> State {
        self.leg.machine().state()
    }

    pub(crate) fn can_answer(&self) -> bool {
        self.leg.machine().can_answer()
    }

    pub(crate) fn awaits_continue(&self) -> bool {
        self.leg.machine().awaits_continue()
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.leg.machine().is_tunnel()
    }

    pub(crate) fn offer(&self) -> Option<&[u8]> {
        self.leg.machine().offer()
    }

    pub(crate) fn intent(&self) -> Intent {
        self.leg.machine().intent()
    }

    pub(crate) fn end(&mut self, intent: Intent) {
        self.leg.machine_mut().end(intent);
    }

    /// The exchange in hand is the connection's last.
    pub(crate) fn make_last(&mut self) {
        self.leg.machine_mut().make_last();
    }

    pub(crate) fn truncate(&mut self, reason: CloseReason) {
        self.leg.machine_mut().truncate(reason);
    }

    /// Gives up what is owed, for `reason`.
    pub(crate) fn give_up(&mut self, reason: CloseReason) {
        if self.leg.has_unsent() {
            self.leg.give_up(reason);
        }
        self.end(Intent::Linger(reason));
    }

    /// Why an exchange that is dropped amid its response was cut off, where it does not know better.
    pub(crate) fn cut_off_by(&self) -> CloseReason {
        CloseReason::Cancelled
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.leg.has_unsent()
    }

    pub(crate) fn rest(&mut self) {
        self.leg.rest();
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.leg.deadline()
    }

    /// A deadline of the client's has passed; whether it has, or is to be waited for anew.
    pub(crate) fn expire(&mut self, timer: Timer, _: Time) -> bool {
        self.leg.machine_mut().expired(timer);
        self.leg.machine_mut().give_up_request();
        true
    }

    pub(crate) fn poll_body<T>(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        forward: impl FnOnce(Batch<'_, RequestHead>) -> T,
    ) -> Poll<Result<T, Trouble>> {
        let mut error = None;
        let mut forward = Some(forward);
        let received = ready!(self.leg.poll_receive(cx, now, |machine, input| {
            let batch = machine.receive_body_batch(input, now);
            error = batch.error;
            forward.take().map(|forward| forward(batch))
        }));
        if let Some(error) = error {
            return Poll::Ready(Err(Trouble::Broken(error)));
        }
        Poll::Ready(match received {
            Ok(Received::Bytes(Some(value))) => Ok(value),
            // It is asked once.
            Ok(Received::Bytes(None)) => Err(Trouble::Gone("client-gone")),
            Ok(Received::End) if self.is_tunnel() && self.leg.socket().is_cut_off() => {
                // RFC 8446 §6.1: anybody on the way may have ended it.
                self.end(Intent::Abort(CloseReason::Truncated));
                Err(Trouble::Gone(CloseReason::Truncated.label()))
            }
            Ok(Received::End) => {
                // In a tunnel, the end of the client's direction. Amid a body, FIN is its truncation; who sent it may still
                // read.
                let batch = self.leg.machine_mut().receive_body_end_batch(now);
                match (batch.error, forward) {
                    (None, Some(forward)) => Ok(forward(batch)),
                    (Some(error), _) => Err(Trouble::Broken(error)),
                    (None, None) => Err(Trouble::Gone("client-gone")),
                }
            }
            Err(fault) => Err(self.fail(fault)),
        })
    }

    /// Whether to see that costs the kernel nothing, as the runtime watches the client anyway.
    pub(crate) fn is_watched(&self) -> bool {
        self.leg.socket().is_watched()
    }

    /// Sees whether a client whose request is whole fails. Keeps what it pipelines, up to a bound.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Trouble> {
        match ready!(self.leg.poll_ahead(cx, now)) {
            Ok(()) => Poll::Pending,
            Err(fault) => Poll::Ready(self.fail(fault)),
        }
    }

    /// Whoever runs the exchange sees nothing that this does not.
    pub(crate) fn gone(&mut self) -> Trouble {
        Trouble::Gone("client-gone")
    }

    pub(crate) fn send_head(&mut self, head: &impl AnyResponseHead, body: BodyLength, now: Time) -> Result<(), Misuse> {
        if self.drain.is_draining() && self.is_last_word() || self.drain.pressure().is_on() && self.is_alone() {
            self.leg.machine_mut().start_drain();
        }
        let (machine, out) = self.leg.machine_and_outbox();
        machine.send_head(head, body, out, now)
    }

    pub(crate) fn send_mapped(&mut self, head: &MappedHead<'_>, body: BodyLength, now: Time) -> Result<(), Misuse> {
        self.send_head(head, body, now)
    }

    pub(crate) fn switch(&mut self, head: &ResponseHead, now: Time) -> Result<(), Misuse> {
        let (machine, out) = self.leg.machine_and_outbox();
        machine.switch(head, out, now)?;
        self.course.set_tunnel();
        self.leg.tell_moved();
        Ok(())
    }

    /// Whether no request waits behind this one that had arrived before its client could know of the drain. What is left
    /// of a request that is answered early is no request: then nothing behind it can be read.
    fn is_last_word(&mut self) -> bool {
        let (received, unread) = (self.leg.bytes_in(), self.leg.unread_bytes());
        let has_whole_request = !is_receiving(self.state());
        let (farewell, leg) = (&mut *self.farewell, &mut *self.leg);
        !has_whole_request
            || farewell.is_due(received, unread, || unread == 0 && leg.socket_mut().probe() == Liveness::Unasked)
    }

    /// Whether the request is whole and nothing is here behind it, so that the connection can end with its response.
    fn is_alone(&mut self) -> bool {
        let has_whole_request = !is_receiving(self.state());
        has_whole_request && !self.leg.has_unread() && self.leg.socket_mut().probe() != Liveness::Unasked
    }

    pub(crate) fn send_body(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        data: &[&[u8]],
        is_end: bool,
        trailers: Option<&Fields>,
    ) -> Result<Result<(), Trouble>, Misuse> {
        let len = data.iter().map(|piece| piece.len()).sum();
        let wrapping = self.leg.machine_mut().wrap(len, is_end, trailers, now)?;
        Ok(self.leg.write(cx, now, &wrapping.around(data)).map_err(|fault| self.fail(fault)))
    }

    /// Adds the whole body of an answer of our own; it leaves with the next flush.
    pub(crate) fn add_whole_body(&mut self, body: &[u8], now: Time) -> Result<(), Misuse> {
        let (machine, out) = self.leg.machine_and_outbox();
        let wrapping = machine.wrap(body.len(), true, None, now)?;
        wrapping.around(&[body]).iter().for_each(|part| out.extend_from_slice(part));
        Ok(())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), Trouble>> {
        ready!(self.leg.poll_flush(cx, now)).map_err(|fault| self.fail(fault))?;
        if self.leg.machine().owes_fin() {
            ready!(self.leg.poll_shut_writing(cx, now)).map_err(|fault| self.fail(fault))?;
            self.leg.machine_mut().note_shut();
        }
        Poll::Ready(Ok(()))
    }

    /// What became of a request that was answered before it was whole: nothing, where the rest is to be read.
    pub(crate) fn leave_rest(&mut self, discarded: u64, max_discarded: u64) -> bool {
        // RFC 9112 §9.6: where nothing follows it, or where it is long, the rest is neither read nor waited for. It may
        // never come, from a client that waits for a 100; but the answer must arrive.
        let is_last = self.state().persistence == Persistence::Close;
        if self.is_tunnel() {
            // We have ended our direction of a tunnel, and nobody listens to the client's any more.
            self.end(Intent::Linger(CloseReason::Upgraded));
        } else if is_last || discarded > max_discarded {
            self.end(Intent::Linger(CloseReason::EarlyResponse));
        }
        self.intent() != Intent::Continue
    }

    fn fail(&mut self, fault: IoFault) -> Trouble {
        let reason = self.leg.reason_of(fault);
        self.end(Intent::Abort(reason));
        Trouble::Fault(fault.op, reason.label())
    }
}
