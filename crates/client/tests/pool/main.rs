//! The pool: on a network that does as it is told, under a paused clock, and on loopback sockets.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod backoff;
mod learning;
mod loopback;
mod net;
mod queue;
mod rig;
mod sweep;
