//! The sheave binary.

mod access_log;
mod address;
mod admin;
mod args;
mod banner;
mod bind;
mod calendar;
mod commands;
mod config;
mod demo;
mod duration;
mod exit;
mod explain;
mod fault;
mod handover;
mod http2;
mod json;
mod lifecycle_log;
mod lifetime;
mod limit;
mod logs;
mod lookups;
mod network;
mod passing;
mod pools;
mod pulse;
mod race;
mod rate;
mod room;
mod say;
mod service;
mod service_manager;
mod share;
mod signal;
mod sink;
mod size;
mod sockets;
mod spare_memory;
mod tls;
mod tunnels;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before there are threads: it takes what it reads out of the environment.
    let inherited = handover::Inherited::take();
    match inherited.and_then(|inherited| commands::run(args::Arguments::parse(), inherited)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say::error(format_args!("sheave: {failure}"));
            failure.exit.into()
        }
    }
}
