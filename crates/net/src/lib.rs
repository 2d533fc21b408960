//! Sockets, timers and the kernel for sheave.
//!
//! Nothing here knows HTTP. A [`leg::Leg`] drives one socket for one [`sheave_lifecycle::machine::Machine`].

pub mod accept_backoff;
pub mod alarm;
mod backlog;
pub mod balance;
mod bell;
pub mod bind_error;
pub mod clock;
pub mod dial;
pub mod dial_error;
pub mod dial_order;
pub mod dial_tls;
pub mod drain;
pub mod endpoint;
pub mod handshake;
pub mod host_port;
pub mod into_listener;
pub mod leg;
mod lent_buffer;
mod life;
pub mod limits;
pub mod listen;
pub mod lookup;
mod pass_through;
pub mod per_runtime;
pub mod pressure;
pub mod proxy_protocol;
pub mod reserve;
pub mod resolve;
pub mod scratch;
pub mod secured;
pub mod socket;
pub mod stream;
pub mod tcp_connect;
pub mod tcp_listen;
pub mod tcp_options;
pub mod tls;
pub mod unix_listen;
pub mod wire;
