//! Heads and trailers of HTTP/2, as the types of the `http` crate hold them, from and to those that every version shares.
//!
//! Framing layers check some of what is checked here, each another part of it. Whatever comes out of here can be written as
//! HTTP/1 and is read as the same message; whatever cannot is refused. RFC 9113 §8.2, §8.3, §10.3

mod fields;
mod request;
mod response;

pub use fields::{read_trailers, write_trailers};
pub use request::{read_request, write_request};
pub use response::{read_response, write_response};
