//! The guide for those who come from hyper and axum, so that what it shows compiles.
#![doc = include_str!("../../../docs/from-hyper.md")]
