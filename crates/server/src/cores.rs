//! Thread per core: a runtime for each, and connections spread evenly over them.

use std::io;
use std::thread;

use sheave_lifecycle::drain::{Backlog, DrainReport};
use sheave_net::balance::{BalancedListener, CountedSocket, Loads, Place, share};
use sheave_net::listen::Listener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::handler::Handler;
use crate::server::Server;

impl<H> Server<H> {
    /// Serves what `listeners` accept on so many threads, at least one, each with a runtime of its own, until a drain has
    /// ended every connection. A connection stays with the thread that has the fewest when it comes; threads share nothing
    /// that a request touches but the handler.
    ///
    /// The threads' runtimes do I/O and timers. What the handler spawns runs on its connection's thread.
    ///
    /// # Errors
    /// No descriptor, thread or runtime left; or a thread panicked, which no handler can cause. The others are drained
    /// first.
    ///
    /// # Cancel safety
    /// Dropped, the threads go on; [`Server::drain`] ends them.
    pub async fn serve_on_cores(
        &self,
        cores: usize,
        listeners: impl IntoIterator<Item = std::net::TcpListener>,
    ) -> io::Result<DrainReport>
    where
        H: Handler<CountedSocket>,
    {
        self.serve_on_cores_through(cores, listeners, |listener| listener).await
    }

    /// As [`Self::serve_on_cores`], with something between the sockets and HTTP, such as TLS:
    /// `|listener| TlsListener::new(listener, Some(tls.clone()))`.
    ///
    /// # Errors
    /// As for [`Self::serve_on_cores`].
    ///
    /// # Cancel safety
    /// As for [`Self::serve_on_cores`].
    pub async fn serve_on_cores_through<L>(
        &self,
        cores: usize,
        listeners: impl IntoIterator<Item = std::net::TcpListener>,
        layer: impl Fn(BalancedListener) -> L + Clone + Send + 'static,
    ) -> io::Result<DrainReport>
    where
        L: Listener<Socket: 'static> + 'static,
        H: Handler<L::Socket>,
    {
        let loads = Loads::new(cores);
        let is_ours = self.drain_plan().backlog == Backlog::Ours;
        let mut places: Vec<Vec<Place>> = (0..loads.workers()).map(|_| Vec::new()).collect();
        for listener in listeners {
            let shares = share(listener, is_ours, &loads)?;
            places.iter_mut().zip(shares).for_each(|(core, share)| core.push(share));
        }
        let mut ends = Vec::new();
        let mut error = None;
        for (number, places) in places.into_iter().enumerate() {
            match self.start_core(number, places, layer.clone()) {
                Ok(end) => ends.push(end),
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            }
        }
        if error.is_some() {
            self.drain();
        }
        for end in ends {
            let ended = end.await.unwrap_or_else(|_| Err(io::Error::other("a thread of the server panicked")));
            if let Err(failed) = ended {
                self.drain();
                error.get_or_insert(failed);
            }
        }
        match error {
            None => Ok(self.drain().await),
            Some(error) => Err(error),
        }
    }

    /// Starts a thread; its end is told, with why it did not begin if it did not.
    fn start_core<L>(
        &self,
        number: usize,
        places: Vec<Place>,
        layer: impl Fn(BalancedListener) -> L + Send + 'static,
    ) -> io::Result<oneshot::Receiver<io::Result<()>>>
    where
        L: Listener<Socket: 'static> + 'static,
        H: Handler<L::Socket>,
    {
        let (tell, end) = oneshot::channel();
        let server = self.clone();
        thread::Builder::new().name(format!("server-{number}")).spawn(move || {
            let ended = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(server.serve_places(places, layer)),
                Err(error) => Err(error),
            };
            // Whoever waited may have given up.
            let _ = tell.send(ended);
        })?;
        Ok(end)
    }

    async fn serve_places<L>(&self, places: Vec<Place>, layer: impl Fn(BalancedListener) -> L) -> io::Result<()>
    where
        L: Listener<Socket: 'static> + 'static,
        H: Handler<L::Socket>,
    {
        let listeners = places.into_iter().map(|place| place.listen().map(&layer)).collect::<io::Result<Vec<_>>>()?;
        let tasks: Vec<_> = listeners
            .into_iter()
            .map(|listener| {
                let server = self.clone();
                tokio::spawn(async move { server.serve(listener).await })
            })
            .collect();
        for task in tasks {
            task.await.map_err(io::Error::other)?;
        }
        Ok(())
    }
}
