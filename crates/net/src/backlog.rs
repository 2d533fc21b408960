//! A listening socket of the runtime's: takes connections out of its backlog, and finds out cheaply that it is empty.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many connections of one wake-up are accepted with the question whether another waits behind each. Beyond them that is
/// likely, and a call that fails is shared by many.
const ASKED_FOR: u32 = 8;

/// A connection that does not block, and its other end, where it has an IP address.
pub(crate) type Arrival = (OwnedFd, Option<SocketAddr>);

/// A listening socket, of any kind.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// It listens all the same. A listener of the runtime's would register what it accepts, and tell nothing of an empty
    /// backlog but by a call that fails; as a stream, it can be waited for and then be used as one likes.
    socket: TcpStream,
    /// Connections that were accepted since the backlog was last seen to be empty.
    in_a_row: u32,
}

impl Backlog {
    /// Takes a listening socket that does not block. Within a runtime.
    ///
    /// # Errors
    /// As the kernel says it.
    pub(crate) fn new(listening: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: TcpStream::from_std(listening.into())?, in_a_row: 0 })
    }

    /// The next connection, or the task is woken when there may be one.
    ///
    /// The runtime is told once of a connection that comes. So whoever accepts goes on until nobody waits, and has the runtime
    /// remember that. To learn it from a call that fails is dear: the kernel makes a file before it looks whether there is
    /// somebody for it. To ask costs an eighth.
    ///
    /// # Errors
    /// As the kernel says it. It may have left connections in the backlog, and the next call tries again.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        loop {
            // Without a free descriptor the kernel does not look whether somebody waits; the runtime knows.
            ready!(self.socket.poll_read_ready(cx))?;
            let mut last = None;
            let accepted = self.socket.try_io(Interest::READABLE, || {
                let arrival = accept(self.socket.as_fd())?;
                if self.in_a_row >= ASKED_FOR || is_somebody_waiting(self.socket.as_fd()) {
                    return Ok(arrival);
                }
                // Whoever comes after this question is told of anew.
                last = Some(arrival);
                Err(io::ErrorKind::WouldBlock.into())
            });
            match accepted {
                Ok(arrival) => {
                    self.in_a_row += 1;
                    return Poll::Ready(Ok(arrival));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.in_a_row = 0;
                    if let Some(arrival) = last {
                        return Poll::Ready(Ok(arrival));
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The next connection as the backlog is now, past the runtime's memory of it; `None` when it is empty.
    ///
    /// # Errors
    /// As the kernel says it.
    pub(crate) fn accept_now(&self) -> io::Result<Option<Arrival>> {
        match accept(self.socket.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            accepted => accepted.map(Some),
        }
    }
}

impl AsFd for Backlog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn accept(listening: BorrowedFd<'_>) -> io::Result<Arrival> {
    // One system call, where the standard library needs two for a connection that does not block.
    let accept = || acceptfrom_with(listening, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    let (descriptor, peer) = retry_on_intr(accept)?;
    Ok((descriptor, peer.and_then(|peer| SocketAddr::try_from(peer).ok()).map(canonical)))
}

fn is_somebody_waiting(listening: BorrowedFd<'_>) -> bool {
    let asked = poll(&mut [PollFd::new(&listening, PollFlags::IN)], Some(&Timespec::default()));
    // Where it does not say, accepting will.
    asked != Ok(0)
}

/// IPv4 over an IPv6 socket, as IPv4: `::ffff:192.0.2.1` is an accident of the socket and no address of anybody's.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{TcpListener, TcpStream as Client};

    use super::*;

    fn listen() -> (SocketAddr, Backlog) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.set_nonblocking(true).expect("an option");
        (listener.local_addr().expect("an address"), Backlog::new(listener.into()).expect("a runtime"))
    }

    async fn accept(backlog: &mut Backlog) -> SocketAddr {
        let (_, peer) = poll_fn(|cx| backlog.poll_accept(cx)).await.expect("accepts");
        peer.expect("an address")
    }

    /// However many come at a time, and wherever one comes between the last that was accepted and the runtime's turn.
    #[tokio::test]
    async fn nobody_is_forgotten() {
        let (address, mut backlog) = listen();
        for at_a_time in (1..=2 * ASKED_FOR + 1).chain([1, 1, 1]) {
            let clients: Vec<_> = (0..at_a_time).map(|_| Client::connect(address).expect("connects")).collect();
            for client in &clients {
                assert_eq!(Some(accept(&mut backlog).await), client.local_addr().ok());
            }
            // The backlog was empty when the runtime had its last turn; it is not now.
            let late = Client::connect(address).expect("connects");
            assert_eq!(Some(accept(&mut backlog).await), late.local_addr().ok());
        }
        let is_pending = poll_fn(|cx| Poll::Ready(backlog.poll_accept(cx).is_pending())).await;
        assert!(is_pending && backlog.accept_now().expect("asks").is_none());
    }

    #[tokio::test]
    async fn who_comes_meanwhile_is_accepted() {
        const CLIENTS: usize = 300;
        let (address, mut backlog) = listen();
        let clients = std::thread::spawn(move || {
            for _ in 0..CLIENTS {
                Client::connect(address).expect("connects");
            }
        });
        for _ in 0..CLIENTS {
            accept(&mut backlog).await;
        }
        clients.join().expect("all have connected");
    }
}
