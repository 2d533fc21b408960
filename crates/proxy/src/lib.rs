//! A reverse proxy as a library: a [`proxy::Proxy`] is a handler of `sheave-server` that sends each request on to an
//! origin, through the pool of `sheave-client`.
//!
//! What may be sent again, and when, is `sheave-lifecycle`'s to judge; what the messages look like, `sheave-proto`'s.

mod attempt;
pub mod balance;
pub mod config;
pub mod connect;
pub mod connect_rule;
mod failure;
mod forward;
pub mod gateway;
pub mod proxy;
mod pump;
mod replay;
mod seams;
mod tunnel;
pub mod upgrade;
mod words;
