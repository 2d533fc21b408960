//! Sockets, timers and the kernel for sheave.
//!
//! Nothing here knows HTTP. A [`leg::Leg`] drives one socket for one [`sheave_lifecycle::machine::Machine`].

pub mod accept_backoff;
pub mod alarm;
pub mod clock;
pub mod drain;
pub mod host_port;
pub mod leg;
pub mod limits;
pub mod lookup;
pub mod resolve;
pub mod scratch;
pub mod socket;
