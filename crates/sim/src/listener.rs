//! A listening socket of the simulated network.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::IoFault;
use sheave_net::listen::{Accepted, Listener};

use crate::net::{Backlog, SimNet};
use crate::socket::SimSocket;
use crate::tcp::End;
use crate::trace::{What, Whose};

/// Accepts connections. Dropped, it closes, and resets whatever is in its backlog.
pub struct SimListener {
    net: SimNet,
    address: SocketAddr,
}

impl SimNet {
    /// Listens at `address`, where nobody else does. Whoever did is not reset; it accepts nothing any more.
    pub fn listen(&self, address: SocketAddr) -> SimListener {
        self.with(|state| state.listeners.insert(address, Backlog::default()));
        SimListener { net: self.clone(), address }
    }
}

impl SimListener {
    /// The next connection.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn accept(&mut self) -> SimSocket {
        std::future::poll_fn(|cx| self.poll_next(cx)).await.socket
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Accepted<SimSocket>> {
        let is_ready = self.net.with(|state| {
            let Some(backlog) = state.listeners.get_mut(&self.address) else { return false };
            if !backlog.is_ready {
                backlog.acceptor = Some(cx.waker().clone());
            }
            backlog.is_ready
        });
        if !is_ready {
            return Poll::Pending;
        }
        if let Some(accepted) = self.next_now() {
            return Poll::Ready(accepted);
        }
        self.net.with(|state| {
            if let Some(backlog) = state.listeners.get_mut(&self.address) {
                backlog.is_ready = false;
                backlog.acceptor = Some(cx.waker().clone());
            }
        });
        Poll::Pending
    }

    fn next_now(&mut self) -> Option<Accepted<SimSocket>> {
        let (wire, peer, local) = self.net.with(|state| {
            let wire = state.listeners.get_mut(&self.address)?.waiting.pop_front()?;
            if state.wires[wire].whose(End::Acceptor) == Whose::Ours {
                state.begin(Whose::Ours);
            }
            state.tell(What::Accepted(wire));
            // Registered with a reactor, which will look at it.
            state.queue(wire, End::Acceptor);
            let [opener, acceptor] = state.wires[wire].addresses;
            Some((wire, opener, acceptor))
        })?;
        let socket = SimSocket::new(self.net.clone(), wire, End::Acceptor);
        Some(Accepted { socket, peer: Some(peer), local: Some(local) })
    }
}

impl Listener for SimListener {
    type Socket = SimSocket;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<SimSocket>, IoFault>> {
        self.poll_next(cx).map(Ok)
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<SimSocket>>, IoFault> {
        Ok(self.next_now())
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        self.net.with(|state| {
            if let Some(backlog) = state.listeners.get_mut(&self.address) {
                backlog.refuses = true;
            }
        });
        Ok(())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.address)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.net.with(|state| {
            let Some(backlog) = state.listeners.remove(&self.address) else { return };
            for wire in backlog.waiting {
                let farewell = state.wires[wire].tcp.reset(End::Acceptor);
                state.closed(wire, End::Acceptor, farewell);
            }
        });
    }
}
