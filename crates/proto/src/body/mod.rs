//! Bodies in and out: counted, chunked, or until the end of the stream.

mod chunk_line;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{BodyEvent, BodyReader};
pub use writer::{BodyWriter, Frame, Prefix};
