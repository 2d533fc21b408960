//! The tests' own peer: scripted origins, a strict reader and a witness, shared with the proxy's tests.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]
// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../proxy/tests/kit/message.rs"]
pub mod message;
#[path = "../../../proxy/tests/kit/origin.rs"]
pub mod origin;
#[path = "../../../proxy/tests/kit/recorder.rs"]
pub mod recorder;
#[path = "../../../proxy/tests/kit/run.rs"]
pub mod run;
#[path = "../../../proxy/tests/kit/wire.rs"]
pub mod wire;
