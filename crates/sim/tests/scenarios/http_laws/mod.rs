//! The laws that speak of messages: what belongs to which exchange, what is whole, and what was said of the connection.
//!
//! They look at the bytes on the wires alone, through a reader of their own, and at what the observer was told.

mod books;
mod case;
mod contents;
mod ends;
mod losses;
mod retries;

pub(crate) use case::check;
