//! A simulated network with faults at every byte boundary, for tests.

pub mod connector;
pub mod explore;
pub mod fault;
pub mod laws;
pub mod listener;
pub mod net;
pub mod plan;
pub mod random;
pub mod reactor;
pub mod recorder;
pub mod run;
pub mod shrink;
pub mod socket;
pub mod tcp;
pub mod trace;
