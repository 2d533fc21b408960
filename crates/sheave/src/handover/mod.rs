//! Listening sockets on their way from one process to the next: by socket activation, and from us to our successor.

mod inherit;
mod names;
mod predecessor;
mod successor;

pub(crate) use inherit::{Inherited, ListeningSocket};
pub(crate) use names::Purpose;
pub(crate) use predecessor::{Answer, Predecessor, Trust};
pub(crate) use successor::{Confirmed, Confirming, Relaunch, successor};
