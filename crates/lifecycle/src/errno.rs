//! What the kernel said, and to which operation it said it.

use std::fmt;
use std::io;

/// The operation that the kernel refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// `recv`, `read`.
    Read,
    /// `send`, `writev`.
    Write,
    /// `shutdown`.
    Shutdown,
    /// `accept4`.
    Accept,
    /// `socket`, `bind`, `connect`.
    Connect,
    /// `setsockopt`, `getsockopt`.
    Option,
}

impl Op {
    /// The operation in lower case: for logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Shutdown => "shutdown",
            Self::Accept => "accept",
            Self::Connect => "connect",
            Self::Option => "option",
        }
    }
}

macro_rules! errnos {
    ($($name:ident = $value:literal),* $(,)?) => {
        /// An error number of Linux. Zero stands for an error that carried none.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Errno(pub i32);

        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "` (", stringify!($value), ").")]
            pub const $name: Self = Self($value);)*

            /// The symbolic name, for those that a connection can meet.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

// asm-generic/errno.h: the same on x86-64, aarch64 and riscv64.
errnos! {
    EPERM = 1, EINTR = 4, EIO = 5, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EINVAL = 22, ENFILE = 23,
    EMFILE = 24, EPIPE = 32, EBADMSG = 74, ENOTSOCK = 88, EAFNOSUPPORT = 97, EADDRINUSE = 98, EADDRNOTAVAIL = 99, ENETDOWN = 100,
    ENETUNREACH = 101, ECONNABORTED = 103, ECONNRESET = 104, ENOBUFS = 105, ENOTCONN = 107, ESHUTDOWN = 108,
    ETIMEDOUT = 110, ECONNREFUSED = 111, EHOSTDOWN = 112, EHOSTUNREACH = 113,
}

impl Errno {
    /// Stands for an error without a number: one that a library made up.
    pub const NONE: Self = Self(0);

    /// The number inside an [`io::Error`], or the nearest one for errors that carry only a kind.
    pub fn of(error: &io::Error) -> Self {
        if let Some(raw) = error.raw_os_error() {
            return Self(raw);
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::WriteZero => Self::EPIPE,
            io::ErrorKind::ConnectionReset => Self::ECONNRESET,
            io::ErrorKind::ConnectionAborted => Self::ECONNABORTED,
            io::ErrorKind::ConnectionRefused => Self::ECONNREFUSED,
            io::ErrorKind::NotConnected => Self::ENOTCONN,
            io::ErrorKind::TimedOut => Self::ETIMEDOUT,
            io::ErrorKind::AddrInUse => Self::EADDRINUSE,
            io::ErrorKind::AddrNotAvailable => Self::EADDRNOTAVAIL,
            _ => Self::NONE,
        }
    }

    /// Whether the machine has run out of something; the operator must act.
    pub const fn is_exhaustion(self) -> bool {
        matches!(self, Self::EMFILE | Self::ENFILE | Self::ENOBUFS | Self::ENOMEM | Self::EADDRNOTAVAIL)
    }

    /// Whether the peer, or a box between us, ended the connection.
    pub const fn is_peer_gone(self) -> bool {
        matches!(self, Self::ECONNRESET | Self::EPIPE | Self::ENOTCONN | Self::ECONNABORTED | Self::ESHUTDOWN)
    }

    /// Whether the network says that the peer cannot be reached.
    pub const fn is_unreachable(self) -> bool {
        matches!(self, Self::ETIMEDOUT | Self::EHOSTUNREACH | Self::ENETUNREACH | Self::EHOSTDOWN | Self::ENETDOWN)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An operation and what the kernel answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IoFault {
    /// What was tried.
    pub op: Op,
    /// What came back.
    pub errno: Errno,
}

impl IoFault {
    /// The fault that `error` is, met in `op`.
    pub fn new(op: Op, error: &io::Error) -> Self {
        Self { op, errno: Errno::of(error) }
    }
}

impl fmt::Display for IoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.errno, self.op.label())
    }
}

impl std::error::Error for IoFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_the_standard_library_calls_by_kind() {
        for (errno, kind) in [
            (Errno::EPIPE, io::ErrorKind::BrokenPipe),
            (Errno::ECONNRESET, io::ErrorKind::ConnectionReset),
            (Errno::ECONNABORTED, io::ErrorKind::ConnectionAborted),
            (Errno::ENOTCONN, io::ErrorKind::NotConnected),
            (Errno::ETIMEDOUT, io::ErrorKind::TimedOut),
            (Errno::ECONNREFUSED, io::ErrorKind::ConnectionRefused),
            (Errno::EADDRINUSE, io::ErrorKind::AddrInUse),
            (Errno::EADDRNOTAVAIL, io::ErrorKind::AddrNotAvailable),
        ] {
            assert_eq!(io::Error::from_raw_os_error(errno.0).kind(), kind, "{errno}");
            assert_eq!(Errno::of(&kind.into()), errno);
        }
    }

    #[test]
    fn says_what_it_does_not_know_by_number() {
        assert_eq!(Errno(4711).to_string(), "errno 4711");
        let fault = IoFault { op: Op::Shutdown, errno: Errno::ENOTCONN };
        assert_eq!(fault.to_string(), "ENOTCONN in shutdown");
    }
}
