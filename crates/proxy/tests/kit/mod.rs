//! What the tests on real sockets share: a proxy, scripted origins, raw clients, and a witness of what happened.
//!
//! Nothing here uses sheave's own parsers: what is received is read by a small strict reader of its own.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]
// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

pub mod message;
pub mod origin;
pub mod recorder;
pub mod rig;
pub mod run;
pub mod wire;
