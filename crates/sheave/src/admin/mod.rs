//! What the operator can ask the running process over HTTP. Nothing here changes anything, but for a drain that is asked for.

mod drain;
mod handler;
mod origins;
mod pages;
mod readiness;

pub(crate) use drain::DrainView;
pub(crate) use handler::Admin;
pub(crate) use origins::keep_alive;
pub(crate) use readiness::Readiness;
