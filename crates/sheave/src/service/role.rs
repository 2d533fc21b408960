//! What a process's workers do with requests: pass them on, or answer them.

use std::io;
use std::sync::Arc;

use sheave_lifecycle::observe::Observer;
use sheave_net::balance::CountedSocket;
use sheave_net::clock::Clock;
use sheave_net::proxy_protocol::receive::Announced;
use sheave_net::tls::stream::Stream;
use sheave_server::handler::Handler;

use crate::pools::Pools;

/// What a worker's handler may need to know.
#[derive(Clone)]
pub(crate) struct WorkerContext {
    /// The process's clock.
    pub(crate) clock: Clock,
    /// Who is told of connections to origins.
    pub(crate) observer: Arc<dyn Observer>,
}

/// A client's connection: counted at its worker, announced by a PROXY header where its peer is one that sends it, and
/// secured by TLS where that is spoken.
pub(crate) type ClientSocket = Stream<Announced<CountedSocket>>;

/// Makes the handlers of a process's workers, one for each.
pub(crate) trait Role: Clone + Send + 'static {
    /// What answers requests.
    type Handler: Handler<ClientSocket>;

    /// The handler of one worker, made within that worker's runtime.
    ///
    /// # Errors
    ///
    /// Why the worker cannot work.
    fn handler(&self, worker: WorkerContext) -> io::Result<Self::Handler>;

    /// Where the pools of the handlers can be looked at; there are none by default.
    fn pools(&self) -> Pools {
        Pools::default()
    }

    /// The worker's last connection has ended: whatever else its handler holds can go.
    fn ended(_: &Self::Handler) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sheave-server` reckons with so much where it says how large a connection's task may be. Where assertions are checked,
    /// mio's sockets have eight bytes more.
    #[test]
    fn a_client_socket_is_small() {
        let checked = if cfg!(debug_assertions) { 8 } else { 0 };
        assert!(size_of::<ClientSocket>() <= 48 + checked, "{}", size_of::<ClientSocket>());
    }
}
