//! Heads out of bytes, as they come, whole or in pieces.

mod request;
mod response;
#[cfg(test)]
mod tests;

pub use request::RequestReader;
pub use response::ResponseReader;
