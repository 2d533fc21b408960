//! HTTP/2 connections over the simulated network: with a client that others made, and with frames written by hand for what
//! no good client does.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod certificate;
mod drains;
mod exchanges;
mod faults;
mod floods;
mod frames;
mod handler;
mod http1;
mod lifecycle;
mod lives;
mod peer;
mod rig;
mod streams;
