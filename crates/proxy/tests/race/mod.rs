//! What the tests of the idle race share: lanes in which one request after another meets its origin's close.
//!
//! A lane is a proxy, an origin and a client of its own, so that the connection that is parked is the one that the next
//! request is meant for. Origin and client are plain threads on blocking sockets: they know to some ten microseconds when
//! they close and when they send, and neither shares a reactor with the proxy.

// A test fails by a panic, and so do its helpers. Each test binary uses a part of it.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

pub mod client;
pub mod lane;
pub mod origin;
pub mod score;
pub mod wait;
