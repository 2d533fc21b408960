//! Accepts from a socket that all workers share, and hands each connection to the worker that has the fewest.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use sheave_lifecycle::errno::{IoFault, Op};

use super::inbox::Inbox;
use super::load::{Assigned, Loads};
use super::socket::CountedSocket;
use crate::backlog::{Arrival, Backlog, canonical};
use crate::listen::{Accepted, Listener};
use crate::socket::Socket;
use crate::tcp_listen::TcpAcceptor;
use crate::tcp_options::TcpOptions;

/// How many connections a worker hands over before its other tasks get their turn.
const HAND_OVER_BURST: usize = 32;

/// Lets all workers listen on one socket: a place for each. The socket closes with the last of them, and its one backlog
/// outlives any single worker.
///
/// `is_ours` says that nobody else listens on it, so that it may refuse new connections when it ends.
///
/// # Errors
/// As the kernel says it; each worker needs a descriptor of its own.
pub fn share(socket: std::net::TcpListener, is_ours: bool, loads: &Loads) -> io::Result<Vec<Place>> {
    let local = canonical(socket.local_addr()?);
    let door = Arc::new(Door {
        inboxes: (0..loads.workers()).map(|_| Inbox::new()).collect(),
        loads: loads.clone(),
        is_ending: AtomicBool::new(false),
        is_ours,
        local,
    });
    let last = loads.workers() - 1;
    let mut places = Vec::with_capacity(loads.workers());
    for worker in 0..last {
        places.push(Place { door: Arc::clone(&door), socket: socket.try_clone()?, worker });
    }
    places.push(Place { door, socket, worker: last });
    Ok(places)
}

/// What the workers of one listening address share.
#[derive(Debug)]
struct Door {
    inboxes: Box<[Inbox<HandedOver>]>,
    loads: Loads,
    is_ending: AtomicBool,
    is_ours: bool,
    local: SocketAddr,
}

/// A connection on its way to its worker. It belongs to no runtime yet: registering it is its worker's business.
#[derive(Debug)]
struct HandedOver {
    descriptor: OwnedFd,
    peer: Option<SocketAddr>,
    assigned: Assigned,
}

/// One worker's share of a listening socket, before the worker runs.
#[derive(Debug)]
pub struct Place {
    door: Arc<Door>,
    socket: std::net::TcpListener,
    worker: usize,
}

impl Place {
    /// Begins to listen. Within the worker's runtime.
    ///
    /// # Errors
    /// As the kernel says it.
    pub fn listen(self) -> io::Result<BalancedListener> {
        let Self { door, socket, worker } = self;
        socket.set_nonblocking(true)?;
        Ok(BalancedListener { door, backlog: Backlog::new(socket.into())?, worker, left: VecDeque::new() })
    }
}

/// A worker's listener: takes what others handed over, else accepts, and keeps a connection if no worker has fewer.
///
/// All workers wait for the socket, and whoever wakes first accepts for all. Once the listener is about to end, nobody
/// hands over any more: each serves what it accepts.
#[derive(Debug)]
pub struct BalancedListener {
    door: Arc<Door>,
    backlog: Backlog,
    worker: usize,
    /// Handed over, and not yet taken when the backlog was left to others.
    left: VecDeque<HandedOver>,
}

impl BalancedListener {
    /// Chooses a worker; gives the connection back if it is this one.
    fn hand_over(&self, (descriptor, peer): Arrival) -> Option<HandedOver> {
        let assigned = if self.door.is_ending.load(Ordering::Acquire) {
            self.door.loads.assign_to(self.worker)
        } else {
            self.door.loads.assign(self.worker)
        };
        let to = assigned.worker();
        let connection = HandedOver { descriptor, peer, assigned };
        if to == self.worker {
            return Some(connection);
        }
        match self.door.inboxes[to].push(connection) {
            Ok(()) => None,
            Err(HandedOver { descriptor, peer, .. }) => {
                Some(HandedOver { descriptor, peer, assigned: self.door.loads.assign_to(self.worker) })
            }
        }
    }

    fn take(&self, HandedOver { descriptor, peer, assigned }: HandedOver) -> Accepted<CountedSocket> {
        let socket = CountedSocket::new(descriptor, assigned);
        // Bound to one address, the listener knows our end; only for "all addresses" does the kernel have to say.
        let local = match self.door.local {
            local if local.ip().is_unspecified() => socket.local().map(canonical),
            local => Some(local),
        };
        Accepted { socket, peer, local }
    }
}

impl Listener for BalancedListener {
    type Socket = CountedSocket;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<CountedSocket>, IoFault>> {
        if let Poll::Ready(connection) = self.door.inboxes[self.worker].poll_pop(cx) {
            return Poll::Ready(Ok(self.take(connection)));
        }
        for _ in 0..HAND_OVER_BURST {
            let accepted = ready!(self.backlog.poll_accept(cx)).map_err(|error| IoFault::new(Op::Accept, &error))?;
            if let Some(own) = self.hand_over(accepted) {
                return Poll::Ready(Ok(self.take(own)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<CountedSocket>>, IoFault> {
        if let Some(connection) = self.door.inboxes[self.worker].pop() {
            return Ok(Some(self.take(connection)));
        }
        let accepted = self.backlog.accept_now().map_err(|error| IoFault::new(Op::Accept, &error))?;
        let assigned = || self.door.loads.assign_to(self.worker);
        Ok(accepted.map(|(descriptor, peer)| self.take(HandedOver { descriptor, peer, assigned: assigned() })))
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        self.door.is_ending.store(true, Ordering::Release);
        if !self.door.is_ours {
            // It would be deaf for whoever listens on it after us. What comes until our end is served by us, and what
            // comes later by them.
            return Ok(());
        }
        let socket = self.backlog.as_fd().try_clone_to_owned().map_err(|error| IoFault::new(Op::Option, &error))?;
        // The refusal belongs to the socket, and stays when this descriptor of it is closed.
        TcpAcceptor::from_std(socket.into(), &TcpOptions::default())?.refuse_new()
    }

    fn leave_backlog(&mut self) -> Result<Option<Accepted<CountedSocket>>, IoFault> {
        // From here on, who would hand over to this worker keeps the connection instead: none is between two workers.
        self.door.is_ending.store(true, Ordering::Release);
        let waiting = self.door.inboxes[self.worker].close();
        self.left.extend(waiting);
        Ok(self.left.pop_front().map(|connection| self.take(connection)))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.door.local)
    }
}

impl Drop for BalancedListener {
    fn drop(&mut self) {
        // Handed over in the moment before the end was known, and more than a handshake's time ago if this worker ends as
        // it should: there is nothing. If it ends otherwise, whoever still listens serves them.
        let waiting = self.door.inboxes[self.worker].close();
        for HandedOver { descriptor, peer, .. } in self.left.drain(..).chain(waiting) {
            let mut connection = Some((descriptor, peer));
            for (other, inbox) in self.door.inboxes.iter().enumerate() {
                let Some((descriptor, peer)) = connection.take() else { break };
                let handed_over = HandedOver { descriptor, peer, assigned: self.door.loads.assign_to(other) };
                connection = inbox.push(handed_over).err().map(|back| (back.descriptor, back.peer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::tcp_listen::{ListenOptions, bind_tcp};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    fn listen(loads: &Loads) -> (SocketAddr, Vec<BalancedListener>) {
        let socket = bind_tcp((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).expect("binds");
        let address = socket.local_addr().expect("an address");
        let places = share(socket, true, loads).expect("shares");
        (address, places.into_iter().map(|place| place.listen().expect("listens")).collect())
    }

    async fn accept(listener: &mut BalancedListener) -> Accepted<CountedSocket> {
        poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepts")
    }

    #[test]
    fn one_worker_accepts_for_all_and_each_gets_its_share() {
        runtime().block_on(async {
            let loads = Loads::new(3);
            let (address, mut listeners) = listen(&loads);
            let clients: Vec<_> = (0..30).map(|_| TcpStream::connect(address).expect("connects")).collect();
            let mut own = Vec::new();
            for _ in 0..10 {
                own.push(accept(&mut listeners[1]).await);
            }
            for other in [0, 2] {
                for _ in 0..10 {
                    let accepted = accept(&mut listeners[other]).await;
                    assert!(clients.iter().any(|client| client.local_addr().ok() == accepted.peer));
                    assert_eq!(accepted.local, Some(address));
                    own.push(accepted);
                }
            }
            assert!(listeners[0].accept_now().expect("asks").is_none());
            // The connections work where they arrived.
            for accepted in &mut own {
                accepted.socket.write_all(b"x").await.expect("writes");
            }
            for mut client in &clients {
                client.read_exact(&mut [0]).expect("reads");
            }
            drop(own);
            assert_eq!(loads.assign(2).worker(), 2, "all are back at nothing");
        });
    }

    #[test]
    fn a_listener_that_ends_hands_over_no_more_and_empties_the_backlog() {
        runtime().block_on(async {
            let loads = Loads::new(2);
            let (address, mut listeners) = listen(&loads);
            let mut clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).expect("connects")).collect();
            // Two are handed over, then the end begins.
            let first = accept(&mut listeners[0]).await;
            let second = accept(&mut listeners[0]).await;
            listeners[0].refuse_new().expect("refuses");
            let mut accepted = vec![first, second];
            for listener in &mut listeners {
                while let Some(more) = listener.accept_now().expect("asks") {
                    accepted.push(more);
                }
            }
            drop(listeners);
            assert_eq!(accepted.len(), 5, "nobody is lost");
            for (client, accepted) in clients.iter_mut().zip(&mut accepted) {
                client.write_all(b"x").expect("writes");
                accepted.socket.write_all(b"y").await.expect("writes");
            }
            for client in &mut clients {
                client.read_exact(&mut [0]).expect("reads");
            }
        });
    }

    #[test]
    fn a_listener_that_leaves_serves_what_it_has_and_nothing_more() {
        runtime().block_on(async {
            let loads = Loads::new(2);
            let (address, mut listeners) = listen(&loads);
            let _clients: Vec<_> = (0..6).map(|_| TcpStream::connect(address).expect("connects")).collect();
            // Two for each worker; those of worker 1 wait for it.
            let _own = [accept(&mut listeners[0]).await, accept(&mut listeners[0]).await];
            assert!(listeners[0].leave_backlog().expect("asks").is_none());
            let mut left = Vec::new();
            while let Some(accepted) = listeners[1].leave_backlog().expect("asks") {
                left.push(accepted);
            }
            // Whoever else has the socket finds the others in its backlog.
            let successor = listeners[0].backlog.as_fd().try_clone_to_owned().expect("clones");
            let successor = std::net::TcpListener::from(successor);
            drop(listeners);
            let mut others = 0;
            while successor.accept().is_ok() {
                others += 1;
            }
            assert!(!left.is_empty() && left.len() + others == 4, "{} left, {others} in the backlog", left.len());
        });
    }

    #[test]
    fn a_worker_that_is_gone_is_not_handed_anything_and_leaves_what_it_had_to_others() {
        runtime().block_on(async {
            let loads = Loads::new(2);
            let (address, mut listeners) = listen(&loads);
            let _clients: Vec<_> = (0..4).map(|_| TcpStream::connect(address).expect("connects")).collect();
            let _one = accept(&mut listeners[0]).await;
            let _two = accept(&mut listeners[0]).await;
            // One waits for worker 1, who ends without having looked.
            drop(listeners.pop());
            let _three = accept(&mut listeners[0]).await;
            let _four = accept(&mut listeners[0]).await;
            assert!(listeners[0].accept_now().expect("asks").is_none());
        });
    }
}
