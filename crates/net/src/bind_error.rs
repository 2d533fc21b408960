//! Why nothing can be listened to at a place, and what to do about it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use sheave_lifecycle::errno::{Errno, IoFault};

// Of asm-generic/errno-base.h: what only paths can meet.
const ENOENT: Errno = Errno(2);
const ENOTDIR: Errno = Errno(20);
const EROFS: Errno = Errno(30);

/// Where something is to be listened to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why a socket could not be bound. Its text says what, where, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindError {
    /// Where.
    pub place: Place,
    /// What is in the way.
    pub kind: BindErrorKind,
    /// What the kernel said.
    pub fault: IoFault,
}

/// What is in the way of listening.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BindErrorKind {
    /// Something listens there already; at a path, a file may also lie there that is no socket.
    InUse,
    /// This user may not listen there.
    Forbidden,
    /// The address is none of this machine's.
    NotLocal,
    /// The machine does not speak this version of IP.
    NoFamily,
    /// The directory of a path does not exist.
    NoDirectory,
    /// Something else; the fault says more.
    Other,
}

impl BindErrorKind {
    /// A name that stays stable for ever: for logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::InUse => "in-use",
            Self::Forbidden => "forbidden",
            Self::NotLocal => "not-local",
            Self::NoFamily => "no-family",
            Self::NoDirectory => "no-directory",
            Self::Other => "other",
        }
    }
}

impl BindError {
    pub(crate) fn new(place: Place, fault: IoFault) -> Self {
        let kind = match fault.errno {
            Errno::EADDRINUSE => BindErrorKind::InUse,
            Errno::EACCES | Errno::EPERM | EROFS => BindErrorKind::Forbidden,
            Errno::EADDRNOTAVAIL => BindErrorKind::NotLocal,
            Errno::EAFNOSUPPORT => BindErrorKind::NoFamily,
            ENOENT | ENOTDIR => BindErrorKind::NoDirectory,
            _ => BindErrorKind::Other,
        };
        Self { place, kind, fault }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => {
                write!(f, "cannot listen on {address}: ")?;
                self.say_about_address(*address, f)
            }
            Place::Unix(path) => {
                write!(f, "cannot listen on {}: ", path.display())?;
                self.say_about_path(f)
            }
        }
    }
}

impl BindError {
    fn say_about_address(&self, address: SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = address.port();
        match self.kind {
            BindErrorKind::InUse => {
                write!(f, "the address is in use; stop what listens there (ss -ltnp 'sport = :{port}' shows it)")?;
                if address.is_ipv6() && address.ip().is_unspecified() {
                    write!(f, ", listen for IPv6 only if it is 0.0.0.0:{port}")?;
                }
                f.write_str(", or choose another port")
            }
            // Only the default of net.ipv4.ip_unprivileged_port_start, but then the kernel says EACCES for nothing else.
            BindErrorKind::Forbidden if port < 1024 => f.write_str(
                "ports below 1024 need a privilege; grant CAP_NET_BIND_SERVICE (systemd: \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE), lower net.ipv4.ip_unprivileged_port_start, or choose a \
                 higher port",
            ),
            BindErrorKind::Forbidden => write!(
                f,
                "the system's policy forbids it ({}); look for SELinux, AppArmor or seccomp rules",
                self.fault.errno
            ),
            BindErrorKind::NotLocal => {
                let all = if address.is_ipv6() { "[::]" } else { "0.0.0.0" };
                write!(
                    f,
                    "this machine has no such address; choose one that `ip address` shows, or {all}:{port} for all of them"
                )
            }
            BindErrorKind::NoFamily => {
                f.write_str("the machine does not speak this version of IP; choose an address of the other one")
            }
            BindErrorKind::NoDirectory | BindErrorKind::Other => self.say_fault(f),
        }
    }

    fn say_about_path(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            BindErrorKind::InUse => f.write_str(
                "something listens there already, or a file that is no socket lies there; choose another path",
            ),
            BindErrorKind::Forbidden => write!(
                f,
                "this user may not make a socket there ({}); check who owns the directory, and its mode",
                self.fault.errno
            ),
            BindErrorKind::NoDirectory => f.write_str("its directory does not exist; create it first"),
            // Above 107 bytes: sockaddr_un has room for 108, with the zero at the end.
            BindErrorKind::Other if self.fault.errno == Errno::EINVAL => {
                f.write_str("the path must have 1 to 107 bytes, and no zero byte; choose another")
            }
            _ => self.say_fault(f),
        }
    }

    fn say_fault(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system says {}; its manual (man 2 bind) says more", self.fault)
    }
}

impl std::error::Error for BindError {}

#[cfg(test)]
mod tests {
    use sheave_lifecycle::errno::Op;

    use super::*;

    #[test]
    fn says_what_where_and_what_to_do() {
        for (place, errno, label, advice) in [
            ("192.0.2.1:80", Errno::EADDRINUSE, "in-use", "ss -ltnp 'sport = :80'"),
            ("[::]:8080", Errno::EADDRINUSE, "in-use", "IPv6 only if it is 0.0.0.0:8080"),
            ("0.0.0.0:443", Errno::EACCES, "forbidden", "CAP_NET_BIND_SERVICE"),
            ("0.0.0.0:8443", Errno::EACCES, "forbidden", "policy"),
            ("192.0.2.1:80", Errno::EADDRNOTAVAIL, "not-local", "0.0.0.0:80 for all"),
            ("[2001:db8::1]:80", Errno::EADDRNOTAVAIL, "not-local", "[::]:80 for all"),
            ("[::1]:80", Errno::EAFNOSUPPORT, "no-family", "version of IP"),
            ("0.0.0.0:80", Errno::EMFILE, "other", "EMFILE in connect"),
            ("/run/a.sock", Errno::EADDRINUSE, "in-use", "another path"),
            ("/run/a.sock", Errno::EACCES, "forbidden", "owns the directory"),
            ("/run/a.sock", EROFS, "forbidden", "errno 30"),
            ("/run/x/a.sock", ENOENT, "no-directory", "create it"),
            ("/run/a.sock", Errno::EINVAL, "other", "107 bytes"),
            ("/run/a.sock", Errno::ENOBUFS, "other", "ENOBUFS in connect"),
        ] {
            let at = place.parse().map_or_else(|_| Place::Unix(place.into()), Place::Tcp);
            let error = BindError::new(at, IoFault { op: Op::Connect, errno });
            assert_eq!(error.kind.label(), label, "{error}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("cannot listen on {place}: ")), "{text}");
            assert!(text.contains(advice), "{text}");
        }
    }
}
