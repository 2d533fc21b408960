//! What must hold for any bytes that a peer can send; one module a fuzz target.

pub mod chunked_body;
pub mod connection;
mod fields;
mod pieces;
pub mod proxy_header;
pub mod request_head;
pub mod response_head;
