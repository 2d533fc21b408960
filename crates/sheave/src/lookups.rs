//! Where origins are: looked up at the start, and again as time goes by.

use std::time::Duration;

use sheave_net::host_port::HostPort;
use sheave_net::lookup::SystemLookup;
use sheave_net::resolve::{Refresh, ResolvePlan, Resolved, resolve};
use tracing::{info, warn};

use crate::address::{Host, OriginAddress};
use crate::exit::Failure;

/// How long the start waits for names. A name server that does not answer must not keep the process from starting: what
/// is known later is used later.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// Looks an origin's name up, now and then again, within this runtime.
///
/// # Errors
///
/// A line that says that the name cannot be one.
pub(crate) fn keep_resolved(origin: &OriginAddress) -> Result<Resolved, Failure> {
    let name = match &origin.host {
        Host::Ip(ip) => HostPort::from(std::net::SocketAddr::new(*ip, origin.port)),
        Host::Name(name) => HostPort::new(name, origin.port)
            .map_err(|error| Failure::usage(format!("{origin} cannot be an origin: {error} (--to)")))?,
    };
    let (resolved, refresher) = resolve(name, ResolvePlan::default(), SystemLookup);
    tokio::spawn(refresher.run(told()));
    Ok(resolved)
}

/// Waits for the first addresses of all, but not for ever.
pub(crate) async fn first_of_all(origins: &[Resolved]) {
    let all = async {
        for origin in origins {
            // What went wrong has been logged.
            let _ = origin.first().await;
        }
    };
    let _ = tokio::time::timeout(START_PATIENCE, all).await;
}

/// Logs failures as they begin and less and less often as they go on, and what came after.
fn told() -> impl FnMut(&Refresh) + Send {
    let mut has_failed = false;
    move |refresh| match refresh {
        Refresh::Changed(addresses) if has_failed => {
            has_failed = false;
            info!(?addresses, "an origin's name can be resolved again");
        }
        Refresh::Failed { error, kept, failures } => {
            has_failed = true;
            if failures.is_power_of_two() {
                let source = std::error::Error::source(error).map(tracing::field::display);
                if *kept == 0 {
                    warn!(source, failures, "{error}; until then its requests get 502");
                } else {
                    warn!(source, failures, kept, "{error}; until then the addresses of before are used");
                }
            }
        }
        Refresh::Changed(_) | Refresh::Unchanged => has_failed = false,
    }
}
