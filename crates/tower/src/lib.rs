//! tower services, axum's routers among them, on a server whose connections end well.
//!
//! ```no_run
//! use axum::Router;
//! use axum::routing::get;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let app = Router::new().route("/", get(async || "hello, world"));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     let interrupted = async { _ = tokio::signal::ctrl_c().await };
//!     let report = sheave_tower::serve(listener, app).with_graceful_shutdown(interrupted).await?;
//!     println!("{} connections finished, {} exchanges lost", report.finished, report.lost);
//!     Ok(())
//! }
//! ```
//!
//! [`serve`] is for whoever comes from `axum::serve`; [`handler::ServiceHandler`] puts a service on a
//! [`Server`](sheave_server::server::Server) of any kind: on several listeners, on a thread for each core, on a listener of
//! your own. Any [`tower_service::Service`] of requests will do, and tower-http's layers around it.
//!
//! What every service gets: deadlines for each phase of a connection, all of them on; a drain that loses no request; the
//! request's body read when it is asked for, the response's asked for when the client has taken what was there; and, as
//! [extensions](http::Extensions) of its request, [what is known of the connection](sheave_server::connection_info), a way
//! to [speak another protocol](sheave_server::upgrade), and where it is asked for, one to send
//! [interim responses](sheave_server::interim).
//!
//! # Where it ends
//! A service is cloned for every request, so that it must be `Clone`, and `Sync`, as axum's `Router` is; tower's
//! `BoxCloneSyncService` makes one of most others. What a service's response says in `Connection` is not sent: the
//! connection's state decides, and `Connection: close` is not a service's to say. Services that are made for one connection
//! (`MakeService`) have no place here. With the feature `hyper`, services written for hyper's own trait run, and axum's
//! `WebSocketUpgrade`, which wants a type that only hyper can make.
//!
//! Foreign types in the interface: those of http, http-body and tower-service; of hyper behind the feature of that name.

#[cfg(feature = "client")]
pub mod client;
mod from_hyper;
pub mod handler;
#[cfg(feature = "hyper")]
pub mod hyper_service;
#[cfg(feature = "hyper")]
mod hyper_upgrade;
mod serve;

pub use serve::{Serve, serve};
