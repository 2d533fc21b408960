//! The sheave binary.

mod access_log;
mod address;
mod admin;
mod args;
mod balance;
mod banner;
mod bind;
mod calendar;
mod commands;
mod config;
mod demo;
mod duration;
mod exit;
mod fault;
mod json;
mod lifecycle_log;
mod lifetime;
mod limit;
mod logs;
mod lookups;
mod network;
mod passing;
mod rate;
mod room;
mod say;
mod service;
mod share;
mod signal;
mod sink;
mod size;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(args::Arguments::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say::error(format_args!("sheave: {failure}"));
            failure.exit.into()
        }
    }
}
