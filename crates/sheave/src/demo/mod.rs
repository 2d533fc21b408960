//! An origin to try things on: echoes, bytes, delays, status codes.

mod handler;
mod pattern;
mod route;

pub(crate) use handler::Demo;
