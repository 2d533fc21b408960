//! From a name to addresses, once: the system's resolver, or one of a test's making.

use std::io;
use std::net::SocketAddr;

use crate::host_port::HostPort;

/// Looks names up.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of `name`, each with its port, the best first.
    ///
    /// # Errors
    /// What the resolver says. No addresses at all may be an error or an empty list.
    fn lookup(&self, name: &HostPort) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver (`getaddrinfo`): hosts file, DNS, and whatever `nsswitch.conf` names.
///
/// Runs on the runtime's blocking threads and cannot be stopped: dropped, it ends in its own time.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    async fn lookup(&self, name: &HostPort) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name.host(), name.port())).await?.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_the_machine_itself() {
        let found = SystemLookup.lookup(&"localhost:80".parse().unwrap()).await.unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
    }
}
