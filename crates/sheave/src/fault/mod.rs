//! An origin that misbehaves on purpose, on raw sockets with a reader of its own: it must be able to break every rule.

mod command;
mod connection;
mod origin;
mod pages;
mod plan;
mod request;
mod share;
mod spec;
mod tally;
mod wire;

pub(crate) use command::run;
pub(crate) use origin::FaultyOrigin;
pub(crate) use plan::Faults;
pub(crate) use spec::{Ending, Fault, HELP, Spec};
pub(crate) use wire::{NoMore, Wire};
