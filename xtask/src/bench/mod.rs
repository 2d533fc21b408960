//! What sheave costs beside its peers, measured in one interleaved run.

mod contenders;
mod crowd;
mod environment;
mod measure;
mod neighbours;
mod picture;
mod programs;
mod report;
mod run;
mod scenario;
mod statistics;

pub(crate) use contenders::Peer;
pub(crate) use run::{Options, run};
