//! Sockets that are secured by TLS: over the simulated network, with faults at every byte, and over real ones.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod agreed;
mod authority;
mod faults;
mod flow;
mod idle;
mod loopback;
mod not_tls;
mod reference;
mod refused;
mod rig;
