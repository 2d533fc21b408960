//! Lines of text on their way out: collected by those who must not wait, written by a thread that may.

mod destination;
mod shards;
mod writer;

pub(crate) use destination::{LogFile, StandardStream};
pub(crate) use shards::{Counts, Lines};
pub(crate) use writer::Sink;
