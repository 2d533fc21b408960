//! An HTTP client's connections: opened, reused only when the kernel says that they live, and closed on time.
//!
//! [`pool::Pool`] hands out a [`call::Call`]: a connection that carries one exchange, and goes back by itself when that
//! ended well.

mod answer;
pub mod builder;
mod by_site;
pub mod call;
pub mod client;
#[cfg(any(feature = "brotli", feature = "gzip", feature = "zstd"))]
mod codec;
pub mod config;
pub mod connection_facts;
pub mod content;
mod conversation;
mod decode;
mod drive;
pub mod error;
pub mod failure;
mod followed;
mod http1;
mod http2;
mod multiplexed;
pub mod origin;
mod origins;
mod parked;
mod place;
pub mod pool;
mod queue;
pub mod redirect;
pub mod request;
mod reserved;
pub mod response;
pub mod response_body;
mod seat;
mod sending;
mod shelf;
mod shelves;
mod state;
pub mod stats;
mod streams;
mod sweep;
pub mod total;
mod tunnel;
pub mod url;
mod waiter;
