//! A protocol as the driver of its socket sees it.

use crate::close::CloseReason;
use crate::deadline::{Deadline, Timer};
use crate::phase::Phase;
use crate::time::Time;

/// What the driver is to do with the socket once all owed bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Carry on.
    Continue,
    /// Shut the write side, read and discard until FIN, a cap or the linger deadline; then close. RFC 9112 §9.6.
    Linger(CloseReason),
    /// Close: the peer expects nothing more.
    Close(CloseReason),
    /// Close with RST, so that what was sent cannot be taken for complete.
    Abort(CloseReason),
}

impl Intent {
    /// The reason, unless the connection goes on.
    pub const fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Continue => None,
            Self::Linger(reason) | Self::Close(reason) | Self::Abort(reason) => Some(reason),
        }
    }
}

/// The sans-IO state of one connection: takes what happened, and says what to wait for and what to do.
///
/// The bytes themselves go past it: a protocol has its own methods that take received bytes apart and frame bytes to be
/// sent, both without keeping them. What every protocol has in common, and all that a driver needs to know, is this.
pub trait Machine {
    /// Where the connection stands; after its end, where it stood then.
    fn phase(&self) -> Phase;

    /// How many exchanges have begun.
    fn exchanges(&self) -> u64;

    /// The next deadline, if any runs. The driver adds its own for writing, which depends on the socket alone.
    ///
    /// `is_waiting` says whether the driver waits for the peer's bytes. While it does not (the other side of a relay
    /// cannot take more), time does not count against this peer.
    fn deadline(&self, is_waiting: bool) -> Option<Deadline>;

    /// What is to become of the connection.
    fn intent(&self) -> Intent;

    /// The driver begins to wait for the peer's bytes: its time counts from here.
    fn progressed(&mut self, now: Time);

    /// So many bytes have arrived; `was_awaited` says whether the driver waited for them, and not only found them when it
    /// came to read.
    fn received(&mut self, len: usize, was_awaited: bool, now: Time);

    /// Where another engine reads the connection's bytes: these went by, in order, after [`Self::received`] was told how
    /// many. The machine can learn from them, and end the connection; then the engine does not see them.
    fn watch_received(&mut self, _bytes: &[u8], _now: Time) {}

    /// Where another engine writes the connection's bytes: these went out, in order.
    fn watch_sent(&mut self, _bytes: &[u8], _now: Time) {}

    /// A deadline has passed: this machine's own, or the driver's for writing.
    fn expired(&mut self, timer: Timer);

    /// The connection ends for a reason from outside. The first reason stays.
    fn end(&mut self, intent: Intent);
}
