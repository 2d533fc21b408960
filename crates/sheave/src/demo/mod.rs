//! An origin to try things on: echoes, bytes, delays, status codes.

mod handler;
pub(crate) mod pattern;
mod role;
mod route;

pub(crate) use handler::Demo;
pub(crate) use role::start_behind;
