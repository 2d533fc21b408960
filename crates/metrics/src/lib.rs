//! Counters of connections and exchanges, one shard per worker.
//!
//! A [`metrics::Metrics`] has shards; each [`shard::Shard`] is an [`Observer`](sheave_lifecycle::observe::Observer) that
//! one worker tells what happens to its connections. A scrape reads all shards and never makes a worker wait for it.
//!
//! Counts are exact whoever calls: a shard may be shared by threads. That costs a lock that is free when it is not.

mod cell;
mod encode;
mod histogram;
mod ids;
mod labels;
pub mod live;
pub mod metrics;
mod process;
pub mod shard;
mod snapshot;
