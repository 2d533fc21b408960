//! An HTTP client whose pool hands out no dead connection, and whose errors say whether the request was sent.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sheave_client::client::Client;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder()
//!         .timeout(Some(Duration::from_secs(10)))
//!         .max_conns_per_host(100)
//!         .user_agent("orders/1.0")
//!         .build()?;
//!     let mut response = client
//!         .get("http://127.0.0.1:9000/orders")
//!         .query(&[("page", "2")])
//!         .bearer_auth("secret")
//!         .send()
//!         .await?
//!         .error_for_status()?;
//!     while let Some(piece) = response.chunk().await? {
//!         println!("{} bytes", piece.len());
//!     }
//!     match client.post("http://127.0.0.1:9000/orders").body("one").send().await {
//!         Ok(response) => println!("{}", response.text().await?),
//!         Err(error) if error.is_safe_to_retry() => println!("nothing came of it: {error}"),
//!         Err(error) => println!("{}; sent: {}", error.label(), error.request_was_sent().label()),
//!     }
//!     println!("{:?}", client.pool_stats());
//!     Ok(())
//! }
//! ```
//!
//! A [`client::Client`] is for whoever calls services:
//!
//! - [`client.get(…)`](client::Client::get) and its like, or [`execute`](client::Client::execute) with an `http::Request` of
//!   any body; responses stream. HTTP/1.1 and HTTP/2, `https` by the system's roots.
//! - Every deadline and limit is on, and a [knob](builder::ClientBuilder), by phase: connect, handshake, response, content,
//!   write, idle, the queue. One for the whole is yours to set.
//! - The [`pool`] asks the kernel before a connection is reused, learns how long origins keep theirs, and gives requests that
//!   cannot be sent again none that may be about to close.
//! - A request is sent again only on evidence that this does no harm, under a budget; an [`failure::Error`] names the
//!   evidence, or that there is none.
//! - [Redirects](redirect::RedirectPolicy) are followed with what may be told to their target, and no more.
//! - Interim responses are [shown](request::RequestBuilder::on_informational); a connection that switches to another protocol is
//!   [yours](response::Response::upgrade).
//! - An exchange that is dropped at any await point leaves nothing behind, and no connection with its bytes on it.
//!
//! A [`pool::Pool`] is for whoever relays: it hands out a [`call::Call`], one exchange on a connection or in a stream, which
//! goes back by itself when that ended well. It allocates nothing for a request on a connection that is there.
//!
//! # Features
//! `json`: `RequestBuilder::json` and `Response::json`, out of and into types of serde. `gzip`, `brotli`, `zstd`: encoded content
//! is asked for and decoded, a piece at a time, so that no bomb fills memory.
//!
//! # Where it ends
//! No cookies, no cache, no proxy: the environment (`HTTP_PROXY`) is not read. No HTTP/3. `Connection` is not
//! a request's to say; CONNECT is the [`pool`]'s. URLs are `http::Uri`s: what must be percent-encoded is the caller's to
//! encode, but for [`query`](request::RequestBuilder::query). Linux only.
//!
//! Foreign types in the interface: those of http, bytes and http-body, futures-core's `Stream`, serde's traits behind `json`.

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
mod informational;
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
mod response_head;
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
pub mod upgraded;
pub mod url;
mod waiter;
