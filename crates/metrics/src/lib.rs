//! Counters of connections and exchanges, one shard per worker.
