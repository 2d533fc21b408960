//! Real peers around the real binary: origins behind it, clients and HAProxy in front of it.

mod checks;
mod curl;
mod files;
mod ledger;
mod load;
mod origins;
mod run;

pub(crate) use run::{Options, run};
