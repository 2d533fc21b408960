//! A connected socket, and the three questions to the kernel that tokio does not pass on.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use sheave_lifecycle::errno::{Errno, IoFault, Op};
use socket2::{SockRef, Socket as RawSocket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// What the kernel knows of a connection on which nothing is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// Nothing came, and nothing says that the peer is gone.
    Alive,
    /// The peer's FIN is here.
    Closed,
    /// The peer's RST is here, or the kernel gave up on it.
    Failed(IoFault),
    /// Bytes are here that nobody asked for.
    Unasked,
}

/// A connected, non-blocking byte stream of a runtime.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Asks the kernel whether the connection is still good. One system call; takes no byte off the stream.
    ///
    /// tokio answers reads from cached readiness, so that a FIN that has already arrived can stay unseen until the
    /// reactor is polled. This does not.
    fn probe(&self) -> Liveness;

    /// Sends FIN: no more will be written.
    ///
    /// # Errors
    /// As the kernel says it; `ENOTCONN` is not hidden (`AsyncWrite::poll_shutdown` of tokio hides it).
    fn shutdown_write(&self) -> io::Result<()>;

    /// Makes the close that follows an RST, with which nothing that was sent can be taken for complete.
    fn set_abortive_close(&self);

    /// The other end, where it has an IP address.
    fn peer(&self) -> Option<SocketAddr>;

    /// Our end, where it has an IP address.
    fn local(&self) -> Option<SocketAddr>;
}

fn probe(socket: &RawSocket) -> Liveness {
    let mut byte = [MaybeUninit::<u8>::uninit()];
    loop {
        // The descriptor is non-blocking, so the peek is too.
        return match socket.peek(&mut byte) {
            Ok(0) => Liveness::Closed,
            Ok(_) => Liveness::Unasked,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Liveness::Alive,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Liveness::Failed(IoFault { op: Op::Read, errno: Errno::of(&error) }),
        };
    }
}

macro_rules! kernel_socket {
    ($socket:ty, $peer:expr, $local:expr) => {
        impl Socket for $socket {
            fn probe(&self) -> Liveness {
                probe(&SockRef::from(self))
            }

            fn shutdown_write(&self) -> io::Result<()> {
                SockRef::from(self).shutdown(std::net::Shutdown::Write)
            }

            fn set_abortive_close(&self) {
                // Fails only on a descriptor that is no socket; then the close is a plain one, which is all there is.
                let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
            }

            fn peer(&self) -> Option<SocketAddr> {
                let ask: fn(&$socket) -> Option<SocketAddr> = $peer;
                ask(self)
            }

            fn local(&self) -> Option<SocketAddr> {
                let ask: fn(&$socket) -> Option<SocketAddr> = $local;
                ask(self)
            }
        }
    };
}

kernel_socket!(TcpStream, |socket| socket.peer_addr().ok(), |socket| socket.local_addr().ok());
// A Unix socket's close cannot be made an RST; the peer sees EOF, and a truncated body by its framing alone.
kernel_socket!(UnixStream, |_| None, |_| None);
