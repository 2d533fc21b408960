//! A relay between connections of every kind: HTTP/1 and HTTP/2, with TLS and without.

// A test fails by a panic, wherever in it that happens.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../server/tests/http2/certificate.rs"]
mod certificate;
#[path = "../../../server/tests/http2/handler.rs"]
mod handler;
#[path = "../../../server/tests/http2/http1.rs"]
mod http1;
mod manner;
mod origins;
mod tunnels;
