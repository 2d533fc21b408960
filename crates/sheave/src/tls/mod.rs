//! Certificates: read from files, made for a first try, looked after while the process lives.

mod files;
mod reload;
mod self_signed;
mod towards_clients;
mod towards_origins;

pub(crate) use reload::{Reload, Reread};
pub(crate) use towards_clients::Certificates;
pub(crate) use towards_origins::{OriginTls, secure};
