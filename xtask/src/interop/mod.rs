//! Real peers around the real binary: origins behind it, clients and HAProxy in front of it.

mod announced;
mod base;
mod certificates;
mod checks;
mod client;
mod connect;
mod curl;
mod files;
mod fronts;
mod grpc;
mod ledger;
mod load;
mod openssl;
mod origins;
mod proxy;
mod run;
mod streams;
mod table;
mod websocket;

pub(crate) use run::{Options, run};
