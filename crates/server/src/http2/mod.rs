//! HTTP/2 connections: frames are the h2 crate's business, the life of connections and streams is ours. RFC 9113

pub(crate) mod connection;
mod crew;
mod engine;
mod link;
pub(crate) mod preface;
mod run;
pub(crate) mod stream;
