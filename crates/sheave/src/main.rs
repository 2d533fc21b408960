//! The sheave binary.

mod access_log;
mod address;
mod admin;
mod args;
mod balance;
mod banner;
mod calendar;
mod demo;
mod duration;
mod exit;
mod json;
mod lifecycle_log;
mod limit;
mod network;
mod rate;
mod say;
mod share;
mod signal;
mod sink;
mod size;

use clap::Parser;
fn main() {
    args::Arguments::parse();
}
