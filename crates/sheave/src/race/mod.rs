//! `sheave demo race`: a proxy before an origin that closes idle connections, and what clients see of that.

mod client;
mod command;
mod load;
mod progress;
mod protections;
mod score;
mod stage;
mod table;
mod witness;

pub(crate) use command::run;
