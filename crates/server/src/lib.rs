//! An HTTP server whose connections end well.
//!
//! [`server::Server`] accepts connections from any [`sheave_net::listen::Listener`] and shows each request to a
//! [`handler::Handler`] as an [`exchange::Exchange`]. Every deadline and limit is on; every connection ends with one
//! reason, told to an [`sheave_lifecycle::observe::Observer`].

mod accepting;
pub mod admission;
pub mod answer;
pub mod body;
pub mod builder;
pub mod config;
mod connection;
pub mod connection_info;
pub mod converse;
mod cores;
pub mod draining;
pub mod error;
pub mod exchange;
mod guard;
pub mod handler;
mod handshake;
mod http_types;
pub mod interim;
mod live;
mod record;
pub mod reply;
mod request;
pub mod server;
pub mod service;
mod shared;
mod slot;
pub mod tunnel;
pub mod upgrade;
