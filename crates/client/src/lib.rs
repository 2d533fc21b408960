//! An HTTP client's connections: opened, reused only when the kernel says that they live, and closed on time.
//!
//! [`pool::Pool`] hands out a [`call::Call`]: a connection that carries one exchange, and goes back by itself when that
//! ended well.

mod by_site;
pub mod call;
pub mod config;
mod drive;
pub mod error;
mod followed;
mod http1;
mod http2;
mod multiplexed;
pub mod origin;
mod parked;
mod place;
pub mod pool;
mod queue;
mod reserved;
mod seat;
mod shelf;
mod shelves;
mod state;
pub mod stats;
mod streams;
mod sweep;
pub mod total;
mod tunnel;
mod waiter;
