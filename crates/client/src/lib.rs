//! An HTTP client's connections: opened, reused only when the kernel says that they live, and closed on time.
//!
//! [`pool::Pool`] hands out a [`call::Call`]: a connection that carries one exchange, and goes back by itself when that
//! ended well.

pub mod call;
pub mod config;
pub mod origin;
pub mod pool;
mod shelves;
