//! A connection that waits for its next exchange, what is found against it, and how it is closed.

use std::sync::Arc;

use sheave_lifecycle::close::CloseReason;
use sheave_lifecycle::machine::{Intent, Machine};
use sheave_lifecycle::time::Time;
use sheave_net::endpoint::Announced;
use sheave_net::leg::Leg;
use sheave_net::socket::{Liveness, Socket};
use sheave_proto::connection::Connection;
use sheave_proto::role::Client;

/// In a box of its own, so that it moves between shelf and call as a pointer.
pub(crate) type ClientLeg<S> = Box<Leg<Connection<Client>, S>>;

/// A connection that waits for its next exchange.
pub(crate) struct Parked<S: Socket> {
    pub(crate) leg: ClientLeg<S>,
    pub(crate) since: Time,
    /// When it was last known to be alive.
    pub(crate) alive_at: Time,
    /// How many more requests the origin takes on it, as far as it said.
    pub(crate) left: Option<u64>,
    /// For whom alone it is, where its origin was told.
    pub(crate) client: Option<Arc<Announced>>,
}

/// What the kernel knows against a parked connection, if it knows something.
pub(crate) fn found_dead<S: Socket>(leg: &mut ClientLeg<S>) -> Option<CloseReason> {
    match leg.socket_mut().probe() {
        Liveness::Alive => None,
        Liveness::Closed => Some(CloseReason::PeerClosed),
        Liveness::Failed(fault) => Some(leg.reason_of(fault)),
        Liveness::Unasked => Some(CloseReason::UnaskedBytes),
    }
}

/// Closes a connection on which nothing is owed.
#[expect(clippy::boxed_local, reason = "whoever ends it has it in its box")]
pub(crate) fn end<S: Socket>(mut leg: ClientLeg<S>, reason: CloseReason) {
    leg.machine_mut().end(Intent::Close(reason));
    leg.close_now();
}
