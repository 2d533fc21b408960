//! A running sheave, an origin that does what a test says, and a client that hides nothing.

mod client;
mod load;
mod notify;
mod numbers;
mod origin;
mod process;
mod tls;

pub(crate) use client::{Client, Response};
pub(crate) use load::{Load, steady_origin};
pub(crate) use notify::Manager;
pub(crate) use numbers::{metric, metric_until};
pub(crate) use origin::{Origin, read_head};
pub(crate) use process::Sheave;
pub(crate) use tls::{Authority, Files, Issued, Secured, TlsOrigin};

use std::time::Duration;

/// How long anything may take before a test fails instead of hanging. Nothing is asserted about shorter times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
