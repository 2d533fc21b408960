//! Makes TCP connections.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use sheave_lifecycle::errno::{Errno, IoFault, Op};
use socket2::{Domain, Socket as RawSocket, Type};

use crate::dial::Connect;
use crate::endpoint::Endpoint;
use crate::socket::Socket;
use crate::stream::KernelStream;
use crate::tcp_options::TcpOptions;

// Of asm-generic/errno.h: an option that the kernel does not know, a protocol, and what goes on without the caller.
const ENOPROTOOPT: Errno = Errno(92);
const EPROTONOSUPPORT: Errno = Errno(93);
const EINPROGRESS: Errno = Errno(115);

/// Makes TCP connections with the options and from the addresses that it is given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpConnector {
    /// Options of every connection.
    pub tcp: TcpOptions,
    /// The local address of IPv4 connections. Default: `None`, the kernel's choice by route.
    pub local_v4: Option<Ipv4Addr>,
    /// The local address of IPv6 connections. Default: `None`, the kernel's choice by route.
    pub local_v6: Option<Ipv6Addr>,
}

impl TcpConnector {
    fn local(&self, address: SocketAddr) -> Option<SocketAddr> {
        match address {
            SocketAddr::V4(_) => self.local_v4.map(|ip| SocketAddr::from((ip, 0))),
            SocketAddr::V6(_) => self.local_v6.map(|ip| SocketAddr::from((ip, 0))),
        }
    }

    fn prepare(&self, address: SocketAddr) -> Result<RawSocket, IoFault> {
        let refused = |error: io::Error| IoFault::new(Op::Connect, &error);
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None).map_err(refused)?;
        socket.set_nonblocking(true).map_err(refused)?;
        self.tcp.apply(&socket)?;
        if let Some(local) = self.local(address) {
            // Leaves the port to `connect`, which sees the other end too: then a port serves once for each origin, and
            // not once for all of them. The kernel has it since 4.2.
            match setsockopt(&socket, IpBindAddressNoPort, &true).map_err(|error| Errno(error as i32)) {
                Ok(()) | Err(ENOPROTOOPT) => {}
                Err(errno) => return Err(IoFault { op: Op::Option, errno }),
            }
            socket.bind(&local.into()).map_err(refused)?;
        }
        Ok(socket)
    }
}

impl Connect for TcpConnector {
    type Socket = KernelStream;

    async fn connect(&self, endpoint: &Endpoint) -> Result<KernelStream, IoFault> {
        if !endpoint.manner().is_bare() {
            // Never in the clear, or unannounced, what was to be otherwise.
            return Err(IoFault { op: Op::Connect, errno: EPROTONOSUPPORT });
        }
        let address = endpoint.address();
        let socket = self.prepare(address)?;
        let stream = connect(socket, address).await.map_err(|error| IoFault::new(Op::Connect, &error))?;
        if is_connected_to_itself(&stream, address) {
            return Err(IoFault { op: Op::Connect, errno: Errno::ECONNREFUSED });
        }
        Ok(stream)
    }
}

async fn connect(socket: RawSocket, address: SocketAddr) -> io::Result<KernelStream> {
    match socket.connect(&address.into()) {
        Err(error) if Errno::of(&error) != EINPROGRESS => return Err(error),
        _ => {}
    }
    let mut stream = KernelStream::new(socket.into());
    poll_fn(|cx| stream.poll_connected(cx)).await?;
    Ok(stream)
}

/// Whether both ends are the same. When an origin on this machine is down and its port lies in the range of local ports,
/// the kernel may choose that port for us, and TCP's simultaneous open (RFC 9293 §3.5) connects us to ourselves: we would
/// answer our own request, and keep the origin from coming back.
fn is_connected_to_itself(stream: &KernelStream, address: SocketAddr) -> bool {
    stream.local().is_some_and(|local| local.port() == address.port() && local.ip() == address.ip())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::dial::{DialPlan, dial};
    use crate::endpoint::{Manner, ProxyHeader};

    /// An address of the loopback network at which nobody listens, for as long as the result lives.
    fn nobody() -> (RawSocket, SocketAddr) {
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn connects_with_its_options() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let tcp = TcpOptions { user_timeout: Some(Duration::from_secs(9)), ..TcpOptions::default() };
        let connector = TcpConnector { tcp, ..TcpConnector::default() };
        let mut client = connector.connect(&listener.local_addr().unwrap().into()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let descriptor = client.descriptor().unwrap();
        let options = SockRef::from(&descriptor);
        assert!(options.tcp_nodelay().unwrap() && options.keepalive().unwrap());
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(Duration::from_secs(9)));
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_local_address_is_bound_and_its_port_left_to_connect() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let local = Ipv4Addr::new(127, 0, 0, 5);
        let connector = TcpConnector { local_v4: Some(local), ..TcpConnector::default() };
        let prepared = connector.prepare(address).unwrap();
        let bound = prepared.local_addr().unwrap().as_socket().unwrap();
        assert_eq!((bound.ip(), bound.port()), (local.into(), 0), "no port is taken yet");
        drop(prepared);
        let _client = connector.connect(&address.into()).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), local);
        let elsewhere = TcpConnector { local_v4: Some(Ipv4Addr::new(192, 0, 2, 1)), ..TcpConnector::default() };
        let fault = elsewhere.connect(&address.into()).await.err();
        assert_eq!(fault, Some(IoFault { op: Op::Connect, errno: Errno::EADDRNOTAVAIL }));
    }

    #[tokio::test]
    async fn a_refusal_is_passed_on_and_the_next_address_tried() {
        let (_holder, nobody) = nobody();
        let fault = TcpConnector::default().connect(&nobody.into()).await.err();
        assert_eq!(fault, Some(IoFault { op: Op::Connect, errno: Errno::ECONNREFUSED }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let somebody = listener.local_addr().unwrap();
        let endpoints = [nobody.into(), somebody.into()];
        let dialed = dial(&TcpConnector::default(), &endpoints, &DialPlan::default()).await.unwrap();
        assert_eq!((dialed.endpoint.address(), dialed.failed.len()), (somebody, 1));
    }

    #[tokio::test]
    async fn what_tcp_alone_cannot_do_is_not_left_out() {
        let manner = Manner { announces: Some(ProxyHeader::V1), ..Manner::default() };
        let (_holder, nobody) = nobody();
        let fault = TcpConnector::default().connect(&Endpoint::new(nobody, manner)).await.err();
        assert_eq!(fault, Some(IoFault { op: Op::Connect, errno: EPROTONOSUPPORT }));
    }

    #[tokio::test]
    async fn knows_a_connection_to_itself() {
        let (socket, address) = nobody();
        socket.set_nonblocking(true).unwrap();
        let stream = connect(socket, address).await.unwrap();
        assert!(is_connected_to_itself(&stream, address));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let other = listener.local_addr().unwrap();
        let stream = TcpConnector::default().connect(&other.into()).await.unwrap();
        assert!(!is_connected_to_itself(&stream, other));
    }
}
