//! HTTP as a sans-IO engine, both roles: HTTP/1 whole, and of HTTP/2 all but its frames.

pub mod batch;
pub mod body;
pub mod config;
pub mod connection;
pub mod date;
pub mod error;
pub mod fields;
pub mod framing;
mod grammar;
pub mod h2_code;
pub mod h2_config;
pub mod h2_head;
pub mod head;
mod header_map;
pub mod hop;
pub mod keep_alive;
pub mod known;
pub mod limits;
mod lines;
pub mod list;
pub mod read_head;
pub mod role;
pub mod state;
pub mod stream;
pub mod target;
pub mod version;
pub mod write_head;
