//! A connected socket, and the questions to the kernel that tokio does not pass on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sheave_lifecycle::errno::IoFault;
use socket2::SockRef;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::handshake::HandshakeError;
use crate::secured::Secured;
use crate::stream::{probe, read_now};

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

/// A connected, non-blocking byte stream of a runtime, and what lies between it and HTTP: a PROXY header, TLS.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes it ready to carry HTTP: reads the PROXY header and shakes hands, where that is to be done. Ready at once where
    /// nothing is. Nothing is read or written otherwise before it is ready.
    ///
    /// # Errors
    /// What went wrong; the peer has been told as far as it can be. The connection is of no more use.
    fn poll_handshake(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        Poll::Ready(Ok(()))
    }

    /// Whether nothing lies between it and HTTP, so that there is nothing to wait for or to ask before it is used.
    fn is_plain(&self) -> bool {
        false
    }

    /// Whether the handshake is going to say who the peer is. Until then [`Self::peer`] is whoever speaks for it.
    fn awaits_peer(&self) -> bool {
        false
    }

    /// Whether the runtime watches it, so that nothing has to be asked of the kernel for its reader to be woken. Default: true.
    /// Where not, the first read that finds nothing has it watched.
    fn is_watched(&self) -> bool {
        true
    }

    /// Asks the kernel whether the connection is still good. One system call; takes no byte off the stream of content.
    ///
    /// tokio answers reads from cached readiness, so that a FIN that has already arrived can stay unseen until the
    /// reactor is polled. This does not. Behind TLS it takes in what is no content, such as session tickets.
    fn probe(&mut self) -> Liveness;

    /// Reads what the kernel has now, whatever the runtime remembers of it. For layers that stand on this socket.
    ///
    /// # Errors
    /// As the kernel says it; `WouldBlock` when there is nothing.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what the kernel takes now, where the runtime knows nothing to the contrary; its own question is for those who
    /// have to wait. Default: `WouldBlock` always, so that whoever writes asks the runtime.
    ///
    /// # Errors
    /// As the kernel says it; `WouldBlock` where it takes nothing.
    fn try_write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends FIN: no more will be written.
    ///
    /// # Errors
    /// As the kernel says it; `ENOTCONN` is not hidden (`AsyncWrite::poll_shutdown` of tokio hides it).
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Says in this layer's own words that nothing more will be written (`close_notify` of TLS), where it has any.
    /// [`AsyncWrite::poll_flush`] gives that to the kernel. [`Self::shutdown_write`] does both, and waits for nobody.
    fn conclude(&mut self) {}

    /// How many bytes of its own it keeps, because the kernel takes no more of what was written;
    /// [`AsyncWrite::poll_flush`] gives them.
    fn unsent_bytes(&self) -> usize {
        0
    }

    /// Whether bytes that were written to it have not been given to the kernel yet.
    fn has_unsent(&self) -> bool {
        self.unsent_bytes() > 0
    }

    /// Whether the peer's end of the stream was not announced as TLS demands (RFC 8446 §6.1), so that anybody on the way
    /// may have made it. Never for a stream without TLS.
    fn is_cut_off(&self) -> bool {
        false
    }

    /// Why nothing can be read or written any more, if TLS has failed: in the handshake, or later. The errors of reading and
    /// writing say less.
    fn failure(&self) -> Option<&HandshakeError> {
        None
    }

    /// What TLS has agreed on, once the handshake is done; `None` without TLS.
    fn secured(&self) -> Option<&Arc<Secured>> {
        None
    }

    /// Makes the close that follows an RST, with which nothing that was sent can be taken for complete.
    fn set_abortive_close(&self);

    /// The other end, where it has an IP address.
    fn peer(&self) -> Option<SocketAddr>;

    /// Our end, where it has an IP address.
    fn local(&self) -> Option<SocketAddr>;
}

macro_rules! kernel_socket {
    ($socket:ty, $peer:expr, $local:expr) => {
        impl Socket for $socket {
            fn is_plain(&self) -> bool {
                true
            }

            fn probe(&mut self) -> Liveness {
                probe(&*self)
            }

            fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                read_now(&*self, buffer)
            }

            fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                <$socket>::try_write(self, bytes)
            }

            fn shutdown_write(&mut self) -> io::Result<()> {
                SockRef::from(&*self).shutdown(std::net::Shutdown::Write)
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
