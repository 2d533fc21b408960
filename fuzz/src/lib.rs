//! What must hold for any bytes that a peer can send; one module a fuzz target.

pub mod chunked_body;
pub mod connection;
mod fields;
pub mod h2_frames;
pub mod h2_head;
mod pieces;
pub mod proxy_header;
pub mod request_head;
pub mod response_head;
