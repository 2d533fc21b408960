//! One line for each exchange that ended.

mod combined;
mod json_line;
mod observer;
mod target;

pub(crate) use observer::{AccessLog, Format};
pub(crate) use target::LogTarget;
