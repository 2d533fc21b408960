//! How a connection ends: the last words, the reason, the lingering close, and the word to the observer.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::deadline::{Deadline, Timer};
use sheave_lifecycle::errno::{IoFault, Op};
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::phase::Phase;
use sheave_lifecycle::time::Time;

use crate::alarm::Alarm;
use crate::drain::DrainWatch;
use crate::leg::{Leg, Received};
use crate::socket::Socket;

impl<M: Machine, S: Socket> Leg<M, S> {
    /// Why the connection ends with this fault: as TLS names it, where it has failed, or else as the kernel does.
    pub fn reason_of(&self, fault: IoFault) -> CloseReason {
        match self.socket().failure() {
            Some(why) => CloseReason::Tls(why.label()),
            None => CloseReason::from_fault(fault),
        }
    }

    /// Sends FIN, once nothing is owed any more, `close_notify` of TLS before it included: nothing will be written. What
    /// comes in is read as before.
    ///
    /// # Errors
    /// What the kernel said, such as that the peer is gone.
    pub fn poll_shut_writing(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<Result<(), IoFault>> {
        ready!(self.poll_flush(cx, now))?;
        self.socket_mut().conclude();
        ready!(self.poll_flush(cx, now))?;
        self.socket_mut().shutdown_write().map_err(|error| IoFault::new(Op::Shutdown, &error))?;
        self.life.note_shut(now);
        Poll::Ready(Ok(()))
    }

    /// Writes what is owed, for as long as that may take, where the machine intends to end the connection. Whether all was
    /// written. [`Self::close`] goes on from there.
    ///
    /// # Cancel safety
    /// As for [`Self::close`].
    pub async fn farewell(&mut self, alarm: &mut Alarm, watch: &mut DrainWatch) -> bool {
        let said = poll_fn(|cx| self.poll_farewell(cx, alarm, watch)).await;
        self.life.note_farewell(said);
        said.is_ok()
    }

    /// Gives up what is owed: the close will be an RST for `reason`, whatever reason the machine has to end well.
    pub fn give_up(&mut self, reason: CloseReason) {
        self.life.note_farewell(Err(reason));
    }

    /// Closes as the machine intends: writes what is owed, lingers if it should, tells the observer the reason, and gives
    /// it back with the phase in which it came up.
    ///
    /// # Cancel safety
    /// Dropped in between, the connection is closed and counted with the machine's reason.
    pub async fn close(mut self, alarm: &mut Alarm, watch: &mut DrainWatch) -> (CloseReason, Phase) {
        let intent = self.machine.intent();
        match intent {
            Intent::Continue => self.note_end(CloseReason::Bug("closed-without-reason")),
            Intent::Abort(reason) => {
                self.note_end(reason);
                self.socket().set_abortive_close();
            }
            Intent::Close(reason) | Intent::Linger(reason) => {
                let flushed = match self.life.farewell() {
                    Some(said) => said,
                    None => poll_fn(|cx| self.poll_farewell(cx, alarm, watch)).await,
                };
                let is_lingering = matches!(intent, Intent::Linger(_)) || !self.inbox.is_empty();
                match flushed {
                    Err(worse) => {
                        self.note_end(worse);
                        self.socket().set_abortive_close();
                    }
                    Ok(()) if is_lingering && !self.life.peer_has_ended => {
                        self.note_end(reason);
                        self.linger(alarm, watch).await;
                    }
                    Ok(()) => self.note_end(reason),
                }
            }
        }
        self.ended_as()
    }

    /// Closes at once, as far as that goes without waiting: for connections on which nothing is owed.
    pub fn close_now(mut self) {
        match self.machine.intent() {
            Intent::Continue => self.note_end(CloseReason::Bug("closed-without-reason")),
            Intent::Abort(reason) => {
                self.note_end(reason);
                self.socket().set_abortive_close();
            }
            Intent::Close(reason) | Intent::Linger(reason) => self.note_end(reason),
        }
    }

    fn note_end(&mut self, reason: CloseReason) {
        self.life.note_end(reason, self.phase());
    }

    fn ended_as(&self) -> (CloseReason, Phase) {
        self.life.ended_as(&self.machine, self.phase())
    }

    /// Whether a FIN now would make a message look complete that is not, or would hide that an exchange was given up.
    fn is_cut_off(&self) -> bool {
        !self.life.has_ended()
            && match self.machine.intent() {
                Intent::Abort(_) => true,
                Intent::Continue => self.phase().is_busy(),
                Intent::Close(_) | Intent::Linger(_) => self.owes(),
            }
    }

    /// Writes what is owed, for as long as that may take.
    fn poll_farewell(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &mut Alarm,
        watch: &mut DrainWatch,
    ) -> Poll<Result<(), CloseReason>> {
        let clock = self.life.context.clock;
        let now = clock.now();
        let mut flushed = self.poll_flush(cx, now);
        if let Poll::Ready(Ok(())) = flushed {
            self.socket_mut().conclude();
            // Nothing else is owed: whoever is gone before TLS could say that this is the end has missed nothing.
            flushed = self.poll_flush(cx, now).map(|_| Ok(()));
        }
        if let Poll::Ready(flushed) = flushed {
            return Poll::Ready(flushed.map_err(|fault| self.reason_of(fault)));
        }
        watch.register(cx);
        let forcing = watch.drain().forcing_at().map(|at| Deadline { at, timer: Timer::Drain });
        let Some(next) = Deadline::earlier(self.life.stalled_until(), forcing) else { return Poll::Pending };
        alarm.poll(cx, clock, now, Some(next.at)).map(|()| {
            Err(match next.timer {
                Timer::Drain => CloseReason::DrainForced,
                timer => CloseReason::TimedOut(timer),
            })
        })
    }

    /// RFC 9112 §9.6: shut our side, then read and discard, so that an RST cannot destroy what the peer has not read.
    async fn linger(&mut self, alarm: &mut Alarm, watch: &mut DrainWatch) {
        if self.socket_mut().shutdown_write().is_err() {
            return; // ENOTCONN: the peer is gone already.
        }
        let (plan, clock) = (self.life.context.linger, self.life.context.clock);
        self.life.note_shut(clock.now());
        self.inbox.clear();
        let since = clock.now();
        let until = since.after(plan.timeout);
        let mut discarded = 0;
        poll_fn(|cx| {
            let now = clock.now();
            loop {
                let before = self.life.bytes_in;
                let read = self.poll_receive(cx, now, |_, bytes| *bytes = &[]);
                discarded += self.life.bytes_in - before;
                match read {
                    Poll::Ready(Ok(Received::Bytes(()))) if discarded < plan.max_bytes => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            watch.register(cx);
            // It has had its answer; whoever waits for a place has not.
            if watch.drain().pressure().is_to_give_way(since) {
                return Poll::Ready(());
            }
            let until = watch.drain().forcing_at().map_or(until, |forcing| forcing.min(until));
            alarm.poll(cx, clock, now, Some(until))
        })
        .await;
    }
}

impl<M: Machine, S: Socket> Drop for Leg<M, S> {
    fn drop(&mut self) {
        let Some(socket) = &self.socket else { return };
        if self.is_cut_off() {
            socket.set_abortive_close();
        }
        self.life.tell_closed(self.ended_as(), self.machine.exchanges());
    }
}
