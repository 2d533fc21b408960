//! HTTP/2 to origins, over the simulated network: an origin that others made, and one that breaks rules frame by frame.

// A test fails by a panic, wherever in it that happens; its parts are public to each other.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

mod frames;
mod goes_wrong;
mod origin;
mod rig;
mod shares;
