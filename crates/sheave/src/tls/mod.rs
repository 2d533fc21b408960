//! Certificates: read from files, made for a first try, looked after while the process lives.

mod files;
mod reload;
mod self_signed;
mod towards_clients;
mod towards_origins;

pub(crate) use reload::Reload;
pub(crate) use towards_clients::Certificates;
pub(crate) use towards_origins::{secure, towards_origins};
