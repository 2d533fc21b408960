//! An HTTP server whose connections end well.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use http::Request;
//! use sheave_net::into_listener::IntoListener;
//! use sheave_server::body::RequestBody;
//! use sheave_server::server::Server;
//! use sheave_server::service::service_fn;
//!
//! async fn hello(request: Request<RequestBody>) -> String {
//!     format!("{} was asked for\n", request.uri())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::builder().idle_timeout(Duration::from_secs(30)).build(service_fn(hello))?;
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?.into_listener()?;
//!     let serving = tokio::spawn({
//!         let server = server.clone();
//!         async move { server.serve(listener).await }
//!     });
//!     tokio::signal::ctrl_c().await?;
//!     let report = server.drain().await;
//!     println!("{} finished, {} lost", report.finished, report.lost);
//!     serving.await?;
//!     Ok(())
//! }
//! ```
//!
//! [`server::Server`] accepts connections from any [`sheave_net::listen::Listener`], or whatever [becomes
//! one](sheave_net::into_listener), and shows each request to a [`handler::Handler`]. There are three kinds of those:
//!
//! - [`service::service_fn`]: a closure that owns its `http::Request` and returns a text, a stream, a file or an
//!   `http::Response`. To begin with, and mostly enough: it costs a few allocations a request.
//! - [`service::exchange_fn`], or the trait itself: a function that borrows its [`exchange::Exchange`]. It allocates nothing,
//!   and can do all that a connection can.
//! - `sheave_tower::handler::ServiceHandler`: a tower service, such as axum's `Router`.
//!
//! Every deadline and limit is on, and a [knob](builder::ServerBuilder); every connection ends with one reason, told to an
//! [`sheave_lifecycle::observe::Observer`]; a handler that panics answers 500, closes its connection, is counted, and harms
//! nobody else.
//!
//! # Where it ends
//! It routes nothing, compresses nothing and logs nothing: that is a framework's, or an observer's. Linux only.
//!
//! Foreign types in the interface: those of http, bytes and http-body, futures-core's `Stream`, and where there is no way
//! around it tokio's (`AsyncRead` and `AsyncWrite` of what switched to another protocol, the file of a reply, sockets).

mod accepting;
pub mod admission;
pub mod answer;
pub mod body;
pub mod builder;
pub mod callee;
mod carrier;
pub mod config;
mod connection;
pub mod connection_info;
pub mod converse;
mod cores;
mod date;
pub mod draining;
mod ending;
pub mod error;
pub mod exchange;
mod guard;
pub mod handler;
mod handshake;
mod http1;
mod http2;
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
mod turnstile;
pub mod upgrade;
