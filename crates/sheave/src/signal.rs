//! What the operator tells the process by signals.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// TERM or INT: drain; a second one ends at once. Holds the signal's name.
    Drain(&'static str),
    /// HUP or USR1: open log files anew.
    Reopen,
    /// USR2: start a successor, hand the listening sockets over to it, and drain.
    HandOver,
}

/// The signals that are listened to. From here on they do not end the process by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Begins to listen. Needs a runtime.
    ///
    /// # Errors
    ///
    /// As the kernel says it.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no signal is lost.
    pub(crate) async fn next(&mut self) -> Told {
        poll_fn(|cx| {
            // A stream of signals does not end: `None` is as good as nothing.
            let mut has_come = |signal: &mut Signal| matches!(signal.poll_recv(cx), Poll::Ready(Some(())));
            if has_come(&mut self.term) {
                Poll::Ready(Told::Drain("TERM"))
            } else if has_come(&mut self.int) {
                Poll::Ready(Told::Drain("INT"))
            } else if has_come(&mut self.hup) || has_come(&mut self.usr1) {
                Poll::Ready(Told::Reopen)
            } else if has_come(&mut self.usr2) {
                Poll::Ready(Told::HandOver)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}
