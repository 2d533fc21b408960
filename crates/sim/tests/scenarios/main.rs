//! The real server, client and proxy over the simulated network, with every law held to every run.

mod broken;
mod caller;
mod catalogue;
mod client;
mod exhaustive;
mod handler;
mod http_laws;
mod judge;
mod messages;
mod origin;
mod random;
mod regressions;
mod replay;
mod same;
mod settings;
mod talk;
mod tunnel;
mod worlds;
