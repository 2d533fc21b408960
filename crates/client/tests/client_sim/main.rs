//! The client on the simulated network: cancelled at every poll, and late in every phase, without a clock that runs.

// A test fails by a panic, wherever in it that happens; its parts are public to each other.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

mod cancelled;
mod late;
mod rig;
