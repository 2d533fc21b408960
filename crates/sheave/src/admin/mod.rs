//! What the operator can ask the running process over HTTP. Nothing here changes anything.

mod handler;
mod pages;
mod readiness;

pub(crate) use handler::Admin;
pub(crate) use readiness::Readiness;
