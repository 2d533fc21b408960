//! The binary from outside: started on ports that the kernel chooses, spoken to over loopback, ended by signals.

#![expect(clippy::panic, reason = "the helpers of a test fail the test")]

mod activation;
mod deadlines;
mod drain;
mod exhaustion;
mod explain;
mod handover;
mod limits;
mod logs;
mod origins;
mod proxy;
mod proxy_protocol;
mod race;
mod start;
mod strict;
mod support;
mod tls;
