//! An HTTP server whose connections end well.
//!
//! [`server::Server`] accepts connections from any [`sheave_net::listen::Listener`] and shows each request to a
//! [`handler::Handler`] as an [`exchange::Exchange`]. Every deadline and limit is on; every connection ends with one
//! reason, told to an [`sheave_lifecycle::observe::Observer`].

mod accepting;
pub mod admission;
pub mod answer;
pub mod config;
mod connection;
pub mod error;
pub mod exchange;
mod guard;
pub mod handler;
mod live;
mod record;
mod request;
pub mod server;
mod shared;
pub mod tunnel;
