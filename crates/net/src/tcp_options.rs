//! TCP's options as a value: set once on a listener, whose connections inherit them, or before a connect.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use sheave_lifecycle::errno::{IoFault, Op};
use socket2::{SockRef, TcpKeepalive};

/// Options of TCP connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// Whether small writes leave at once (`TCP_NODELAY`). Default: true; what is to leave together is written together.
    pub nodelay: bool,
    /// When the kernel asks a silent peer whether it is still there. `None` leaves the socket as it is: a new one never
    /// asks. Default: as [`KeepAlive`] says.
    pub keep_alive: Option<KeepAlive>,
    /// How long sent bytes may stay unacknowledged before the kernel gives the connection up with `ETIMEDOUT`
    /// (`TCP_USER_TIMEOUT`). In milliseconds, up to 49 days. Zero stands for the system's count of retransmissions, about
    /// 15 minutes; `None` leaves the socket as it is, which for a new one is the same. Default: `None`.
    ///
    /// It overrides the number of keep-alive probes, and counts the time in which a live peer reads nothing. The write
    /// deadline of a connection sees the same earlier, so this is for what outlives it: tunnels.
    pub user_timeout: Option<Duration>,
    /// The receive buffer in bytes (`SO_RCVBUF`), which switches off its tuning by the kernel. The kernel doubles it, and
    /// caps it at `net.core.rmem_max`. Default: `None`, tuned.
    pub recv_buffer_bytes: Option<usize>,
    /// The send buffer in bytes (`SO_SNDBUF`), as for the receive buffer. Default: `None`, tuned.
    pub send_buffer_bytes: Option<usize>,
    /// Bytes that the kernel holds without having sent them before the socket stops being writable (`TCP_NOTSENT_LOWAT`).
    /// Default: `None`, the system's, which is no bound but the send buffer's.
    ///
    /// A write deadline sees a peer that stops reading the sooner, and a slow one takes less of the kernel's memory, at the
    /// price of more wake-ups for large messages to fast ones.
    pub notsent_lowat_bytes: Option<u32>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keep_alive: Some(KeepAlive::default()),
            user_timeout: None,
            recv_buffer_bytes: None,
            send_buffer_bytes: None,
            notsent_lowat_bytes: None,
        }
    }
}

/// TCP's own keep-alive: probes on a silent connection. Finds peers that vanished without a word.
///
/// Not HTTP's, which has its own deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Silence before the first probe, in whole seconds from 1 to 32767. Default: 60 s.
    pub idle: Duration,
    /// Between probes, in whole seconds from 1 to 32767. Default: 15 s.
    pub interval: Duration,
    /// Probes without an answer until the connection is given up with `ETIMEDOUT`, from 1 to 127. Default: 4.
    pub probes: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(15), probes: 4 }
    }
}

impl TcpOptions {
    /// Sets the options on `socket`: one system call for each that is not `None`, and four for keep-alive.
    ///
    /// On a listener, connections inherit them: they cost nothing per connection. Buffer sizes count only before `listen`
    /// and `connect`.
    ///
    /// # Errors
    /// What the kernel said: `EINVAL` for values out of bounds.
    pub fn apply(&self, socket: &impl AsFd) -> Result<(), IoFault> {
        self.set(&SockRef::from(socket)).map_err(|error| IoFault::new(Op::Option, &error))
    }

    fn set(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(KeepAlive { idle, interval, probes }) = self.keep_alive {
            let params = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
            socket.set_tcp_keepalive(&params)?;
        }
        if let Some(timeout) = self.user_timeout {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        if let Some(len) = self.recv_buffer_bytes {
            socket.set_recv_buffer_size(len)?;
        }
        if let Some(len) = self.send_buffer_bytes {
            socket.set_send_buffer_size(len)?;
        }
        if let Some(len) = self.notsent_lowat_bytes {
            socket.set_tcp_notsent_lowat(len)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::errno::Errno;
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn sets_what_it_says() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        TcpOptions::default().apply(&socket).unwrap();
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        let other = TcpOptions {
            nodelay: false,
            keep_alive: None,
            user_timeout: Some(Duration::from_secs(7)),
            recv_buffer_bytes: Some(32 * 1024),
            send_buffer_bytes: Some(16 * 1024),
            notsent_lowat_bytes: Some(8 * 1024),
        };
        other.apply(&socket).unwrap();
        assert!(!socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap(), "left as it was");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(socket.recv_buffer_size().unwrap(), 64 * 1024, "doubled by the kernel");
        assert_eq!(socket.send_buffer_size().unwrap(), 32 * 1024);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 8 * 1024);
    }

    #[test]
    fn says_what_the_kernel_refuses() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let keep_alive = Some(KeepAlive { idle: Duration::from_millis(10), ..KeepAlive::default() });
        let refused = TcpOptions { keep_alive, ..TcpOptions::default() }.apply(&socket);
        assert_eq!(refused, Err(IoFault { op: Op::Option, errno: Errno::EINVAL }));
    }
}
