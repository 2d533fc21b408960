//! `sheave explain`: what a running process's numbers say about where its bottleneck is, and what to do.

mod change;
mod command;
mod findings;
mod kernel;
mod numbers;

pub(crate) use command::run;
