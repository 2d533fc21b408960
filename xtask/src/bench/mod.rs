//! CPU per request of sheave, nginx and HAProxy, measured in one interleaved run.

mod contenders;
mod environment;
mod measure;
mod neighbours;
mod report;
mod run;
mod scenario;
mod statistics;

pub(crate) use run::{Options, run};
