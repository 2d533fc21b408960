//! Accepts TCP connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use sheave_lifecycle::errno::{IoFault, Op};
use socket2::{Domain, SockFilter, SockRef, Socket as RawSocket, Type};

use crate::backlog::{Arrival, Backlog, canonical};
use crate::bind_error::{BindError, Place};
use crate::listen::{Accepted, Listener};
use crate::socket::Socket;
use crate::stream::KernelStream;
use crate::tcp_options::TcpOptions;

/// How a TCP address is listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenOptions {
    /// What every accepted connection inherits.
    pub tcp: TcpOptions,
    /// Connections that the kernel holds until they are accepted. Beyond them it ignores clients, which try again after a
    /// second. The kernel caps it at `net.core.somaxconn` (4096 since Linux 5.4). Default: 1024; nginx has 511.
    pub backlog: u16,
    /// Whether an IPv6 socket leaves IPv4 alone. If not, `[::]:80` serves both, and `0.0.0.0:80` cannot be listened to
    /// beside it. Means nothing for IPv4 addresses. Default: false, whatever the system's default is.
    pub v6_only: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { tcp: TcpOptions::default(), backlog: 1024, v6_only: false }
    }
}

/// Listens to `address`; port zero lets the kernel choose one. Needs no runtime.
///
/// The result can be cloned (`try_clone`) for several workers: they share one backlog, so that none is reset when a
/// worker ends, as happens with `SO_REUSEPORT`. The price: an idle worker may wake for a connection that another takes.
/// An address that connections of an earlier process still linger on can be bound (`SO_REUSEADDR`).
///
/// # Errors
/// [`BindError`], which says what is in the way.
pub fn bind_tcp(address: SocketAddr, options: &ListenOptions) -> Result<std::net::TcpListener, BindError> {
    let bind = || {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(options.v6_only)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let fault = |fault| BindError::new(Place::Tcp(address), fault);
    let refused = |error: io::Error| fault(IoFault::new(Op::Connect, &error));
    let socket = bind().map_err(refused)?;
    options.tcp.apply(&socket).map_err(fault)?;
    socket.listen(i32::from(options.backlog)).map_err(refused)?;
    Ok(socket.into())
}

/// Accepts TCP connections for one runtime.
#[derive(Debug)]
pub struct TcpAcceptor {
    backlog: Backlog,
    local: SocketAddr,
}

impl TcpAcceptor {
    /// Listens to `address`. Within a runtime.
    ///
    /// # Errors
    /// [`BindError`], which says what is in the way.
    pub fn bind(address: SocketAddr, options: &ListenOptions) -> Result<Self, BindError> {
        let listener = bind_tcp(address, options)?;
        Self::register(listener).map_err(|error| BindError::new(Place::Tcp(address), IoFault::new(Op::Connect, &error)))
    }

    /// Accepts from a socket that listens already: a clone for another worker, one of an earlier process, or one of
    /// socket activation. Within a runtime. Connections that are accepted from now on inherit `options`; the size of the
    /// backlog stays as it is. The socket becomes non-blocking, for all who share it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn from_std(listener: std::net::TcpListener, options: &TcpOptions) -> Result<Self, IoFault> {
        options.apply(&listener)?;
        let register = || {
            listener.set_nonblocking(true)?;
            Self::register(listener)
        };
        register().map_err(|error| IoFault::new(Op::Option, &error))
    }

    fn register(listener: std::net::TcpListener) -> io::Result<Self> {
        let local = canonical(listener.local_addr()?);
        Ok(Self { backlog: Backlog::new(listener.into())?, local })
    }

    /// The same socket once more, for another worker or a successor: one backlog, and closed with the last of them.
    ///
    /// # Errors
    /// `EMFILE`: one more descriptor is one too many.
    pub fn try_clone(&self) -> Result<std::net::TcpListener, IoFault> {
        match self.backlog.as_fd().try_clone_to_owned() {
            Ok(socket) => Ok(socket.into()),
            Err(error) => Err(IoFault::new(Op::Option, &error)),
        }
    }

    fn accepted(&self, (descriptor, peer): Arrival) -> Accepted<KernelStream> {
        let socket = KernelStream::new(descriptor);
        // Bound to one address, the listener knows our end; only for "all addresses" does the kernel have to say.
        let local = match self.local {
            local if local.ip().is_unspecified() => socket.local().map(canonical),
            local => Some(local),
        };
        Accepted { socket, peer, local }
    }
}

impl Listener for TcpAcceptor {
    type Socket = KernelStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted<KernelStream>, IoFault>> {
        self.backlog.poll_accept(cx).map(|accepted| match accepted {
            Ok(arrival) => Ok(self.accepted(arrival)),
            Err(error) => Err(IoFault::new(Op::Accept, &error)),
        })
    }

    fn accept_now(&mut self) -> Result<Option<Accepted<KernelStream>>, IoFault> {
        let accepted = self.backlog.accept_now().map_err(|error| IoFault::new(Op::Accept, &error))?;
        Ok(accepted.map(|arrival| self.accepted(arrival)))
    }

    fn refuse_new(&mut self) -> Result<(), IoFault> {
        SockRef::from(&self.backlog).attach_filter(&IGNORE_SYN).map_err(|error| IoFault::new(Op::Option, &error))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local)
    }
}

/// Drops every segment with the SYN flag, in classic BPF. Attached to a listener, it ignores new clients, which try again
/// after a second and find the port closed; the last segment of a handshake that is under way has no SYN and passes.
///
/// Accepted connections inherit it, to whom no SYN means anything.
static IGNORE_SYN: [SockFilter; 4] = [
    // ldb [13]: the flags. A filter of a TCP socket sees the segment from the TCP header on. RFC 9293 §3.1.
    SockFilter::new(0x30, 0, 0, 13),
    // jset #SYN, next, over
    SockFilter::new(0x45, 0, 1, 0x02),
    // ret #0: drop
    SockFilter::new(0x06, 0, 0, 0),
    // ret #-1: keep all of it
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use sheave_lifecycle::errno::Errno;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::bind_error::BindErrorKind;

    fn loopback() -> TcpAcceptor {
        TcpAcceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap()
    }

    async fn accept(acceptor: &mut TcpAcceptor) -> Accepted<KernelStream> {
        poll_fn(|cx| acceptor.poll_accept(cx)).await.unwrap()
    }

    fn has_no_delay(socket: &KernelStream) -> bool {
        SockRef::from(&socket.descriptor().unwrap()).tcp_nodelay().unwrap()
    }

    fn has_ipv6() -> bool {
        std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
    }

    #[tokio::test]
    async fn accepts_with_both_addresses_and_options() {
        let mut acceptor = loopback();
        let address = acceptor.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut accepted = accept(&mut acceptor).await;
        assert_eq!(accepted.peer, Some(client.local_addr().unwrap()));
        assert_eq!(accepted.local, Some(address));
        assert!(has_no_delay(&accepted.socket));
        client.write_all(b"x").await.unwrap();
        assert_eq!(accepted.socket.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn ipv4_over_ipv6_is_ipv4_and_can_be_switched_off() {
        if !has_ipv6() {
            return;
        }
        let all = (Ipv6Addr::UNSPECIFIED, 0).into();
        let mut both = TcpAcceptor::bind(all, &ListenOptions::default()).unwrap();
        let port = both.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let accepted = accept(&mut both).await;
        assert_eq!(accepted.peer, Some(client.local_addr().unwrap()));
        assert_eq!(accepted.local, Some((Ipv4Addr::LOCALHOST, port).into()));
        let client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        let accepted = accept(&mut both).await;
        assert_eq!(accepted.peer, Some(client.local_addr().unwrap()));
        assert_eq!(accepted.local.map(|local| local.ip()), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));

        let taken = bind_tcp((Ipv4Addr::UNSPECIFIED, port).into(), &ListenOptions::default());
        assert_eq!(taken.err().map(|error| error.kind), Some(BindErrorKind::InUse));
        drop(both);
        let alone = ListenOptions { v6_only: true, ..ListenOptions::default() };
        let six = bind_tcp((Ipv6Addr::UNSPECIFIED, port).into(), &alone).unwrap();
        bind_tcp((Ipv4Addr::UNSPECIFIED, port).into(), &ListenOptions::default()).unwrap();
        drop(six);
    }

    #[tokio::test]
    async fn says_what_is_in_the_way() {
        let acceptor = loopback();
        let address = acceptor.local_addr().unwrap();
        let kind = |address: SocketAddr| {
            TcpAcceptor::bind(address, &ListenOptions::default()).err().map(|error| (error.place, error.kind))
        };
        assert_eq!(kind(address), Some((Place::Tcp(address), BindErrorKind::InUse)));
        // RFC 5737: never an address of a machine.
        let elsewhere = "192.0.2.1:0".parse().unwrap();
        assert_eq!(kind(elsewhere), Some((Place::Tcp(elsewhere), BindErrorKind::NotLocal)));
    }

    #[tokio::test]
    async fn workers_share_one_backlog() {
        let mut one = loopback();
        let mut other = TcpAcceptor::from_std(one.try_clone().unwrap(), &TcpOptions::default()).unwrap();
        assert_eq!(one.local_addr(), other.local_addr());
        let address = one.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        accept(&mut one).await;
        drop(one);
        accept(&mut other).await;
    }

    #[tokio::test]
    async fn a_socket_from_elsewhere_gets_our_options() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut acceptor = TcpAcceptor::from_std(listener, &TcpOptions::default()).unwrap();
        let _client = TcpStream::connect(acceptor.local_addr().unwrap()).await.unwrap();
        assert!(has_no_delay(&accept(&mut acceptor).await.socket));
    }

    /// Asks without ever letting the runtime look. A loop, because the kernel may be behind with the handshake.
    fn accept_without_runtime(acceptor: &mut TcpAcceptor) -> Accepted<KernelStream> {
        loop {
            match acceptor.accept_now().unwrap() {
                Some(accepted) => return accepted,
                None => std::thread::yield_now(),
            }
        }
    }

    #[tokio::test]
    async fn accept_now_asks_the_kernel_until_the_backlog_is_empty() {
        let mut acceptor = loopback();
        let address = acceptor.local_addr().unwrap();
        assert!(acceptor.accept_now().unwrap().is_none());
        let clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        for mut client in clients {
            let mut accepted = accept_without_runtime(&mut acceptor);
            assert_eq!(accepted.peer, Some(client.local_addr().unwrap()));
            assert_eq!(accepted.local, Some(address));
            client.write_all(b"x").unwrap();
            assert_eq!(accepted.socket.read_u8().await.unwrap(), b'x');
        }
        assert!(acceptor.accept_now().unwrap().is_none());
    }

    /// Waits until the kernel has taken in a SYN for `port`: state 3, SYN-RECEIVED.
    fn wait_for_syn(port: u16) {
        let is_there = |line: &str| {
            let mut columns = line.split_whitespace().skip(1);
            let is_local = columns.next().is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
            is_local && columns.nth(1) == Some("03")
        };
        for _ in 0..100_000 {
            if std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(is_there) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("no handshake is under way");
    }

    /// A client whose handshake is under way when the listener begins to end: it must be accepted. One that comes later
    /// must not be told "connected" and then be reset: it is refused.
    #[tokio::test]
    async fn a_handshake_under_way_is_finished_and_a_new_one_refused() {
        let mut acceptor = loopback();
        let address = acceptor.local_addr().unwrap();
        let connect = |is_deaf: bool| {
            let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            if is_deaf {
                // It does not hear the SYN that answers its own.
                socket.attach_filter(&IGNORE_SYN).unwrap();
            }
            socket.set_nonblocking(true).unwrap();
            let begun = socket.connect(&address.into()).map_err(|error| Errno::of(&error));
            assert_eq!(begun, Err(Errno(115)), "EINPROGRESS");
            socket
        };
        let under_way = connect(true);
        wait_for_syn(address.port());
        acceptor.refuse_new().unwrap();
        let late = connect(false);
        under_way.detach_filter().unwrap();
        // The kernel repeats its SYN after a second.
        let accepted = accept(&mut acceptor).await;
        assert_eq!(accepted.peer, under_way.local_addr().unwrap().as_socket());
        assert!(acceptor.accept_now().unwrap().is_none());
        drop(acceptor);
        // So does the late client, and is told the truth.
        let late = TcpStream::from_std(late.into()).unwrap();
        late.writable().await.unwrap();
        let error = late.take_error().unwrap().map(|error| Errno::of(&error));
        assert_eq!(error, Some(Errno::ECONNREFUSED));
        // The connection that was accepted lives on, filter and all.
        let mut client: std::net::TcpStream = under_way.into();
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut socket = accepted.socket;
        socket.write_all(b"y").await.unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"y");
    }
}
