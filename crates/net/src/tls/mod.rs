//! TLS between a socket and HTTP, on rustls.
//!
//! [`socket::TlsSocket`] makes any [`crate::socket::Socket`] a secured one; [`server::ServerTls`] and
//! [`client::ClientTls`] say with which certificates, and [`stream::Stream`] is for whoever has connections of both kinds.

pub mod certificate;
pub mod client;
mod error;
pub mod listener;
pub mod name;
mod not_tls;
mod provider;
mod queue;
mod scratch;
pub mod server;
mod session;
mod sni;
pub mod socket;
pub mod stream;
pub mod validity;
pub mod version;
