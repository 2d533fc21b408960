//! A reverse proxy as a library: for whoever builds a gateway of their own.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use sheave_client::config::ClientConfig;
//! use sheave_client::origin::Origin;
//! use sheave_lifecycle::observe::Silent;
//! use sheave_net::clock::Clock;
//! use sheave_net::tcp_connect::TcpConnector;
//! use sheave_proxy::config::ProxyConfig;
//! use sheave_proxy::proxy::Proxy;
//! use sheave_server::server::Server;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let origins = vec![Origin::at(([127, 0, 0, 1], 9000).into()), Origin::at(([127, 0, 0, 1], 9001).into())];
//!     let (clock, forwarding, pooling) = (Clock::start(), ProxyConfig::default(), ClientConfig::default());
//!     let proxy = Proxy::new(origins, TcpConnector::default(), forwarding, pooling, clock, Arc::new(Silent))?;
//!     let pool = proxy.pool().clone();
//!     tokio::spawn(async move { pool.sweep().await });
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     Server::builder().clock(clock).serve(listener, proxy).await?;
//!     Ok(())
//! }
//! ```
//!
//! A [`proxy::Proxy`] is a handler of `sheave-server` that sends each request on to an origin, through the pool of
//! `sheave-client`. [`config`] says how messages are changed on the way and when a request is sent again; a
//! [`gateway::Gateway`] says where to, and sees requests, responses and errors as they pass. The binary `sheave` uses these
//! seams and no others: its gateway is [`balance::Balancer`]. The example `gateway` authenticates, balances by key and
//! marks responses in sixty lines.
//!
//! What may be sent again, and when, is `sheave-lifecycle`'s to judge; what the messages look like, `sheave-proto`'s.
//!
//! # Where it ends
//! Content passes by, and no seam sees it: to read or change it, be a handler of `sheave-server`, with a client of
//! `sheave-client`. No cache, no routes, no configuration file; health is what the pool and the balancer find out.

mod attempt;
pub mod balance;
pub mod config;
pub mod connect;
pub mod connect_rule;
mod failure;
mod forward;
pub mod gateway;
pub mod proxy;
mod pump;
mod replay;
mod seams;
mod settled;
mod testimony;
mod tunnel;
pub mod upgrade;
mod words;
