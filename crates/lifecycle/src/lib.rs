//! The rules of a connection's life, without I/O and without a clock.
//!
//! Everything here is a value or a pure function over values: what an errno means, how a connection may end, which
//! deadline is next, whether a request may be sent again, how far a drain has come. Time is an argument.

pub mod arriving;
pub mod backoff;
pub mod both;
pub mod byte_floor;
pub mod close;
pub mod deadline;
pub mod drain;
pub mod errno;
pub mod handover;
pub mod keep_alive;
pub mod kept_ends;
pub mod limit;
pub mod machine;
pub mod observe;
pub mod pace;
pub mod phase;
pub mod places;
pub mod policy;
pub mod retry;
pub mod ring;
pub mod time;
