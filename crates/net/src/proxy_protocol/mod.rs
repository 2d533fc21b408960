//! The PROXY protocol, versions 1 and 2: a balancer says for whom it connects, before anything else is said.
//!
//! The rules are those of HAProxy's `doc/proxy-protocol.txt`, whose sections the comments name.

mod crc32c;
pub mod header;
pub mod listen;
pub mod parse;
pub mod receive;
pub mod send;
mod v1;
mod v2;
pub mod write;
