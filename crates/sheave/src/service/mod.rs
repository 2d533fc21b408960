//! A process that serves: prepared, then run until it is drained.

mod process;
mod role;
mod sockets;
mod surroundings;
mod worker;

pub(crate) use process::{DESCRIPTORS_OF_AN_EXCHANGE, Process, Setup};
pub(crate) use role::{Role, WorkerContext};
pub(crate) use worker::start;
